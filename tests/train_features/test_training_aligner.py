"""`sparktts train aligner`, on sounds: it learns, goes on bit for bit, keeps what it has heard."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
pytest.importorskip("pyarrow")

from sparktts.cli.train_aligner import train_aligner  # noqa: E402
from sparktts.data.schema import Clip  # noqa: E402
from sparktts.data.shards import read_shards, write_shard  # noqa: E402
from sparktts.engine.torch.aligner import Aligner  # noqa: E402
from sparktts.errors import OptionError  # noqa: E402
from sparktts.train.aligner import draw  # noqa: E402
from sparktts.train.features.extractors import EncoderOptions, encode_clip, open_encoder  # noqa: E402
from sparktts.train.features.student import Student, StudentOptions  # noqa: E402
from sparktts.train.options import RunOptions  # noqa: E402
from sparktts.train.run import Run  # noqa: E402

from ..checkpoint.copies import edit_tensors  # noqa: E402
from ..cli.runner import run  # noqa: E402
from .corpus import write_corpus  # noqa: E402

STEPS = 80
CONFIG = """
run: {{out: {out}, steps: {steps}, log_every: 10, validate_every: 20, save_every: {half}, threads: 1}}
shards: {shards}
features: {{path: {encoder}, layers: [2]}}
network: {{width: 32}}
held_out: 6
batch: 8
warmup: 5
learning_rate: 0.01
"""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in wav2vec2's layout with random weights: enough to tell tones apart."""
    torch.manual_seed(0)
    directory = tmp_path_factory.mktemp("encoder")
    sizes = StudentOptions(hidden_size=48, layers=2, intermediate_size=48, conv_dim=(32,) * 5, positions=8)
    Student(sizes, 48).export(directory)
    return directory


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), 40)


def configured(folder: Path, shards: Path, encoder: Path, steps: int = STEPS) -> Path:
    path = folder / "aligner.yaml"
    text = CONFIG.format(out=folder / "run", steps=steps, half=steps // 2, shards=shards, encoder=encoder)
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shards: Path, encoder: Path) -> Path:
    """The run's directory."""
    folder = tmp_path_factory.mktemp("trained")
    train_aligner(configured(folder, shards, encoder))
    return folder / "run"


def losses(run: Path, split: str = "train", name: str = "loss") -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if line["split"] == split]


def test_the_loss_falls_and_held_out_phonemes_are_heard(trained: Path) -> None:
    assert losses(trained)[-1] < 0.3 * losses(trained)[0]
    errors = losses(trained, "validation", "phoneme_error")
    assert errors[-1] < 0.9
    assert errors[-1] < errors[0]


def test_the_export_aligns_what_was_recorded(trained: Path, shards: Path, encoder: Path) -> None:
    aligner = Aligner.load(trained / "aligner")
    assert aligner.config.threshold < 0
    clip = next(read_shards(shards))
    from sparktts.data.audio_source import open_audio

    samples = open_audio(shards.parent / "audio", clip.audio)
    features = encode_clip(open_encoder(EncoderOptions(encoder, layers=(2,))), samples)
    times, _ = aligner.word_times(features, clip.words or ())
    assert len(times) == len(clip.words or ())
    assert times[-1][1] == len(features) / 50


def test_the_features_of_another_encoder_are_refused(
    trained: Path, shards: Path, encoder: Path, tmp_path: Path
) -> None:
    shutil.copytree(encoder, tmp_path / "other")
    edit_tensors(tmp_path / "other" / "model.safetensors", lambda t: t["encoder.layer_norm.bias"].__iadd__(0.1))
    prepared = tmp_path / "shards"
    shutil.copytree(shards, prepared)
    source = {"root": str(shards.parent / "audio")}
    write_shard(prepared / "clips-00000.parquet", list(read_shards(shards))[:4], source)
    aligned = ("prepare", prepared, "--aligner", trained / "aligner", "--device", "cpu", "--features")
    for features, layers in ((encoder, "1"), (tmp_path / "other", "2")):
        result = run(*aligned, features, "--layers", layers)
        assert (result.code, result.stderr.count("another encoder or other layers")) == (2, 1), result.stderr
    assert all(clip.word_times is None for clip in read_shards(prepared))
    assert run(*aligned, encoder, "--layers", "2").code == 0


def test_a_run_that_goes_on_ends_as_one_that_was_never_stopped(
    trained: Path, shards: Path, encoder: Path, tmp_path: Path
) -> None:
    config = configured(tmp_path, shards, encoder)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(trained / "checkpoints" / f"step-{STEPS // 2}.pt", tmp_path / "run" / "checkpoints")
    train_aligner(config)
    for name in ("model.safetensors", "config.json"):
        again = (tmp_path / "run" / "aligner" / name).read_bytes()
        assert again == (trained / "aligner" / name).read_bytes()
    assert losses(tmp_path / "run") == losses(trained)[STEPS // 20 :]


def test_clips_are_listened_to_once_and_unreadable_ones_are_left_out(
    shards: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = list(read_shards(shards))
    broken = replace(clips[0], id="broken", audio="missing.wav")
    corpus = tmp_path / "shards"
    corpus.mkdir()
    write_shard(corpus / "clips-00000.parquet", [*clips[:8], broken], {"root": str(shards.parent / "audio")})
    config = configured(tmp_path, corpus, encoder, steps=2)
    train_aligner(config)
    assert "missing.wav" in capsys.readouterr().err
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "features-cache").rglob("*.npy")}
    assert len(kept) == 8
    train_aligner(config, ["run.steps=3"])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_clips_without_phonemes_are_one_sentence(shards: Path, encoder: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "shards"
    corpus.mkdir()
    clips: list[Clip] = [replace(clip, words=None) for clip in read_shards(shards)]
    write_shard(corpus / "clips-00000.parquet", clips, {"root": str(shards.parent / "audio")})
    with pytest.raises(OptionError, match="phonemes"):
        train_aligner(configured(tmp_path, corpus, encoder))


def test_every_clip_comes_once_in_a_round(tmp_path: Path) -> None:
    alone = Run.alone(RunOptions(tmp_path, 10))
    rounds = [place for step in range(1, 8) for place in draw(alone, step, 3, 7)]
    for start in range(0, 21, 7):
        assert Counter(rounds[start : start + 7]) == Counter(range(7))
    assert rounds[:7] != rounds[7:14]
    assert draw(alone, 5, 3, 7) == rounds[12:15]


def test_a_step_is_a_function_of_its_number(shards: Path) -> None:
    from sparktts.train.features.training import Speech

    speech = Speech(shards, 4, seed=0)
    rows = [speech.row(np.random.default_rng(9), 90) for _ in range(2)]
    assert rows[0][0].shape == (90 * 320,)
    np.testing.assert_array_equal(rows[0][0], rows[1][0])
    assert not {clip.id for clip in speech.held_out} & {clip.id for clip in speech.clips}
