from __future__ import annotations

import numpy as np
import pytest

from sparktts.audio.mel import MelSpectrogram


@pytest.mark.parametrize("samples", [0, 1, 2, 100, 319, 320, 16000])
def test_frames_follow_from_the_length(samples: int) -> None:
    mel = MelSpectrogram()(np.full(samples, 0.1, np.float32))
    assert mel.shape == (128, 1 + samples // 320)
    assert np.isfinite(mel).all()


def test_a_tone_lights_the_filter_at_its_frequency() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    spectrogram = MelSpectrogram()
    loudest = int(spectrogram(tone).mean(axis=1).argmax())
    centre = np.argmax(spectrogram.filters()[loudest]) * 16000 / 1024
    assert abs(centre - 1000) < 30


def test_long_clips_in_blocks_equal_short_ones() -> None:
    signal = np.random.default_rng(0).standard_normal(320 * 5000).astype(np.float32)
    whole, tail = MelSpectrogram()(signal), MelSpectrogram()(signal[320 * 4000 :])
    np.testing.assert_allclose(whole[:, 4010:], tail[:, 10:], rtol=1e-4, atol=1e-4)


def test_missing_upper_frequency_means_half_the_rate() -> None:
    assert np.array_equal(MelSpectrogram(mel_fmax=None).filters(), MelSpectrogram(mel_fmax=8000.0).filters())
