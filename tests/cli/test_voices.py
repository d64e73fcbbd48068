"""sparktts clone and sparktts voices: voices that are kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sparktts.library import VoiceLibrary
from sparktts.voice import Provenance, Voice

from .runner import run


def a_voice(number: int = 1) -> Voice:
    return Voice((number,) * 32, "0123456789abcdef", Provenance("created", "2026-01-02T03:04:05+00:00"))


def test_clone_keeps_voice_consent_and_clip(mini: Path, library: Path, clip_24k: Path) -> None:
    result = run("clone", clip_24k, "-o", "me", "--model", mini, "--consent", "She agreed.", "--keep-clip", "--json")
    assert result.code == 0, result.stderr
    voice = Voice.load(library / "me.json")
    assert result.json["id"] == voice.id
    assert result.json["file"] == str(library / "me.json")
    assert voice.provenance.consent == "She agreed."
    assert voice.provenance.source_name == "prompt_24k.wav"
    assert voice.clip is not None


def test_clone_to_a_file_with_transcript(mini: Path, out: Path, clip_24k: Path) -> None:
    words = "These are the words."
    result = run("clone", clip_24k, "-o", out / "me.json", "--transcript", words, "--model", mini)
    assert result.code == 0, result.stderr
    voice = Voice.load(out / "me.json")
    assert voice.transcript == words
    assert len(voice.semantic) > 100


def test_the_published_rule_is_recorded(mini: Path, out: Path, clip_16k: Path) -> None:
    made = [
        run("clone", clip_16k, "-o", out / f"{rule}.json", "--reference", rule, "--model", mini, "--json").json
        for rule in ("whole", "first-6s")
    ]
    assert [voice["reference"] for voice in made] == ["whole", "first-6s"]
    assert made[0]["global_tokens"] != made[1]["global_tokens"]


def test_a_taken_name_needs_force(mini: Path, library: Path, clip_24k: Path) -> None:
    VoiceLibrary(library).save("me", a_voice())
    refused = run("clone", clip_24k, "-o", "me", "--model", mini)
    assert (refused.code, Voice.load(library / "me.json")) == (2, a_voice())
    assert run("clone", clip_24k, "-o", "me", "--model", mini, "--force").code == 0
    assert Voice.load(library / "me.json") != a_voice()


def test_list_tells_all_voices_and_damaged_ones(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARKTTS_MODEL", "nowhere")
    assert run("voices", "list").stderr.startswith("There are no voices yet")
    VoiceLibrary(library).save("anna", a_voice())
    (library / "bert.json").write_text("{}")
    result = run("voices", "list")
    assert result.code == 0
    assert [line.split("\t")[:3] for line in result.text.splitlines()] == [
        ["anna", a_voice().id, "created"],
        ["bert", "-", "damaged"],
    ]
    anna, bert = run("voices", "list", "--json").json
    assert anna["global_tokens"] == [1] * 32
    assert "error" in bert


def test_show_tells_a_kept_voice_and_a_file(library: Path) -> None:
    path = VoiceLibrary(library).save("anna", a_voice())
    by_name, by_file = (run("voices", "show", name, "--json").json for name in ("anna", path))
    assert by_name["id"] == by_file["id"] == a_voice().id
    assert f"id               {a_voice().id}" in run("voices", "show", "anna").text


def test_remove_asks_and_takes_yes(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = VoiceLibrary(library).save("anna", a_voice())
    refused = run("voices", "remove", "anna")
    assert (refused.code, path.exists()) == (2, True)
    assert "--yes" in refused.stderr
    assert run("voices", "remove", "anna", "--yes").code == 0
    assert not path.exists()
    assert run("voices", "remove", "anna", "--yes").code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 1), (b"y\n", 0), (b"\x03", 130)])
def test_remove_obeys_the_answer_at_a_terminal(library: Path, answer: bytes, code: int) -> None:
    import os
    import pty

    path = VoiceLibrary(library).save("anna", a_voice())
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "sparktts", "voices", "remove", "anna"])
    asked = b""
    while b"?" not in asked:
        asked += os.read(terminal, 1000)
    os.write(terminal, answer)
    try:
        while os.read(terminal, 1000):
            pass
    except OSError:  # Linux's way of saying that the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
    os.close(terminal)
    assert path.exists() == (code != 0)


def test_export_and_import_keep_the_voice(library: Path, out: Path) -> None:
    VoiceLibrary(library).save("anna", a_voice())
    assert run("voices", "export", "anna", out / "gift.json").code == 0
    assert json.loads((out / "gift.json").read_text())["global_tokens"] == [1] * 32
    assert run("voices", "export", "anna", out / "gift.json").code == 2  # it is there already
    assert run("voices", "import", out / "gift.json").code == 0
    assert run("voices", "import", out / "gift.json", "carla").code == 0
    assert run("voices", "import", out / "gift.json", "carla").code == 2
    assert run("voices", "import", out / "gift.json", "carla", "--force").code == 0
    assert VoiceLibrary(library).names() == ["anna", "carla", "gift"]
    assert VoiceLibrary(library).get("carla") == a_voice()
