"""The WebSocket: words one by one, interruption, mistakes, and whoever leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from sparktts.server.studio import Speech

from .process import Server

TEXT = "The first clause is here, and the second one follows. Another sentence ends it."
WORDS = [*TEXT.split(" ")]
START = {"type": "start", "checks": False, "seed": 3}


@pytest.fixture
def socket(server: Server) -> Iterator[ClientConnection]:
    with connect(f"{server.url.replace('http', 'ws')}/v1/audio/speech/stream", max_size=None) as connection:
        yield connection


def tell(socket: ClientConnection, **message: Any) -> None:
    socket.send(json.dumps(message))


def listen(socket: ClientConnection, until: str, seconds: float = 60) -> tuple[bytes, dict[str, Any]]:
    """Sound that comes before a message of that type, and the message."""
    sound, end = b"", time.monotonic() + seconds
    while True:
        message = socket.recv(timeout=end - time.monotonic())
        if isinstance(message, bytes):
            sound += message
        elif (content := json.loads(message))["type"] == until:
            return sound, content
        else:
            assert content["type"] == "started", content


def test_words_become_sound_before_the_text_has_ended(socket: ClientConnection) -> None:
    tell(socket, **START)
    for word in WORDS[:-4]:
        tell(socket, type="text", text=f"{word} ")
    started = json.loads(socket.recv(timeout=30))
    assert started == {"type": "started", "format": "pcm", "sample_rate": 24000}
    early = socket.recv(timeout=60)
    assert isinstance(early, bytes)
    for word in WORDS[-4:]:
        tell(socket, type="text", text=f"{word} ")
    tell(socket, type="end")
    sound, done = listen(socket, "done")
    report = done["report"]
    assert " ".join(one["source"] for one in report["utterances"]).split() == list(WORDS)
    assert len(early + sound) / 2 / 24000 == pytest.approx(report["seconds"], abs=0.05)


def test_a_second_speech_follows_on_the_same_socket(socket: ClientConnection) -> None:
    lengths = []
    for format in ("pcm", "mp3"):
        tell(socket, **START, response_format=format)
        tell(socket, type="text", text="Hello there.")
        tell(socket, type="end")
        sound, _ = listen(socket, "done")
        lengths.append(len(sound))
    assert lengths[0] > lengths[1] > 500


def test_an_interruption_stops_the_sound_at_once(socket: ClientConnection, server: Server) -> None:
    tell(socket, **START)
    tell(socket, type="text", text=" ".join(f"This is sentence number {n}." for n in range(50)))
    tell(socket, type="end")
    assert json.loads(socket.recv(timeout=30))["type"] == "started"
    assert isinstance(socket.recv(timeout=60), bytes)
    asked = time.monotonic()
    tell(socket, type="interrupt")
    listen(socket, "interrupted", 5)
    assert time.monotonic() - asked < 2  # 100 ms where nothing else runs: benchmarks/serving.py
    tell(socket, type="ping")
    assert json.loads(socket.recv(timeout=5)) == {"type": "pong"}  # and no sound before it
    for _ in range(100):
        if "sparktts_running 0.0" in httpx.get(f"{server.url}/metrics").text:
            break
        time.sleep(0.1)
    assert "sparktts_running 0.0" in httpx.get(f"{server.url}/metrics").text
    tell(socket, **START)
    tell(socket, type="text", text="And on.")
    tell(socket, type="end")
    assert listen(socket, "done")[0]


def test_an_interruption_in_the_moment_a_part_of_the_sound_is_ready_is_not_lost() -> None:
    async def scenario() -> None:
        ready: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        studio = SimpleNamespace(run=lambda _: ready)
        speech = object.__new__(Speech)
        speech._studio, speech._deadline, speech._outgoing = studio, time.monotonic() + 60, SimpleNamespace(next=None)
        task = asyncio.create_task(speech._next())
        await asyncio.sleep(0)
        ready.set_result(b"sound")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("no json", "JSON object"),
        ("[1]", "JSON object"),
        ("{}", "`type`"),
        (b"\x00\x01binary", "JSON object"),
        ("[" * 100_000, "JSON object"),
        (json.dumps({"type": "sing"}), "`type`"),
        (json.dumps({"type": "text", "text": "early"}), "`start`"),
        (json.dumps({"type": "end"}), "`start`"),
        (json.dumps({"type": "start", "speed": 70}), "speed"),
        (json.dumps({"type": "start", "model": "other"}), "no model"),
        (json.dumps({"type": "start", "reference_audio": "?"}), "base64"),
    ],
)
def test_wrong_messages_are_answered_and_the_socket_lives_on(
    socket: ClientConnection, message: str | bytes, words: str
) -> None:
    socket.send(message)
    assert words in json.loads(socket.recv(timeout=10))["error"]["message"]
    tell(socket, type="ping")
    assert json.loads(socket.recv(timeout=10)) == {"type": "pong"}


def test_what_fails_while_speaking_is_told(socket: ClientConnection) -> None:
    tell(socket, **START, voice="nobody")
    assert "no voice named" in listen(socket, "error")[1]["error"]["message"]
    tell(socket, type="text", text="The rest of it is not said, and one error is enough.")
    tell(socket, type="end")
    tell(socket, **START)
    tell(socket, type="text", text="...")
    tell(socket, type="end")
    assert "spoken" in listen(socket, "error")[1]["error"]["message"]
    tell(socket, **START)
    tell(socket, type="text", text="x" * 6000)
    assert "5000 characters" in listen(socket, "error")[1]["error"]["message"]
    tell(socket, **START)
    assert "is running" in listen(socket, "error")[1]["error"]["message"]
    tell(socket, type="text", text=17)
    assert "`text`" in listen(socket, "error")[1]["error"]["message"]


def test_whoever_hangs_up_leaves_nothing_running(server: Server) -> None:
    for _ in range(3):
        with connect(f"{server.url.replace('http', 'ws')}/v1/audio/speech/stream") as socket:
            tell(socket, **START)
            tell(socket, type="text", text="One two three four five, six seven eight. " * 20)
            socket.recv(timeout=30)
    for _ in range(100):
        if "sparktts_running 0.0" in httpx.get(f"{server.url}/metrics").text:
            break
        time.sleep(0.1)
    assert "sparktts_running 0.0" in httpx.get(f"{server.url}/metrics").text


def test_a_message_beyond_the_limit_ends_the_socket_alone(server: Server, socket: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        tell(socket, type="text", text="x" * (3 << 20))
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=10)
    assert server.alive
