"""How high a voice is: the median of its fundamental frequency, without a network.

For choosing among takes of synthetic speech. Training measures pitch more exactly: `sparktts.data.attributes`.
"""

from __future__ import annotations

import numpy as np

from .samples import Samples

F0_RANGE = (55.0, 600.0)  # Hz
FRAME_SECONDS, HOP_SECONDS = 0.04, 0.01
QUIET = 0.03  # of the loudest frame's level: below it there is no voice
PERIODIC = 0.6  # least autocorrelation of a voiced frame
# A shorter period is preferred by so much for each octave, as twice a period fits as well as the period itself.
OCTAVE_COST = 0.05


def median_pitch(samples: Samples, sample_rate: int) -> float | None:
    """Median F0 of the voiced frames in Hz, 55 to 600; None where nothing is voiced.

    samples: (N,). Source: P. Boersma, Accurate short-term analysis of the fundamental frequency, 1993, without its
    search for a path.
    """
    length, hop = round(FRAME_SECONDS * sample_rate), round(HOP_SECONDS * sample_rate)
    if len(samples) < length:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), length)[::hop]
    frames = frames - frames.mean(axis=1, keepdims=True)
    levels = np.sqrt((frames**2).mean(axis=1))
    frames = frames[levels > QUIET * max(float(levels.max()), 1e-6)]
    if not len(frames):
        return None
    window = np.hanning(length)
    lowest, highest = F0_RANGE
    lags = np.arange(int(sample_rate / highest), min(int(sample_rate / lowest), length - 1) + 1)
    alike = _autocorrelation(frames * window)[:, lags] / _autocorrelation(window[None])[:, lags]
    chosen = (alike - OCTAVE_COST * np.log2(lags * lowest / sample_rate)).argmax(axis=1)
    voiced = alike[np.arange(len(alike)), chosen] > PERIODIC
    return float(sample_rate / np.median(lags[chosen[voiced]])) if voiced.any() else None


def _autocorrelation(
    frames: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(n, N) relative to lag 0."""
    spectrum = np.fft.rfft(frames, 2 * frames.shape[1])
    found = np.fft.irfft(np.abs(spectrum) ** 2)[:, : frames.shape[1]]
    return found / np.maximum(found[:, :1], 1e-12)
