"""Something to compare engines on: a few seconds that sound remotely like speech, the same on every machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..audio.loudness import normalize_volume
from ..audio.resample import resample
from ..audio.source_filter import SourceFilter, SourceState

RATE, HOP, BANDS = 16000, 320, 80
SYLLABLE = 10  # frames of 20 ms


def sample_clip(seconds: float, sample_rate: int) -> npt.NDArray[np.float32]:
    """(N,) float32: voiced and unvoiced syllables with wandering formants, and pauses between them."""
    random = np.random.default_rng(7)
    count = round(seconds * RATE / HOP)
    knots = count // SYLLABLE + 2
    values = np.zeros((count, 2 + 2 * BANDS), np.float32)
    values[:, 0] = _between(random.normal(-1.0, 0.5, knots), count)
    values[:, 1] = np.repeat(random.random(knots) < 0.7, SYLLABLE)[:count] - 0.5
    loudness = _between(np.where(random.random(knots) < 0.2, -6.0, 0.0), count)
    place = np.arange(BANDS)
    formants = [_between(random.uniform(low, low + 20, knots), count) for low in (8, 30, 50)]
    envelope = sum(3 * np.exp(-np.square((place - centre[:, None]) / 5)) for centre in formants) - place / 20
    values[:, 2 : 2 + BANDS] = envelope + loudness[:, None]
    values[:, 2 + BANDS :] = envelope + loudness[:, None] - 1
    source = SourceFilter(RATE, HOP, 1024, 60.0, 400.0, BANDS)
    samples, _ = source.decode(values, SourceState(), 0, count)
    return normalize_volume(resample(samples, RATE, sample_rate))


def sample_tokens(count: int, codes: int) -> npt.NDArray[np.int64]:
    """(count,) random codes."""
    return np.random.default_rng(11).integers(0, codes, count)


def _between(knots: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Values at every SYLLABLE-th frame, drawn out to all frames."""
    return np.interp(np.arange(count) / SYLLABLE, np.arange(len(knots)), knots)
