"""What the style tokens say about a clip, measured: pitch, pace, loudness."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..audio.pitch import F0_RANGE
from ..audio.resample import resample
from ..audio.samples import Samples
from ..audio.silence import active_frames, frame_levels
from ..errors import OptionError
from ..style import PITCH_BOUNDS, SPEED_BOUNDS, mel
from .audio_source import SAMPLE_RATE
from .checks import Recording

_VOICED = 0.5  # the detector's confidence from which a frame counts as voiced
_FEWEST_VOICED = 10  # frames of 16 ms
_MALE_BELOW = 165.0  # Hz, between the usual ranges of men and women
MAX_PITCH, MAX_SPEED = 1000, 10


@dataclass(frozen=True)
class Pitch:
    """Over the voiced frames, in Hz."""

    mean: float
    std: float


def check_library() -> None:
    """Raises OptionError, saying how to install it, if pitch cannot be measured."""
    pitch_detector()


def pitch(samples: Samples) -> Pitch | None:
    """F0 of a clip, None where too little of it is voiced. samples: (N,) float32 at 16 kHz. Raises OptionError."""
    found = pitch_detector().detect(samples, SAMPLE_RATE, fmin=F0_RANGE[0], fmax=F0_RANGE[1])
    voiced = found.pitch_hz[found.confidence >= _VOICED]
    if len(voiced) < _FEWEST_VOICED:
        return None
    return Pitch(float(voiced.mean()), float(voiced.std()))


def recorded_pitch(recording: Recording) -> Pitch | None:
    """F0 of the sounding part of a recording. Raises OptionError."""
    sound = recording.samples[recording.start : recording.end]
    return pitch(resample(sound, recording.rate, SAMPLE_RATE))


def loudness(samples: Samples, sample_rate: int) -> float:
    """dBFS of the frames that hold sound. samples: (N,), not silent."""
    levels = frame_levels(samples, sample_rate)[active_frames(samples, sample_rate)]
    return float(10 * np.log10(np.mean(10 ** (levels / 10))))


def pitch_value(f0: float) -> int:
    """Number of the pitch token of a mean F0 in Hz."""
    return min(MAX_PITCH, max(0, int(mel(f0))))


def speed_value(rate: float) -> int:
    """Number of the speed token of a pace in syllables a second."""
    return min(MAX_SPEED, max(0, int(rate)))


def pitch_level(value: int, gender: str | None) -> int | None:
    """0 very_low to 4 very_high of a pitch token, for a known gender."""
    if gender == "female":
        return _level(value, PITCH_BOUNDS["female"])
    return _level(value, PITCH_BOUNDS["male"]) if gender == "male" else None


def speed_level(rate: float, language: str) -> int | None:
    """0 very_low to 4 very_high of a pace, for the languages whose paces are known."""
    if language == "zh":
        return _level(rate, SPEED_BOUNDS["zh"])
    return _level(rate, SPEED_BOUNDS["en"]) if language == "en" else None


def guess_gender(f0: float) -> str:
    """The gender that a mean F0 in Hz is more usual for; wrong for high men and low women."""
    return "male" if f0 < _MALE_BELOW else "female"


def _level(amount: float, bounds: tuple[float, ...]) -> int:
    return sum(amount >= bound for bound in bounds)


@lru_cache(maxsize=1)
def pitch_detector() -> Any:
    """swift-f0, on one thread, as clips are measured in processes side by side. Raises OptionError without it."""
    try:
        from swift_f0 import SwiftF0
    except ImportError:
        raise OptionError('Measuring pitch needs swift-f0: pip install "sparktts[train]".') from None
    return SwiftF0(threads=1, spin=False)
