"""Speech over HTTP, asked for by the official client, by curl and by hand."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from openai import BadRequestError, OpenAI

from sparktts.audio.read import decode_audio

from .process import Server

# Random weights say nothing that passes the checks.
MORE = {"checks": False, "seed": 5}
TEXT = "Hello there."


@pytest.fixture(scope="module")
def client(server: Server) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def ask(server: Server, **fields: Any) -> httpx.Response:
    body = {"model": "tts-1", "input": TEXT, **MORE, **fields}
    return httpx.post(f"{server.url}/v1/audio/speech", json=body, timeout=60)


def seconds_of(data: bytes, format: str) -> float:
    if format == "pcm":
        return len(data) / 2 / 24000
    samples, rate = decode_audio(data)
    return len(samples) / rate


@pytest.mark.parametrize("format", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_the_official_client_gets_every_format_at_once_and_streamed(
    client: OpenAI, server: Server, format: Any
) -> None:
    expected = seconds_of(ask(server, response_format="wav").content, "wav")
    whole = client.audio.speech.create(
        model="tts-1", voice="alloy", input=TEXT, response_format=format, extra_body=MORE
    ).content
    assert seconds_of(whole, format) == pytest.approx(expected, abs=0.2)  # AAC adds frames at both ends
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input=TEXT, response_format=format, extra_body=MORE
    ) as response:
        pieces = list(response.iter_bytes())
    assert seconds_of(b"".join(pieces), format) == pytest.approx(expected, abs=0.2)
    assert len(pieces) > 2


def test_every_sound_says_that_it_is_synthetic(server: Server) -> None:
    for format in ("mp3", "opus", "aac", "flac", "wav", "pcm"):
        response = ask(server, response_format=format)
        assert "Synthetic speech" in response.headers["x-synthetic-speech"]
        if format not in ("pcm", "aac"):
            with av.open(io.BytesIO(response.content)) as container:
                tags = {**container.metadata, **container.streams.audio[0].metadata}
            assert "Synthetic speech" in tags["comment"]
        elif format == "aac":
            assert b"Synthetic speech" in response.content


def test_the_same_seed_gives_the_same_sound_and_speed_changes_its_length(server: Server) -> None:
    # Where windows of a decode begin depends on the time, and the last bits on that.
    first, again = (decode_audio(ask(server, response_format="wav", exact=True).content)[0] for _ in range(2))
    assert np.abs(first - again).max() < 1e-3
    usual, quick = len(first) / 16000, seconds_of(ask(server, response_format="wav", speed=2).content, "wav")
    assert quick == pytest.approx(usual / 2, rel=0.05)


def test_events_carry_the_sound_the_usage_and_the_report(server: Server) -> None:
    response = ask(server, response_format="pcm", stream_format="sse", include_report=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in response.text.split("\n\n") if line]
    sound = b"".join(base64.b64decode(e["audio"]) for e in events if e["type"] == "speech.audio.delta")
    assert len(sound) == len(ask(server, response_format="pcm").content)
    assert events[-1]["type"] == "speech.audio.done"
    assert set(events[-1]["usage"]) == {"input_tokens", "output_tokens", "total_tokens"}
    assert [one["source"] for one in events[-1]["report"]["utterances"]] == [TEXT]
    refused = ask(server, include_report=True)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "include_report")


def test_voices_are_presets_names_of_openai_clips_and_new_ones(server: Server, clip_24k: Path) -> None:
    inline = base64.b64encode(clip_24k.read_bytes()).decode()
    ids = {
        name: ask(server, **fields).headers["x-voice-id"]
        for name, fields in {
            "default": {},
            "preset": {"voice": "ada"},
            "alias": {"voice": "nova"},
            "object": {"voice": {"id": "ada"}},
            "man": {"voice": "onyx"},
            "clip": {"reference_audio": inline},
            "url": {"reference_audio": f"data:audio/wav;base64,{inline}"},
            "words": {"reference_audio": inline, "reference_text": "Some words."},
        }.items()
    }
    assert len({ids[name] for name in ("default", "preset", "alias", "object")}) == 1
    assert ids["clip"] == ids["url"]
    assert len({ids[name] for name in ("default", "man", "clip", "words")}) == 4
    assert ask(server, gender="male", pitch="low", style_speed=4).status_code == 200


def test_a_clip_can_be_uploaded_with_the_text(server: Server, clip_24k: Path) -> None:
    fields = {"input": TEXT, "options": json.dumps({**MORE, "response_format": "wav"})}
    with clip_24k.open("rb") as file:
        response = httpx.post(f"{server.url}/v1/audio/clone", data=fields, files={"clip": file}, timeout=60)
    assert response.status_code == 200
    inline = base64.b64encode(clip_24k.read_bytes()).decode()
    assert response.headers["x-voice-id"] == ask(server, reference_audio=inline).headers["x-voice-id"]


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "gpt-5"}, 404, "model"),
        ({"input": ""}, 400, "input"),
        ({"input": "🙂🙂"}, 400, "input"),
        ({"input": "word " * 2000}, 413, "input"),
        ({"input": 7}, 400, "input"),
        ({"voice": "nobody"}, 400, "voice"),
        ({"voice": "../ada"}, 400, "voice"),
        ({"voice": "/etc/passwd"}, 400, "voice"),
        ({"voice": ""}, 400, None),
        ({"response_format": "mp4"}, 400, "response_format"),
        ({"speed": 9}, 400, "speed"),
        ({"speed": "fast"}, 400, "speed"),
        ({"seed": -1}, 400, "seed"),
        ({"seed": 2**70}, 400, "seed"),
        ({"temperature": 50}, 400, "temperature"),
        ({"top_p": 0}, 400, "top_p"),
        ({"gender": "robot"}, 400, "gender"),
        ({"pitch": "squeaky", "gender": "male"}, 400, None),
        ({"pitch": 5, "gender": "male"}, 400, None),
        ({"language": "fr"}, 400, "language"),
        ({"pauses": 100}, 400, "pauses"),
        ({"reference_audio": "%%%"}, 400, "reference_audio"),
        ({"reference_audio": base64.b64encode(b"no sound at all").decode()}, 400, "reference_audio"),
        ({"reference_audio": "data:audio/wav,plain"}, 400, "reference_audio"),
        ({"stream_format": "smoke"}, 400, "stream_format"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(server: Server, fields: dict[str, Any], status: int, param: str) -> None:
    response = ask(server, **fields)
    assert response.status_code == status
    error = response.json()["error"]
    assert error["message"].endswith(".")
    assert "\n" not in error["message"]
    if param is not None:
        assert error["param"] == param


def test_the_client_raises_its_own_errors(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="no voice named"):
        client.audio.speech.create(model="tts-1", voice="nobody", input=TEXT)


def test_instructions_are_ignored_with_a_warning(server: Server) -> None:
    assert "ignored" in ask(server, instructions="Be cheerful.").headers["warning"]
    assert "warning" not in ask(server).headers


def test_models_are_listed_as_the_client_expects(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()][:2] == ["mini", "tts-1"]
    assert client.models.retrieve("tts-1").id == "tts-1"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_as_in_the_documentation(server: Server, tmp_path: Path) -> None:
    body = json.dumps({"model": "tts-1", "input": TEXT, **MORE})
    command = ["curl", "-sf", f"{server.url}/v1/audio/speech", "-H", "Content-Type: application/json", "-d", body]
    subprocess.run([*command, "-o", str(tmp_path / "hello.mp3")], check=True, timeout=60)
    assert seconds_of((tmp_path / "hello.mp3").read_bytes(), "mp3") > 0.5


def test_requests_at_once_are_spoken_together_and_each_as_alone(server: Server) -> None:
    texts = [f"This is number {number}." for number in range(6)]
    before = figures(server)
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda text: ask(server, input=text, response_format="wav").content, texts))
    after = figures(server)
    alone = [ask(server, input=text, response_format="wav").content for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert seconds_of(one, "wav") == pytest.approx(seconds_of(other, "wav"), abs=0.5)
    steps, tokens = (after[name] - before[name] for name in ("sparktts_steps_total", "sparktts_tokens_total"))
    assert tokens / steps > 1.3
    assert after['sparktts_requests_total{outcome="done"}'] - before['sparktts_requests_total{outcome="done"}'] == 6


def figures(server: Server) -> dict[str, float]:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_a_client_who_leaves_ends_the_speech(server: Server) -> None:
    long = " ".join(f"This is sentence number {number}." for number in range(60))
    body = {"model": "tts-1", "input": long, "response_format": "pcm", **MORE}
    with httpx.stream("POST", f"{server.url}/v1/audio/speech", json=body, timeout=60) as response:
        next(response.iter_bytes())
    for _ in range(100):
        if figures(server)["sparktts_running"] == 0:
            break
        time.sleep(0.1)
    assert figures(server)["sparktts_running"] == 0
    assert figures(server)["sparktts_queue"] == 0


def test_texts_stay_out_of_the_log(server: Server) -> None:
    ask(server, input="Confidential words.")
    assert any("of speech" in line for line in server.log)
    assert not any("Confidential" in line for line in server.log)
