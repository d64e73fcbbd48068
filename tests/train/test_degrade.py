"""Reference clips as worse recordings of them: what must change, and what must not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sparktts.audio.loudness import normalize_volume
from sparktts.audio.samples import Samples
from sparktts.train.codec import degrade

Only = Callable[[str], None]


@pytest.fixture
def clip() -> Samples:
    """Three seconds of a buzz of 120 Hz with pauses, normalised as the training's clips are."""
    seconds = np.arange(48000) / 16000
    buzz = sum(np.sin(2 * np.pi * 120 * k * seconds) / k for k in range(1, 60))
    return normalize_volume((buzz * (np.sin(2 * np.pi * 2 * seconds) > 0)).astype(np.float32))


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Only:
    """Makes one fault happen always, and the others never."""

    def choose(wanted: str) -> None:
        for name in ("ROOM", "NOISE", "BAND", "OVERLOAD"):
            monkeypatch.setattr(degrade, name, 1.0 if name == wanted else 0.0)

    return choose


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def level(samples: Samples) -> float:
    """dB."""
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12))


def share_above(samples: Samples, hertz: float) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(power[np.fft.rfftfreq(len(samples), 1 / 16000) > hertz].sum() / power.sum())


def test_a_seed_gives_one_result_and_seeds_differ(clip: Samples) -> None:
    results = [degrade.degraded(clip, rng(seed)) for seed in range(12)]
    assert np.array_equal(results[3], degrade.degraded(clip, rng(3)))
    assert len({result.tobytes() for result in results}) > 8


def test_a_result_has_the_clips_length_and_the_volume_that_encoders_hear(clip: Samples) -> None:
    for seed in range(40):
        result = degrade.degraded(clip, rng(seed))
        assert (result.dtype, result.shape) == (np.float32, clip.shape)
        assert np.isfinite(result).all()
        assert np.abs(result).max() <= 1.0 + 1e-6
        assert np.allclose(normalize_volume(result), result, atol=0.05)


def test_noise_lies_below_the_speech_by_as_many_decibels_as_are_drawn(
    clip: Samples, only: Only, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("NOISE")
    for ratio in (10.0, 30.0):
        monkeypatch.setattr(degrade, "SNR", (ratio, ratio))
        result = degrade.degraded(clip, rng(1))
        speech, pause = np.abs(clip) > degrade._AUDIBLE, clip == 0
        assert level(result[speech]) - level(result[pause]) == pytest.approx(ratio, abs=1.0)


def test_a_narrow_band_loses_what_is_above_and_below_it(
    clip: Samples, only: Only, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("BAND")
    monkeypatch.setattr(degrade, "HIGH_CUT", (3000.0, 3000.0))
    monkeypatch.setattr(degrade, "LOW_CUT", (300.0, 300.0))
    result = degrade.degraded(clip, rng())
    assert share_above(clip, 4500) > 100 * share_above(result, 4500)
    assert 1 - share_above(clip, 150) > 100 * (1 - share_above(result, 150))


def test_a_room_is_heard_in_the_pauses_and_dies_away(clip: Samples, only: Only) -> None:
    only("ROOM")
    result = degrade.degraded(clip, rng())
    assert not clip[4400:8000].any()
    assert -60 < level(result[4400:5000]) - level(result[:4000]) < -3
    assert level(result[4400:5000]) > level(result[7400:8000]) + 6


def test_an_overload_cuts_the_peaks_off(clip: Samples, only: Only) -> None:
    only("OVERLOAD")
    result = np.abs(degrade.degraded(clip, rng()))
    assert (result > 0.999 * result.max()).sum() > 20 * (np.abs(clip) > 0.999 * np.abs(clip).max()).sum()


def test_silence_stays_silent() -> None:
    assert not degrade.degraded(np.zeros(16000, np.float32), rng()).any()


def test_a_shortened_clip_is_a_piece_of_two_seconds_or_more(clip: Samples) -> None:
    ramp = np.arange(len(clip), dtype=np.float32)
    pieces = [degrade.shortened(ramp, rng(seed)) for seed in range(50)]
    assert all(32000 <= len(piece) <= 48000 and np.all(np.diff(piece) == 1) for piece in pieces)
    assert len({(piece[0], len(piece)) for piece in pieces}) > 30
    assert len(degrade.shortened(ramp[:20000], rng())) == 20000
