"""The WebSocket /v1/audio/speech/stream: text comes in pieces, sound leaves as soon as a clause is complete.

From the client, JSON: `start` (a request's fields but for the text), `text`, `end`, `interrupt`, `ping`.
To the client, JSON: `started`, `done`, `interrupted`, `pong`, `error`; and the sound in binary messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from ..errors import SparkTTSError
from .errors import BAD, LARGE, ApiError, api_error, invalid
from .requests import Manner
from .speech import check_model, voice_of
from .studio import Speech, Studio
from .uploads import ClipDecoder

PATH = "/v1/audio/speech/stream"


def router(studio: Studio, decoder: ClipDecoder) -> APIRouter:
    routes = APIRouter()

    @routes.websocket(PATH)
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        conversation = Conversation(socket, studio, decoder)
        try:
            await conversation.run()
        except (WebSocketDisconnect, RuntimeError):  # RuntimeError: a message to one who has left
            pass
        finally:
            await conversation.stop()

    return routes


class Pieces:
    """Text that arrives, for the thread that reads it."""

    _END = object()

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.characters = 0

    def add(self, text: str) -> None:
        self.characters += len(text)
        self._queue.put(text)

    def end(self) -> None:
        self._queue.put(self._END)

    def __iter__(self) -> Iterator[str]:
        while isinstance(piece := self._queue.get(), str):
            yield piece


class Turn:
    """One speech of a conversation: its text, and the task that sends its sound."""

    def __init__(self) -> None:
        self.pieces = Pieces()
        self.ended = False
        self.task: asyncio.Task[None] | None = None


class Conversation:
    """One socket. One speech at a time; after it, or after an interruption, another one may start."""

    def __init__(self, socket: WebSocket, studio: Studio, decoder: ClipDecoder) -> None:
        self._socket, self._studio, self._decoder = socket, studio, decoder
        self._turn: Turn | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Obeys messages until the client leaves."""
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                await self._obey(_parsed(message))
            except (ApiError, SparkTTSError) as error:
                await self._send({"type": "error", **api_error(error).body})

    async def stop(self) -> None:
        """Ends what is being said."""
        await self._interrupt()
        for task in tuple(self._closing):
            with contextlib.suppress(Exception):
                await task

    async def _obey(self, message: dict[str, Any]) -> None:
        kind = message.pop("type", None)
        if kind == "ping":
            await self._send({"type": "pong"})
        elif kind == "start":
            await self._start(message)
        elif kind == "text":
            self._text(message.get("text"))
        elif kind == "end":
            self._end()
        elif kind == "interrupt":
            await self._interrupt()
            await self._send({"type": "interrupted"})
        else:
            raise ApiError(BAD, "A message's `type` is start, text, end, interrupt or ping.", "type")

    async def _start(self, fields: dict[str, Any]) -> None:
        if self._turn is not None and self._turn.task is not None and not self._turn.task.done():
            raise ApiError(BAD, "A speech is running: send `end` and wait for `done`, or send `interrupt`.", "type")
        model = fields.pop("model", self._studio.tts.checkpoint.name)
        try:
            manner = Manner.model_validate({"response_format": "pcm", **fields})
        except ValidationError as error:
            raise invalid(error.errors()) from None
        clip = manner.clip()
        check_model(self._studio, str(model))
        turn = self._turn = Turn()
        turn.task = asyncio.create_task(self._speak(turn, manner, clip))

    def _end(self) -> None:
        turn = self._current()
        turn.ended = True
        turn.pieces.end()

    def _text(self, text: object) -> None:
        turn = self._current()
        if not isinstance(text, str):
            raise ApiError(BAD, "A text message has its piece in `text`.", "text")
        if turn.pieces.characters + len(text) > self._studio.settings.max_text:
            raise ApiError(LARGE, f"The text has more than {self._studio.settings.max_text} characters.", "text")
        turn.pieces.add(text)

    def _current(self) -> Turn:
        """The speech that text is for. One that failed takes the rest of its text in silence: its error was told."""
        turn = self._turn
        if turn is None or turn.ended:
            raise ApiError(BAD, "Nothing is being said: send `start` first.", "type")
        return turn

    async def _speak(self, turn: Turn, manner: Manner, clip: bytes | None) -> None:
        speech: Speech | None = None
        try:
            voice = None if clip is None else await voice_of(self._studio, self._decoder, clip, manner)
            speech = await self._studio.begin(turn.pieces, manner, voice)
            await self._send({"type": "started", "format": manner.response_format, "sample_rate": speech.sample_rate})
            await speech.first()
            async for data in speech.parts():
                await self._socket.send_bytes(data)
            report = speech.report
            await self._send({"type": "done", "report": None if report is None else report.to_dict()})
        except WebSocketDisconnect:
            pass
        except Exception as error:
            with contextlib.suppress(RuntimeError):  # nobody is there any more
                await self._send({"type": "error", **api_error(error).body})
        finally:
            turn.pieces.end()
            if speech is not None:
                self._close(speech)

    async def _interrupt(self) -> None:
        """The sound stops at once; what the threads still do ends behind it."""
        turn, self._turn = self._turn, None
        if turn is not None and turn.task is not None and not turn.task.done():
            turn.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await turn.task

    def _close(self, speech: Speech) -> None:
        task = asyncio.create_task(speech.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _send(self, content: dict[str, Any]) -> None:
        await self._socket.send_text(json.dumps(content, ensure_ascii=False))


def _parsed(message: Any) -> dict[str, Any]:
    text = message.get("text")
    try:
        content = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ApiError(BAD, "A message is a JSON object with a `type`.")
    return content
