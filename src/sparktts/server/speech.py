"""POST /v1/audio/speech, as OpenAI's, and /v1/audio/clone, which takes the voice from an uploaded clip."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from ..audio.audio import SYNTHETIC_NOTICE
from ..voice import Voice
from .errors import BAD, LARGE, NOT_FOUND, ApiError, api_error, invalid
from .requests import MEDIA_TYPES, Manner, SpeechRequest
from .studio import Speech, Studio
from .uploads import ClipDecoder

TOKENS_PER_SECOND = 50
ALIASES = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
_AUDIO = {media: {"schema": {"type": "string", "format": "binary"}} for media in sorted(set(MEDIA_TYPES.values()))}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The sound, while it is made.", "content": {**_AUDIO, "text/event-stream": {}}},
    **{
        status: {"description": text, "content": {"application/json": {}}}
        for status, text in (
            (400, "Something in the request is wrong."),
            (401, "The API key is missing or wrong."),
            (404, "The model is unknown."),
            (408, "The request came too slowly."),
            (413, "The request, the text or the clip is too large."),
            (422, "The model could not speak this text."),
            (429, "The queue is full."),
            (504, "The deadline has passed."),
        )
    },
}


def router(studio: Studio, decoder: ClipDecoder) -> APIRouter:
    routes = APIRouter(tags=["speech"])

    @routes.post("/v1/audio/speech", responses=ANSWERS, response_class=StreamingResponse)
    async def speak(wanted: SpeechRequest) -> StreamingResponse:
        """Speech from text. `voice` may be a kept voice, a preset, `default`, or a name of OpenAI's voices."""
        return await answer(studio, decoder, wanted, wanted.clip())

    @routes.post("/v1/audio/clone", responses=ANSWERS, response_class=StreamingResponse)
    async def clone(
        clip: Annotated[UploadFile, File(description="A recording of the voice.")],
        input: Annotated[str, Form(description="The text.")],
        model: Annotated[str | None, Form(description="Default: the one that is loaded.")] = None,
        options: Annotated[str, Form(description="The other fields of a speech request, as a JSON object.")] = "{}",
    ) -> StreamingResponse:
        """Speech from text in the voice of the uploaded clip, which is not kept."""
        wanted = _request_of(options, input, model or studio.tts.checkpoint.name)
        return await answer(studio, decoder, wanted, await clip.read())

    return routes


async def answer(studio: Studio, decoder: ClipDecoder, wanted: SpeechRequest, clip: bytes | None) -> StreamingResponse:
    """The response of a request that is well formed. Raises ApiError, SparkTTSError."""
    check_model(studio, wanted.model)
    check_text(studio, wanted.input)
    if wanted.include_report and wanted.stream_format != "sse":
        raise ApiError(BAD, "include_report needs `stream_format: sse`: sound has no place for it.", "include_report")
    voice = None if clip is None else await voice_of(studio, decoder, clip, wanted)
    speech = await studio.begin(wanted.input, wanted, voice)
    try:
        await speech.first()
    except BaseException:
        await speech.close()
        raise
    return SpeechResponse(speech, wanted)


async def voice_of(studio: Studio, decoder: ClipDecoder, clip: bytes, wanted: Manner) -> Voice:
    """The voice of a clip that came with a request. Raises ApiError, AudioError, OptionError."""
    sound = await decoder.decode(clip)
    return await studio.run(lambda: studio.tts.clone(sound, wanted.reference_text or None))


def check_model(studio: Studio, model: str) -> None:
    """Raises ApiError for a model that is not served."""
    if model not in (studio.tts.checkpoint.name, *ALIASES):
        raise ApiError(
            NOT_FOUND,
            f"There is no model {model!r:.80} here; it is {studio.tts.checkpoint.name}, also known as "
            f"{', '.join(ALIASES)}.",
            "model",
            "model_not_found",
        )


def check_text(studio: Studio, text: str) -> None:
    """Raises ApiError for a text that is too long."""
    if len(text) > studio.settings.max_text:
        raise ApiError(
            LARGE,
            f"The text has {len(text)} characters, more than the {studio.settings.max_text} that this server takes.",
            "input",
            "text_too_long",
        )


def _request_of(options: str, text: str, model: str) -> SpeechRequest:
    try:
        given = json.loads(options)
        if not isinstance(given, dict):
            raise ValueError("it is no object")
    except (ValueError, RecursionError) as error:
        raise ApiError(BAD, f"options is no JSON object ({error}).", "options") from None
    try:
        return SpeechRequest.model_validate({**given, "input": text, "model": model})
    except ValidationError as error:
        raise invalid(error.errors()) from None


class SpeechResponse(StreamingResponse):
    """Sound, or server-sent events with it; whatever becomes of the client, the speech ends with the response."""

    def __init__(self, speech: Speech, wanted: SpeechRequest) -> None:
        self._speech = speech
        events = wanted.stream_format == "sse"
        super().__init__(
            _events(speech, wanted) if events else speech.parts(),
            media_type="text/event-stream" if events else MEDIA_TYPES[wanted.response_format],
            headers=_headers(speech, wanted),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._speech.close()


async def _events(speech: Speech, wanted: SpeechRequest) -> AsyncIterator[bytes]:
    """The sound as server-sent events, as OpenAI's API sends it."""
    try:
        async for data in speech.parts():
            yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
    except Exception as error:
        yield _event({"type": "error", **api_error(error).body})
        return
    report = speech.report
    assert report is not None
    spoken = round(sum(utterance.seconds for utterance in report.utterances) * TOKENS_PER_SECOND)
    read = sum(len(utterance.text) for utterance in report.utterances)
    usage = {"input_tokens": read, "output_tokens": spoken, "total_tokens": read + spoken}
    more = {"report": report.to_dict()} if wanted.include_report else {}
    yield _event({"type": "speech.audio.done", "usage": usage, **more})


def _event(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode()


def _headers(speech: Speech, wanted: SpeechRequest) -> dict[str, str]:
    headers = {
        "X-Synthetic-Speech": SYNTHETIC_NOTICE,
        "X-Sample-Rate": str(speech.sample_rate),
        "Cache-Control": "no-store",
    }
    if (voice := speech.stream.voice) is not None:
        headers["X-Voice-Id"] = voice.id
    if wanted.instructions:
        headers["Warning"] = '299 sparktts "instructions are not supported and were ignored"'
    return headers
