"""sparktts model: looking at models, checking and converting them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .runner import run, run_process


def test_info_tells_what_the_model_is(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = run("model", "info", mini, "--json").json
    assert known["sample_rate"] == 16000
    assert known["tokens_per_second"] == 50
    assert known["global_tokens"] == 32
    monkeypatch.setenv("SPARKTTS_MODEL", str(mini))
    told = run("model", "info")
    assert told.code == 0
    assert f"fingerprint        {known['fingerprint']}" in told.text


def test_check_finds_the_model_sound(mini: Path) -> None:
    result = run("model", "check", mini)
    assert result.code == 0
    assert result.text.splitlines()[-1] == "The model is sound."
    assert run("model", "check", mini, "--json").json["ok"] is True


def test_check_lists_every_problem(mini: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(mini, broken)
    (broken / "LLM" / "tokenizer.json").write_text("{}")
    (broken / "wav2vec2-large-xlsr-53" / "pytorch_model.bin").write_bytes(b"PK")
    result = run("model", "check", broken, "--json")
    assert result.code == 2
    assert result.stderr.startswith("Error: ")
    assert "pytorch_model.bin" in result.json["problems"][0]
    assert run("model", "check", broken).code == 2
    shutil.copyfile(
        mini / "wav2vec2-large-xlsr-53" / "pytorch_model.bin",
        broken / "wav2vec2-large-xlsr-53" / "pytorch_model.bin",
    )
    assert "tokenizer.json" in run("model", "check", broken).stderr


def test_a_converted_model_speaks(mini: Path, tmp_path: Path, out: Path) -> None:
    result = run("model", "convert", mini, "-o", tmp_path / "bf16", "--dtype", "bf16")
    assert result.code == 0, result.stderr
    assert run("model", "info", tmp_path / "bf16", "--json").json["dtypes"]["language model"] == ["BF16"]
    said = run("say", "Hi.", "--model", tmp_path / "bf16", "--no-checks", "-o", out / "a.wav")
    assert said.code == 0, said.stderr


def test_download_names_the_licence_and_stops() -> None:
    result = run("model", "download")
    assert result.code == 2
    assert "CC BY-NC-SA 4.0" in result.stderr
    assert "--accept-license" in result.stderr


def test_download_without_a_network_says_what_to_do(tmp_path: Path) -> None:
    result = run_process(
        "model", "download", "--accept-license", "-o", tmp_path / "m", environment={"HF_HUB_OFFLINE": "1"}
    )
    assert result.code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "network" in result.stderr
