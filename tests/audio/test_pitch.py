"""Pitch of a take: of synthetic voices exactly, of recordings as the network that training measures with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparktts.audio.pitch import median_pitch
from sparktts.audio.read import read_audio

from .signals import noise, silence


def hum(hertz: float, seconds: float = 0.6, sample_rate: int = 16000) -> np.ndarray:
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    partials = range(1, min(20, int(sample_rate / 2 / hertz)))
    return np.array(0.1 * sum(np.cos(2 * np.pi * k * hertz * time + k * k) / k for k in partials), np.float32)


@settings(deadline=None, max_examples=40)
@given(st.floats(60, 500), st.sampled_from([16000, 24000]), st.floats(0.01, 3.0))
def test_a_hum_has_its_own_pitch_at_any_level(hertz: float, sample_rate: int, level: float) -> None:
    found = median_pitch(np.float32(level) * hum(hertz, sample_rate=sample_rate), sample_rate)
    assert found == pytest.approx(hertz, rel=0.02)


def test_silence_and_noise_around_it_do_not_matter() -> None:
    pieces = [silence(0.5), hum(140), 0.003 * noise(8000, 1.0), silence(0.5)]
    assert median_pitch(np.concatenate(pieces).astype(np.float32), 16000) == pytest.approx(140, rel=0.02)


@pytest.mark.parametrize("samples", [silence(1.0), silence(0.0), noise(16000, 0.1), silence(0.01)])
def test_what_is_not_voiced_has_no_pitch(samples: np.ndarray) -> None:
    assert median_pitch(samples, 16000) is None


def test_a_recording_has_the_pitch_that_training_measures(clip_16k: Path) -> None:
    attributes = pytest.importorskip("sparktts.data.attributes")
    pytest.importorskip("swift_f0")
    samples = read_audio(clip_16k, 16000)
    measured = attributes.pitch(samples)
    assert measured is not None
    assert median_pitch(samples, 16000) == pytest.approx(measured.mean, rel=0.1)
