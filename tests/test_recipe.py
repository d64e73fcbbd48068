"""The tiny recipe in a shorter form: its own configurations, a few steps each, from recordings to speech."""

from __future__ import annotations

import json
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from sparktts.audio.read import read_audio

from .cli.runner import run

RECIPE = Path(__file__).parent.parent / "recipes" / "tiny"
CLIPS = 24
WAV2VEC2 = "wav2vec2-large-xlsr-53"
SHORT = (
    "--set",
    "run.steps=3",
    "--set",
    "run.validate_every=3",
    "--set",
    "run.save_every=3",
    "--set",
    "run.log_every=1",
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """The last clips of the recipe's speech: Mandarin with English words, several of each voice."""
    target = tmp_path / "speech.tar"
    with tarfile.open(RECIPE / "speech.tar") as whole, tarfile.open(target, "w") as part:
        manifest = whole.extractfile("manifest.jsonl")
        assert manifest is not None
        lines = manifest.read().decode().splitlines()[-CLIPS:]
        files = {"manifest.jsonl": "\n".join(lines).encode()}
        for line in lines:
            member = whole.extractfile(json.loads(line)["audio"])
            assert member is not None
            files[json.loads(line)["audio"]] = member.read()
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            part.addfile(info, BytesIO(data))
    return target


def ok(*arguments: object) -> str:
    result = run(*arguments)
    assert result.code == 0, result.stderr
    return result.text


def test_every_step_of_the_recipe_works(
    corpus: Path, mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ok("prepare", corpus, "-o", "prepared", "--phonemes", "--workers", 1)
    teacher = (
        "--set",
        "teacher.kind=wav2vec2",
        "--set",
        f"teacher.path={mini / WAV2VEC2}",
        "--set",
        "teacher.layers=[11, 14, 16]",
    )
    ok("train", "features", RECIPE / "features.yaml", *SHORT, *teacher, "--set", "batch=2", "--set", "held_out=2")
    codec = ("--set", "data.batch=2", "--set", "data.validation_clips=2")
    ok("train", "codec", RECIPE / "codec.yaml", *SHORT, *codec, "--export", "model")
    ok("train", "aligner", RECIPE / "aligner.yaml", *SHORT, "--set", "batch=4", "--set", "held_out=2")
    (tmp_path / "aligner-run" / "aligner").rename(tmp_path / "model" / "aligner")
    with (tmp_path / "model" / "config.yaml").open("a") as file:
        file.write("aligner: aligner\n")
    ok("prepare", "prepared", "--aligner", "model/aligner", "--features", "model", "--workers", 1)
    ok("prepare", "prepared", "--codec", "model", "--workers", 1)
    ok("train", "lm", RECIPE / "lm.yaml", *SHORT, "--set", "batch.tokens=1500", "--export", "speaking")
    assert "sound" in ok("model", "check", "speaking")
    said = ("--model", "speaking", "--gender", "female", "--no-checks")
    ok("say", "Hi.", *said, "-o", "hello.wav", "--seed", 1)
    assert len(read_audio("hello.wav")) > 0
    Path("tiny.lst").write_text("one|Hi.\n")
    ok("eval", "tiny.lst", "-o", "results", *said)
    assert json.loads(Path("results/report.json").read_text())
