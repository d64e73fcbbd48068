"""Word times in finished shards, by an aligner of random weights: how well one hears is tested where it is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sparktts.checkpoint.aligner import AlignerConfig
from sparktts.data.align import AlignerSource, add_word_times
from sparktts.data.build import prepare
from sparktts.data.hearing import FeatureSource
from sparktts.data.shards import read_shards
from sparktts.engine.torch.aligner import AlignerNetwork
from sparktts.errors import OptionError
from sparktts.train.aligner import export
from sparktts.train.features.extractors import EncoderOptions, open_encoder

from ..cli.runner import run


def write_aligner(target: Path, mini: Path, threshold: float) -> Path:
    torch.manual_seed(0)
    dim = open_encoder(EncoderOptions(mini)).dim
    config = AlignerConfig(dim, tuple("həlOwɜɹd"), width=8, kernel=3, threshold=threshold)
    target.mkdir()
    export(target, config, AlignerNetwork(config))
    return target


@pytest.fixture
def prepared(opus_tar: Path, tmp_path: Path) -> Path:
    prepare(opus_tar, tmp_path / "out", workers=1)
    return tmp_path / "out"


def test_words_get_times_that_cover_the_clip(prepared: Path, mini: Path, tmp_path: Path) -> None:
    aligner = write_aligner(tmp_path / "aligner", mini, -1e6)
    result = run("prepare", prepared, "--aligner", aligner, "--features", mini, "--device", "cpu")
    assert result.code == 0, result.stderr
    for clip in read_shards(prepared):
        assert clip.words is not None
        assert clip.word_times is not None
        assert len(clip.word_times) == len(clip.words)
        assert clip.word_times[0][0] == 0
        assert clip.word_times[-1][1] == pytest.approx(clip.duration, abs=0.04)
        assert all(start < end for start, end in clip.word_times)
    before = list(read_shards(prepared))
    assert run("prepare", prepared, "--aligner", aligner, "--features", mini, "--device", "cpu").code == 0
    assert list(read_shards(prepared)) == before


def test_clips_that_do_not_say_their_words_leave_with_the_reason(prepared: Path, mini: Path, tmp_path: Path) -> None:
    aligner = write_aligner(tmp_path / "aligner", mini, -1e-6)
    add_word_times(prepared, AlignerSource(str(aligner), FeatureSource(str(mini)), device="cpu"))
    assert list(read_shards(prepared)) == []
    lines = (prepared / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["reason"] for line in lines} == {"poor_alignment"}
    assert len(lines) == 3


def test_clips_without_phonemes_are_an_error(manifest: Path, mini: Path, tmp_path: Path) -> None:
    prepare(manifest, tmp_path / "out", workers=1)
    aligner = write_aligner(tmp_path / "aligner", mini, -1e6)
    with pytest.raises(OptionError, match="--phonemes"):
        add_word_times(tmp_path / "out", AlignerSource(str(aligner), FeatureSource(str(mini)), device="cpu"))
    assert len(list(read_shards(tmp_path / "out"))) == 3
