"""Voices over HTTP: made from clips, listed, used, deleted, and never outside their folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from sparktts.voice import Voice

from .process import Server


def make(server: Server, name: str, clip: bytes, **fields: Any) -> httpx.Response:
    data = {"name": name, "consent": "I agree.", **fields}
    return httpx.post(f"{server.url}/v1/audio/voices", data=data, files={"audio_sample": ("a.wav", clip)}, timeout=60)


def listed(server: Server) -> dict[str, Any]:
    return {voice["name"]: voice for voice in httpx.get(f"{server.url}/v1/audio/voices").json()["data"]}


def test_a_clip_becomes_a_voice_that_speaks_and_goes_again(server: Server, clip_24k: Path) -> None:
    made = make(server, "anna", clip_24k.read_bytes(), transcript="Some words.")
    assert made.status_code == 200, made.text
    assert made.json()["consent"] == "I agree."
    kept = Voice.load(server.voices / "anna.json")
    assert (kept.transcript, kept.provenance.consent) == ("Some words.", "I agree.")
    assert listed(server)["anna"]["kind"] == "cloned"
    body = {"model": "mini", "input": "Hi.", "voice": "anna", "checks": False}
    spoken = httpx.post(f"{server.url}/v1/audio/speech", json=body, timeout=60)
    assert spoken.headers["x-voice-id"] == kept.id
    assert make(server, "anna", clip_24k.read_bytes()).status_code == 409
    gone = httpx.delete(f"{server.url}/v1/audio/voices/anna")
    assert gone.json() == {"object": "audio.voice.deleted", "id": "anna", "deleted": True}
    assert not (server.voices / "anna.json").exists()
    assert httpx.delete(f"{server.url}/v1/audio/voices/anna").status_code == 404


def test_presets_and_names_of_openai_are_listed_and_stay(server: Server, clip_24k: Path) -> None:
    voices = listed(server)
    assert voices["ada"]["kind"] == "preset"
    assert voices["alloy"]["kind"] == voices["default"]["kind"] == "alias"
    assert httpx.delete(f"{server.url}/v1/audio/voices/ada").status_code == 409
    for taken in ("ada", "alloy", "default"):
        assert make(server, taken, clip_24k.read_bytes()).status_code == 409


@pytest.mark.parametrize(
    "name", ["", "..", "../evil", "a/b", "a\\b", "/etc/passwd", ".hidden", "x" * 65, "a..b", "con\n", "%2e%2e%2fevil"]
)
def test_names_cannot_leave_the_folder(server: Server, clip_24k: Path, name: str) -> None:
    before = sorted(server.voices.parent.rglob("*"))
    assert make(server, name, clip_24k.read_bytes()).status_code == 400
    assert httpx.delete(f"{server.url}/v1/audio/voices/{quote(name) or 'none'}").status_code in (404, 405)
    assert sorted(server.voices.parent.rglob("*")) == before


def test_consent_and_a_usable_clip_are_needed(server: Server, clip_24k: Path) -> None:
    clip = clip_24k.read_bytes()
    for fields in ({"consent": " "}, {"consent": "x" * 3000}, {"transcript": "x" * 3000}):
        assert make(server, "bert", clip, **fields).status_code == 400
    for broken in (b"", b"no sound", clip[: len(clip) // 3]):
        answer = make(server, "bert", broken)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].endswith(".")
    without = httpx.post(f"{server.url}/v1/audio/voices", data={"name": "bert", "consent": "yes"})
    assert (without.status_code, without.json()["error"]["param"]) == (400, "audio_sample")
    assert "bert" not in listed(server)
