"""Where the sound in a recording begins and ends, by energy relative to its loud part and its noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .samples import Samples

FRAME_SECONDS = 0.01
_DIGITAL_SILENCE = -90.0  # dBFS: below this a frame is padding, not the noise of a room
_SILENT = -66.0  # dBFS: a recording that never gets louder holds no speech
_RANGE = 40.0  # dB below the loudest frame: soft consonants are still heard there
_QUIET = (5, 15)  # percentiles of the levels, between which background noise is steady
_STEADY = 4.0  # dB
_ABOVE_NOISE = 8.0  # dB
_LEAST_RANGE = 12.0  # dB: a steady tone is no background of itself


def frame_levels(samples: Samples, sample_rate: int) -> npt.NDArray[np.float64]:
    """(ceil(N / frame),) RMS levels in dBFS of 10 ms frames; the last frame may be shorter."""
    size = frame_size(sample_rate)
    starts = np.arange(0, samples.size, size)
    if not starts.size:
        return np.zeros(0)
    energy = np.add.reduceat(np.square(samples, dtype=np.float64), starts)
    lengths = np.minimum(size, samples.size - starts)
    return _decibel(energy / lengths)


def frame_size(sample_rate: int) -> int:
    """Samples in one frame."""
    return max(1, round(FRAME_SECONDS * sample_rate))


def active_frames(samples: Samples, sample_rate: int) -> npt.NDArray[np.bool_]:
    """(frames,) True where there is sound: near the loudest frame and clearly above the noise."""
    levels = frame_levels(samples, sample_rate)
    if not levels.size or levels.max() < _SILENT:
        return np.zeros(levels.shape, np.bool_)
    loudest = float(levels.max())
    floor = _noise_floor(levels)
    threshold = min(max(loudest - _RANGE, floor + _ABOVE_NOISE), loudest - _LEAST_RANGE)
    return np.asarray(levels >= threshold, dtype=np.bool_)


def _noise_floor(levels: npt.NDArray[np.float64]) -> float:
    """dBFS of the background, or -inf if the quiet frames differ too much to be one.

    They do in speech without pauses, whose soft consonants must not be taken for noise. The price: background
    that fills less than 15 % of a recording is not seen as such, so that much of it may stay at the ends.
    """
    quiet, less_quiet = np.percentile(levels[levels > _DIGITAL_SILENCE], _QUIET)
    return float(quiet) if less_quiet - quiet < _STEADY else float("-inf")


def speech_bounds(samples: Samples, sample_rate: int) -> tuple[int, int]:
    """First sample of the sound and the one after its last, in steps of 10 ms; (0, 0) if all is silent.

    samples: (N,) float32 at sample_rate Hz.
    """
    active = np.flatnonzero(active_frames(samples, sample_rate))
    if not active.size:
        return 0, 0
    size = frame_size(sample_rate)
    return int(active[0]) * size, min(int(active[-1] + 1) * size, samples.size)


def trim_silence(samples: Samples, sample_rate: int, keep: float = 0.05) -> Samples:
    """The part of a recording with sound, and `keep` seconds on each side of it.

    samples: (N,) float32. Returns a view of (M,) of them; empty if all is silent.
    """
    start, end = speech_bounds(samples, sample_rate)
    if start == end:
        return samples[:0]
    margin = round(keep * sample_rate)
    return samples[max(0, start - margin) : end + margin]


def _decibel(power: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(10.0 * np.log10(np.maximum(power, 1e-20)), dtype=np.float64)
