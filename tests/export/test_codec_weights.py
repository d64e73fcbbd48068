"""The codec as graphs and back: how its weights are stored, and what that changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sparktts import SparkTTS
from sparktts.checkpoint.layout import Checkpoint
from sparktts.checkpoint.shapes import bicodec_shapes, wav2vec2_shapes
from sparktts.errors import OptionError
from sparktts.export import export
from sparktts.export.restore import restore

PARTS = ("encoder", "quantizer", "prenet", "postnet", "decoder", "speaker_encoder")
TOLERANCE = {"fp16": 1e-3, "int8": 1e-2}  # of a tensor's largest value


@pytest.fixture(scope="module", params=["fp16", "int8"])
def stored(request: pytest.FixtureRequest, mini: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    kind: str = request.param
    return kind, export(mini, tmp_path_factory.mktemp(kind) / "out", "int8", codec_weights=kind).path


def test_what_comes_back_is_the_checkpoint_but_for_rounding(
    stored: tuple[str, Path], mini: Path, tmp_path: Path
) -> None:
    kind, directory = stored
    before, after = Checkpoint.open(mini), Checkpoint.open(restore(directory, tmp_path / "back"))
    ours, theirs = after.bicodec_tensors(*PARTS), before.bicodec_tensors(*PARTS)
    assert set(bicodec_shapes(before.bicodec)) <= set(ours)
    for name, values in ours.items():
        assert np.abs(values - theirs[name]).max() <= TOLERANCE[kind] * np.abs(theirs[name]).max(), name
    assert set(wav2vec2_shapes(after.wav2vec2)) >= set(after.wav2vec2_tensors(1))


def test_voices_stay_valid_through_an_export_and_back(stored: tuple[str, Path], mini: Path, tmp_path: Path) -> None:
    _, directory = stored
    expected = Checkpoint.open(mini).codec_fingerprint
    assert Checkpoint.open(directory).codec_fingerprint == expected
    assert Checkpoint.open(restore(directory, tmp_path / "back")).codec_fingerprint == expected


def test_it_hears_and_speaks_nearly_the_same(stored: tuple[str, Path], mini: Path, clip_24k: Path) -> None:
    kind, directory = stored
    ours = SparkTTS.from_pretrained(directory, engine="onnx")
    theirs = SparkTTS.from_pretrained(mini, engine="torch")
    (speaker, semantic), (expected_speaker, expected) = ours.encode(clip_24k), theirs.encode(clip_24k)
    assert (semantic == expected).mean() >= {"fp16": 0.97, "int8": 0.6}[kind]  # random codebooks forgive little
    assert (speaker == expected_speaker).mean() >= {"fp16": 0.97, "int8": 0.8}[kind]
    samples, others = ours.decode(expected, expected_speaker).samples, theirs.decode(expected, expected_speaker).samples
    assert np.corrcoef(samples, others)[0, 1] > 0.98


def test_int8_takes_about_half_the_place(mini: Path, tmp_path: Path) -> None:
    sizes = {}
    for kind in ("fp16", "int8"):
        path = export(mini, tmp_path / kind, "int8", codec_weights=kind).path / "onnx"
        sizes[kind] = (path / "training.safetensors").stat().st_size
    assert sizes["int8"] < 0.75 * sizes["fp16"]


def test_an_unknown_kind_of_weights_is_one_sentence(mini: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="The codec's weights are stored as fp32, fp16, int8, not 'int3'"):
        export(mini, tmp_path / "out", codec_weights="int3")
    assert not (tmp_path / "out").exists()
