"""Filter banks of the speaker and quality networks, each as its network was trained."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bank = npt.NDArray[np.float32]


def htk_mel(frequency: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Hz to mel as Kaldi counts it."""
    return 1127.0 * np.log1p(frequency / 700.0)


def kaldi_bank(bins: int, size: int, rate: int = 16000, low: float = 20.0) -> Bank:
    """(bins, size // 2 + 1) triangles, straight in mel; Kaldi leaves out the bin at half the rate."""
    edges = np.linspace(htk_mel(np.array(low)), htk_mel(np.array(rate / 2)), bins + 2)
    at = htk_mel(np.arange(size // 2) * rate / size)
    return np.pad(_triangles(edges, at), ((0, 0), (0, 1))).astype(np.float32)


def slaney_bank(bins: int, size: int, rate: int = 16000) -> Bank:
    """(bins, size // 2 + 1) triangles, straight in Hz, edges on Slaney's mel scale, each of area 1."""
    edges = _slaney_hertz(np.linspace(0, _slaney_mel(rate / 2), bins + 2))
    at = np.linspace(0, rate / 2, size // 2 + 1)
    return (_triangles(edges, at) * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def _triangles(edges: npt.NDArray[np.float64], at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    left, peak, right = (edges[index : len(edges) - 2 + index, None] for index in range(3))
    return np.maximum(0, np.minimum((at - left) / (peak - left), (right - at) / (right - peak)))


_STEP, _KNEE = 200 / 3, 1000.0  # straight below 1 kHz, logarithmic above
_LOG_STEP = np.log(6.4) / 27


def _slaney_mel(hertz: float) -> float:
    """Above the knee."""
    return _KNEE / _STEP + float(np.log(hertz / _KNEE)) / float(_LOG_STEP)


def _slaney_hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mel < _KNEE / _STEP, mel * _STEP, _KNEE * np.exp(_LOG_STEP * (mel - _KNEE / _STEP)))
