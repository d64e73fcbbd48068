"""The one type of a signal, and how integers become samples and samples become integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AudioError

Samples = npt.NDArray[np.float32]


def to_float(samples: npt.NDArray[Any]) -> Samples:
    """float32 samples of a PCM array: signed integers by their full scale, uint8 around 128, floats as is.

    Raises AudioError for another type.
    """
    if samples.dtype == np.uint8:
        return ((samples.astype(np.float32) - 128.0) / 128.0).astype(np.float32)
    if samples.dtype.kind == "i":
        # In float64: 32-bit integers are rounded once, at the end.
        return (samples / float(2 ** (8 * samples.dtype.itemsize - 1))).astype(np.float32)
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and is refused as that
            return samples.astype(np.float32)
    raise AudioError(f"Samples of type {samples.dtype} are not sound; give floats in [-1, 1] or integers.")


def to_pcm16(samples: Samples) -> npt.NDArray[np.int16]:
    """Little-endian 16-bit integers, clipped to [-1, 1]; undoes `to_float`, so a copy keeps its bits."""
    return np.clip(np.rint(samples.astype(np.float64) * 32768.0), -32768, 32767).astype("<i2")


def check_signal(samples: npt.NDArray[Any], what: str) -> Samples:
    """(N,) float32 of a caller's array. Raises AudioError if that is no finite single channel, or empty."""
    if samples.ndim != 1:
        raise AudioError(f"{what} has the shape {samples.shape}; give one channel, an array of shape (N,).")
    if samples.size == 0:
        raise AudioError(f"{what} holds no samples; give at least one.")
    signal = to_float(samples)
    if not np.isfinite(signal).all():
        raise AudioError(f"{what} holds NaN or infinite values, which are no sound; make it again.")
    return signal
