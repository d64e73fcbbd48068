"""Mel spectrogram on numpy, as the speaker encoder sees it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .samples import Samples

_BLOCK = 2048  # frames at a time: memory does not grow with the clip

# Slaney's scale: linear up to 1 kHz (15 mel), then 27 mel for each factor of 6.4.
_LINEAR_HZ = 200.0 / 3.0
_LOG_START_HZ, _LOG_START_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27.0


@dataclass(frozen=True)
class MelSpectrogram:
    """Magnitudes on Slaney's mel scale, each filter of equal area; no logarithm.

    Lengths in samples, frequencies in Hz. Defaults: the published codec. Source: arXiv 2503.01710; Slaney,
    Auditory Toolbox (1998).
    """

    sample_rate: int = 16000
    n_fft: int = 1024
    win_length: int = 640
    hop_length: int = 320
    mel_fmin: float = 10.0
    mel_fmax: float | None = 8000.0
    num_mels: int = 128

    def __call__(self, samples: npt.ArrayLike) -> Samples:
        """(N,) float32 -> (num_mels, 1 + N // hop_length) float32; frame i is centred on i * hop_length."""
        signal = _reflect(np.asarray(samples, dtype=np.float32), self.n_fft // 2)
        frames = np.lib.stride_tricks.sliding_window_view(signal, self.n_fft)[:: self.hop_length]
        window = _window(self.win_length, self.n_fft)
        filters = self.filters()
        mel = np.empty((self.num_mels, len(frames)), np.float32)
        for start in range(0, len(frames), _BLOCK):
            spectrum = np.abs(np.fft.rfft(frames[start : start + _BLOCK] * window))
            mel[:, start : start + _BLOCK] = filters @ spectrum.T.astype(np.float32)
        return mel

    def filters(self) -> Samples:
        """(num_mels, n_fft // 2 + 1) float32 triangles."""
        fmax = self.sample_rate / 2 if self.mel_fmax is None else self.mel_fmax
        return _filters(self.sample_rate, self.n_fft, self.mel_fmin, fmax, self.num_mels)


def _reflect(signal: Samples, width: int) -> Samples:
    """Mirrored at both ends; a clip shorter than the mirror is mirrored again and again."""
    if signal.size == 0:
        return np.zeros(2 * width, np.float32)
    return np.pad(signal, width, mode="reflect" if signal.size > 1 else "edge")


@lru_cache(maxsize=8)
def _window(win_length: int, n_fft: int) -> Samples:
    """(n_fft,) periodic Hann window of win_length samples, centred."""
    window = np.zeros(n_fft, np.float32)
    start = (n_fft - win_length) // 2
    window[start : start + win_length] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win_length) / win_length)
    return window


@lru_cache(maxsize=8)
def _filters(sample_rate: int, n_fft: int, fmin: float, fmax: float, num_mels: int) -> Samples:
    edges = _mel_to_hz(np.linspace(_hz_to_mel(fmin), _hz_to_mel(fmax), num_mels + 2))
    bins = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre))
    filters: Samples = (np.maximum(triangles, 0.0) * 2.0 / (upper - lower)).astype(np.float32)
    filters.setflags(write=False)  # shared through the cache
    return filters


def _hz_to_mel(hz: float) -> float:
    if hz < _LOG_START_HZ:
        return hz / _LINEAR_HZ
    return float(_LOG_START_MEL + np.log(hz / _LOG_START_HZ) / _LOG_STEP)


def _mel_to_hz(mel: npt.NDArray[Any]) -> npt.NDArray[Any]:
    curved = _LOG_START_HZ * np.exp(_LOG_STEP * (mel - _LOG_START_MEL))
    return np.where(mel < _LOG_START_MEL, mel * _LINEAR_HZ, curved)
