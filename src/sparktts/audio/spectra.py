"""Spectra of overlapping windows to samples and back, on numpy, for decoders at the token rate.

Frame t of a spectrum is centred on sample hop * t + hop / 2. Source: Vocos, arXiv 2306.00814.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .samples import Samples

Spectrum = npt.NDArray[np.complex64]
LOUDEST = 100.0  # largest magnitude of a bin: keeps an untrained network finite
QUIETEST = 1e-2  # magnitude that counts as none
GAIN_LIMITS = (-10.0, 4.0)  # natural logarithm of what a bin is multiplied by
SMALLEST_WEIGHT = 1e-8


def from_network(values: Samples, hop: int, n_fft: int) -> Samples:
    """Samples of what the network of a `vocos` decoder says.

    values: (T, n_fft + 2), logarithms of magnitudes, then phases. Returns (hop * T,) samples, unbounded.
    """
    magnitude, phase = np.split(values, 2, axis=-1)
    with np.errstate(over="ignore"):  # infinity is clipped
        magnitude = np.minimum(np.exp(magnitude), LOUDEST)
    return inverse(polar(magnitude, phase), hop, n_fft)


def refine(samples: Samples, network: Callable[[Samples], Samples], hop: int, n_fft: int) -> Samples:
    """Samples after each bin of their spectrum was multiplied by a complex number.

    samples: (hop * F,); network: logarithms of magnitudes (F, n_fft / 2 + 1) to (F, n_fft + 2): logarithms of gains,
    then turns of the phase. Returns the same shape.
    """
    spectrum = forward(samples, hop, n_fft)
    level = np.log(np.maximum(np.abs(spectrum), QUIETEST))
    gain, turn = np.split(network(level), 2, axis=-1)
    return inverse(spectrum * polar(np.exp(np.clip(gain, *GAIN_LIMITS)), turn), hop, n_fft)


def forward(samples: Samples, hop: int, n_fft: int) -> Spectrum:
    """(hop * F,) samples to (F, n_fft / 2 + 1)."""
    edge = (n_fft - hop) // 2
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, edge), n_fft)[::hop]
    return np.fft.rfft(frames * hann(n_fft)).astype(np.complex64)


def inverse(spectrum: Spectrum, hop: int, n_fft: int) -> Samples:
    """(F, n_fft / 2 + 1) to (hop * F,) samples."""
    window = hann(n_fft)
    frames = np.fft.irfft(spectrum, n_fft).astype(np.float32) * window
    weight = overlap_add(np.broadcast_to(np.square(window), frames.shape), hop)
    edge, length = (n_fft - hop) // 2, hop * len(frames)
    samples = overlap_add(frames, hop)[edge : edge + length]
    samples /= np.maximum(weight[edge : edge + length], SMALLEST_WEIGHT)
    return samples


def polar(magnitude: npt.NDArray[Any], phase: npt.NDArray[Any]) -> Spectrum:
    """Complex numbers of magnitudes and phases in radians."""
    result = np.empty(magnitude.shape, np.complex64)
    result.real = magnitude * np.cos(phase)
    result.imag = magnitude * np.sin(phase)
    return result


def overlap_add(frames: npt.NDArray[Any], hop: int) -> Samples:
    """(F, n) frames, each hop after the one before -> (hop * F + n' - hop), n' = n rounded up to a multiple of hop."""
    count, size = frames.shape
    parts = -(-size // hop)
    total = np.zeros((count + parts - 1, hop), np.float32)
    for part in range(parts):
        piece = frames[:, part * hop : (part + 1) * hop]
        total[part : part + count, : piece.shape[1]] += piece
    return total.reshape(-1)


@lru_cache(maxsize=8)
def hann(size: int) -> Samples:
    """(size,) periodic Hann window."""
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
    window.setflags(write=False)  # shared through the cache
    return window
