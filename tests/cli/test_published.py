"""The published command lines, with only the module's name changed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sparktts import convert, inference
from sparktts.checkpoint.tensors import TensorFile

from .runner import Result, run, run_process

WAV2VEC2 = "wav2vec2-large-xlsr-53"


def speak(mini: Path, folder: Path, *arguments: object) -> Result:
    common = ("--text", "Hi.", "--model_dir", mini, "--save_dir", folder, "--no_checks")
    return run(*common, *arguments, command=inference.main)


def test_a_clip_with_its_words_speaks_into_a_new_folder(mini: Path, out: Path, clip_24k: Path) -> None:
    clip = ("--prompt_speech_path", clip_24k, "--prompt_text", "These are the words.")
    result = speak(mini, out / "a" / "b", *clip, "--device", "0")
    assert result.code == 0, result.stderr
    (path,) = (out / "a" / "b").iterdir()
    assert re.fullmatch(r"\d{14}\.wav", path.name)
    assert result.text == f"{path}\n"
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        assert result.stderr.startswith("Note: there is no GPU")


def test_with_a_gender_the_clip_is_ignored(mini: Path, out: Path) -> None:
    style = ("--gender", "female", "--pitch", "high", "--speed", "very_low")
    result = speak(mini, out, *style, "--prompt_speech_path", out / "missing.wav", "--device", "cpu")
    assert result.code == 0, result.stderr
    assert "pitch high; speed very_low" in result.stderr


def test_no_file_is_overwritten(mini: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparktts.inference.time.strftime", lambda form: "20260102030405")
    for _ in range(3):
        assert speak(mini, out, "--gender", "male", "--device", "cpu").code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "20260102030405-1.wav",
        "20260102030405-2.wav",
        "20260102030405.wav",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--gender", "robot"),
        ("--gender", "male", "--pitch", "huge"),
        ("--gender", "male", "--device", "toaster"),
        ("--gender", "male", "--loud"),
        ("--gender", "male", "--device", "cpu", "--text", "..."),
        ("--prompt_speech_path", "missing.wav", "--device", "cpu"),
    ],
    ids=" ".join,
)
def test_wrong_arguments_are_one_sentence(mini: Path, out: Path, arguments: tuple[str, ...]) -> None:
    result = speak(mini, out / "new", *arguments)
    assert result.code == 2
    assert re.fullmatch(r"Error: .+\.\n", result.stderr)
    assert not list(out.iterdir())


def test_the_converter_keeps_names_and_values(mini: Path, out: Path) -> None:
    source = mini / WAV2VEC2
    result = run_process(
        *("--pt_filename", source / "pytorch_model.bin", "--sf_filename", out / "model.safetensors"),
        *("--config_path", source / "config.json"),
        module="sparktts.convert",
    )
    assert result.code == 0, result.stderr
    before, after = TensorFile.open(source / "pytorch_model.bin"), TensorFile.open(out / "model.safetensors")
    assert sorted(before.names) == sorted(after.names)
    for name in before.names:
        np.testing.assert_array_equal(before.read(name), after.read(name))


def test_the_converted_model_hears_the_same(mini: Path, out: Path, clip_24k: Path) -> None:
    model = out / "model"
    shutil.copytree(mini, model)
    weights = model / WAV2VEC2 / "pytorch_model.bin"
    target = weights.with_name("model.safetensors")
    assert run("--pt_filename", weights, "--sf_filename", target, command=convert.main).code == 0
    weights.unlink()
    tokens = [run("encode", clip_24k, "--model", directory).json for directory in (mini, model)]
    assert tokens[0] == tokens[1]


@pytest.mark.parametrize("config", ["missing.json", "not.json", "list.json"])
def test_the_converter_checks_the_configuration(mini: Path, out: Path, tmp_path: Path, config: str) -> None:
    (tmp_path / "not.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    result = run(
        *("--pt_filename", mini / WAV2VEC2 / "pytorch_model.bin", "--sf_filename", out / "m.safetensors"),
        *("--config_path", tmp_path / config),
        command=convert.main,
    )
    assert result.code == 2
    assert config in result.stderr
    assert not list(out.iterdir())
