"""Measures of the codec's validation, by libraries that may be missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from sparktts.audio.read import read_audio
from sparktts.train.codec.quality import measures

RATE = 16000


@pytest.mark.parametrize(("library", "name", "best"), [("pystoi", "stoi", 1.0), ("pesq", "pesq", 4.64)])
def test_noise_costs_quality(library: str, name: str, best: float, clip_16k: Path) -> None:
    pytest.importorskip(library)
    real = read_audio(clip_16k)[: 4 * RATE]
    noise = np.random.default_rng(0).normal(size=len(real)).astype(np.float32)
    scores = [measures(real, real + level * noise, RATE)[name] for level in (0.0, 0.01, 0.1)]
    assert scores[0] == pytest.approx(best, abs=0.01)
    assert scores == sorted(scores, reverse=True)
    assert scores[2] < 0.9 * scores[0]


def test_what_cannot_be_measured_is_left_out(clip_16k: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = read_audio(clip_16k)[: 2 * RATE]
    assert measures(real[: RATE // 2], real[: RATE // 2], RATE) == {}
    silent = np.zeros(2 * RATE, np.float32)
    assert "pesq" not in measures(silent, silent, RATE)
    monkeypatch.setattr("sparktts.train.codec.quality.find_spec", lambda name: None)
    assert measures(real, real, RATE) == {}
