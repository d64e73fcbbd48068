"""sparktts say --batch: many texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparktts.pipeline import SparkTTS

from .runner import Result, run


def say_all(mini: Path, folder: Path, *lines: object, options: tuple[object, ...] = ("--json",)) -> Result:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return run("say", "--batch", "-", "-o", folder, "--model", mini, "--no-checks", *options, stdin=text.encode())


def reports(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.text.splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_line_becomes_a_file_and_a_report(mini: Path, out: Path) -> None:
    result = say_all(
        mini,
        out,
        {"text": "Hi.", "gender": "male", "pitch": "low", "speed": 5, "seed": 3},
        "",
        {"text": "Ho.", "id": "second"},
        {"text": "Ha.", "output": "third.flac"},
    )
    assert result.code == 0, result.stderr
    assert names(out) == ["0001.wav", "second.wav", "third.flac"]
    first, second, third = reports(result)
    assert (first["line"], second["line"], third["line"]) == (1, 3, 4)
    assert first["seed"] == 3
    assert first["style"] == "pitch low; speed 5 syllables/s, high"
    assert second["id"] == "second"
    assert third["output"] == str(out / "third.flac")


def test_it_resumes_and_loads_no_model_when_all_is_there(mini: Path, out: Path) -> None:
    lines = {"text": "Hi.", "id": "a"}, {"text": "Ho.", "id": "b"}
    assert say_all(mini, out, lines[0]).code == 0
    before = (out / "a.wav").read_bytes()
    second = say_all(mini, out, *lines)
    assert [report.get("skipped", False) for report in reports(second)] == [True, False]
    assert (out / "a.wav").read_bytes() == before
    third = say_all(out / "no-model", out, *lines)
    assert third.code == 0
    assert "0 said, 2 skipped" in third.stderr


def test_bad_lines_are_numbered_and_stop_nothing(mini: Path, out: Path) -> None:
    result = say_all(
        mini,
        out,
        "{",
        {"text": ""},
        {"text": "Hi.", "voice": "nobody"},
        {"text": "Hi.", "loud": True},
        {"text": "Hi.", "seed": -1},
        {"text": "Hi.", "pitch": [1]},
        {"text": "Hi.", "speed": "5"},
        {"text": "Hi.", "id": "good"},
        {"text": "Hi.", "id": "good"},
    )
    assert result.code == 2
    assert names(out) == ["good.wav"]
    errors = result.stderr.splitlines()
    numbers = [line.split(":")[1].strip() for line in errors[:-1]]
    assert numbers == [f"Line {number}" for number in (1, 2, 3, 4, 5, 6, 7, 9)]
    assert errors[-1].startswith("Error: 8 of 9 lines failed")
    assert [("error" in report) for report in reports(result)] == [True] * 7 + [False, True]


@pytest.mark.parametrize(
    "name",
    [
        "../x.wav",
        "/tmp/x.wav",
        "a/../../x.wav",
        "..\\x.wav",
        "C:\\x.wav",
        "C:x.wav",
        "a\0.wav",
        "link/x.wav",
        "dangling.wav",
        "x\n.wav",
    ],
)
def test_output_names_cannot_leave_the_folder(mini: Path, out: Path, tmp_path: Path, name: str) -> None:
    (out / "link").symlink_to(tmp_path)
    (out / "dangling.wav").symlink_to(tmp_path / "dangling.wav")
    (out / "a").mkdir()
    before = sorted(tmp_path.rglob("*"))
    result = say_all(mini, out, {"text": "Hi.", "output": name})
    assert result.code == 2
    assert "leaves the folder" in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["../x", "a/b", "..\\x", " ", ""])
def test_ids_are_plain_names(mini: Path, out: Path, name: str) -> None:
    assert say_all(mini, out, {"text": "Hi.", "id": name}).code == 2
    assert not list(out.iterdir())


def test_a_clip_is_encoded_once(mini: Path, out: Path, clip_24k: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[object] = []
    clone = SparkTTS.clone

    def counting(self: SparkTTS, clip: Any, *rest: Any, **more: Any) -> Any:
        encoded.append(clip)
        return clone(self, clip, *rest, **more)

    monkeypatch.setattr(SparkTTS, "clone", counting)
    lines = [{"text": "Hi.", "voice": str(clip_24k)}] * 2 + [{"text": "Hi."}]
    result = say_all(mini, out, *lines, options=("--json", "--voice", clip_24k))
    assert result.code == 0, result.stderr
    assert len(encoded) == 1
    assert len({report["voice"] for report in reports(result)}) == 1


def test_the_command_says_what_lines_leave_out(mini: Path, out: Path) -> None:
    options = ("--gender", "male", "--seed", 5, "--format", "pcm")
    result = say_all(mini, out, {"text": "Hi."}, {"text": "Hi.", "seed": 6}, options=("--json", *options))
    assert [report["seed"] for report in reports(result)] == [5, 6]
    assert names(out) == ["0001.pcm", "0002.pcm"]


def test_without_json_each_line_is_one_line_for_people(mini: Path, out: Path) -> None:
    result = say_all(mini, out, {"text": "Hi."}, options=())
    (line,) = result.text.splitlines()
    assert line.split()[:2] == ["1", "0001.wav"]
    assert "RTF" in line


def test_a_missing_model_is_one_error_not_one_a_line(out: Path) -> None:
    result = say_all(out / "nowhere", out, {"text": "Hi."}, {"text": "Ho."})
    assert result.code == 2
    assert len(result.stderr.splitlines()) == 1
