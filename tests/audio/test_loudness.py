from __future__ import annotations

import numpy as np
import pytest

from sparktts.audio.loudness import normalize_volume
from sparktts.audio.resample import resample

from .signals import speechlike


def loud_part(samples: np.ndarray) -> float:
    levels = np.sort(np.abs(samples)[np.abs(samples) > 0.01])
    return float(levels[int(0.9 * len(levels)) : int(0.99 * len(levels))].mean())


@pytest.mark.parametrize("level", [0.15, 0.3, 0.9])
def test_the_loud_part_reaches_the_target(level: float) -> None:
    assert loud_part(normalize_volume(speechlike(2, level=level))) == pytest.approx(0.2, rel=0.03)


def test_the_peak_never_exceeds_full_scale() -> None:
    click = speechlike(2, level=0.11)
    click[5000] = 1.0
    assert np.abs(normalize_volume(click)).max() <= 1.0 + 1e-6


def test_a_quiet_clip_without_audible_samples_is_scaled_to_a_peak_of_a_tenth() -> None:
    assert np.abs(normalize_volume(speechlike(1, level=0.005))).max() == pytest.approx(0.1, rel=1e-4)


def test_a_quiet_clip_is_measured_before_its_first_gain_as_published() -> None:
    clip = speechlike(1, level=0.08)
    expected = 0.2 / loud_part(clip) * (0.1 / 0.08)
    assert np.abs(normalize_volume(clip)).max() == pytest.approx(min(1.0, 0.08 * expected), rel=1e-3)


def test_silence_and_emptiness_stay() -> None:
    assert not normalize_volume(np.zeros(100, np.float32)).any()
    assert normalize_volume(np.zeros(0, np.float32)).size == 0


def test_resampling_keeps_length_in_seconds_and_the_tone() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(48000) / 48000).astype(np.float32)
    low = resample(tone, 48000, 16000)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert low.shape == (16000,)
    assert np.abs(low - expected)[500:-500].max() < 1e-3
    assert resample(low, 16000, 16000) is low
    assert resample(low[:0], 16000, 8000).size == 0
