"""Admission, deadlines and failures, with a language model that a test scripts inside the real application."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sparktts import SparkTTS
from sparktts.errors import OptionError
from sparktts.server.app import create_app
from sparktts.server.settings import ServerSettings, check_exposure, is_local
from sparktts.voice import Provenance, Voice

from ..engine.misbehaving import Script, ScriptedModel, say_nothing, speak_for

SPEECH = "/v1/audio/speech"


@pytest.fixture
def scripted(mini: Path, tmp_path: Path) -> Iterator[Callable[..., tuple[Any, ScriptedModel]]]:
    """An application whose language model follows a script, and that model."""
    apps = []

    def make(script: Script, **settings: Any) -> tuple[Any, ScriptedModel]:
        limits = ServerSettings(**settings)
        tts = SparkTTS.from_pretrained(mini, device="cpu", voices=tmp_path, concurrency=limits.concurrency)
        model = ScriptedModel(tts.tokenizer.semantic.first, tts.tokenizer.stop, script)
        tts.engine.__dict__["language_model"] = model
        tts.voices.save("me", Voice(tuple(range(32)), tts.engine.codec.fingerprint, Provenance("cloned", "")), True)
        apps.append(create_app(tts, limits))
        return apps[-1], model

    yield make
    for app in apps:
        app.state.studio.close()


def talk(app: Any, conversation: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async def run() -> None:
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30) as client:
            await conversation(client)

    asyncio.run(run())


def body(**fields: Any) -> dict[str, Any]:
    return {
        "model": "tts-1",
        "input": "Hello there.",
        "gender": "female",
        "seed": 1,
        "response_format": "wav",
        **fields,
    }


def held_by(gate: threading.Event) -> Script:
    """Speaks when the gate opens."""

    def waits(number: int, position: int) -> int | None:
        gate.wait(20)
        return speak_for(50)(number, position)

    return waits


Scripted = Callable[..., tuple[Any, ScriptedModel]]


def test_a_text_that_the_model_cannot_speak_is_unprocessable(scripted: Scripted) -> None:
    app, model = scripted(say_nothing)

    async def conversation(client: httpx.AsyncClient) -> None:
        answer = await client.post(SPEECH, json=body(retries=1))
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "generation_failed")
        assert "Hello there." in answer.json()["error"]["message"]

    talk(app, conversation)
    assert not model.running
    assert 'sparktts_requests_total{outcome="failed"} 1.0' in app.state.studio.scrape().decode()


def test_a_failure_in_the_middle_is_an_event_after_what_was_heard(scripted: Scripted) -> None:
    def first_only(number: int, position: int) -> int | None:
        return speak_for(60)(number, position) if number == 0 else say_nothing(number, position)

    app, _ = scripted(first_only)

    async def conversation(client: httpx.AsyncClient) -> None:
        answer = await client.post(
            SPEECH, json=body(input="One is fine.\n\nTwo is not.", stream_format="sse", retries=0)
        )
        events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line]
        assert answer.status_code == 200
        assert [event["type"] for event in events[-2:]] == ["speech.audio.delta", "error"]
        assert "Two is not." in events[-1]["error"]["message"]

    talk(app, conversation)


def test_beyond_the_queue_requests_are_refused_and_come_through_later(scripted: Scripted) -> None:
    gate = threading.Event()
    app, _ = scripted(held_by(gate), concurrency=1, queue=1)

    async def conversation(client: httpx.AsyncClient) -> None:
        running = [asyncio.create_task(client.post(SPEECH, json=body())) for _ in range(2)]
        await asyncio.sleep(0.5)
        refused = await client.post(SPEECH, json=body())
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert (await client.get("/healthz")).status_code == 200
        gate.set()
        assert [(await task).status_code for task in running] == [200, 200]
        assert (await client.post(SPEECH, json=body())).status_code == 200

    talk(app, conversation)


def test_after_the_deadline_a_request_is_given_up(scripted: Scripted) -> None:
    gate = threading.Event()
    app, model = scripted(held_by(gate), deadline=0.5)

    async def conversation(client: httpx.AsyncClient) -> None:
        asyncio.get_running_loop().call_later(1.0, gate.set)
        answer = await client.post(SPEECH, json=body())
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline")

    talk(app, conversation)
    assert not model.running
    assert 'outcome="late"} 1.0' in app.state.studio.scrape().decode()


def test_long_texts_let_short_ones_in_between(scripted: Scripted) -> None:
    app, model = scripted(speak_for(40), concurrency=1, queue=8)
    order: list[str] = []

    async def conversation(client: httpx.AsyncClient) -> None:
        async def ask(name: str, text: str) -> None:
            answer = await client.post(SPEECH, json=body(input=text, voice="me", gender=None))
            assert answer.status_code == 200, answer.text
            order.append(name)

        long = asyncio.create_task(ask("long", "\n\n".join(f"Paragraph {n} of a long text." for n in range(40))))
        await asyncio.sleep(0.3)
        await asyncio.gather(*(ask("short", "A short one.") for _ in range(3)), long)

    talk(app, conversation)
    assert order == ["short", "short", "short", "long"]
    assert model.most_at_once == 1


def test_unexpected_failures_are_told_without_their_details(scripted: Scripted) -> None:
    def breaks(number: int, position: int) -> int | None:
        raise ZeroDivisionError("secret")

    app, _ = scripted(breaks)

    async def conversation(client: httpx.AsyncClient) -> None:
        answer = await client.post(SPEECH, json=body())
        assert answer.status_code == 500
        assert "secret" not in answer.text

    talk(app, conversation)


def test_a_server_for_strangers_needs_keys() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.9.1"):
        assert is_local(host)
        check_exposure(host, ServerSettings(), insecure=False)
    for host in ("0.0.0.0", "::", "192.168.1.7", "example.org"):
        with pytest.raises(OptionError, match="--insecure"):
            check_exposure(host, ServerSettings(), insecure=False)
        check_exposure(host, ServerSettings(), insecure=True)
        check_exposure(host, ServerSettings(keys=("a" * 64,)), insecure=False)


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"queue": -1}, {"deadline": 0}, {"max_text": 0}])
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        ServerSettings(**wrong)
