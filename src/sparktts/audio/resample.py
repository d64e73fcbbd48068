"""Change of the sampling rate."""

from __future__ import annotations

import numpy as np

from .samples import Samples


def resample(samples: Samples, source_rate: int, target_rate: int) -> Samples:
    """Signal at another rate, by soxr in its very high quality, as the published model does.

    samples: (N,) float32 at source_rate Hz. Returns (M,) float32, M close to N * target_rate / source_rate;
    the same array if the rates are equal.
    """
    if source_rate == target_rate:
        return samples
    if samples.size == 0:
        return np.zeros(0, np.float32)
    import soxr

    return np.asarray(soxr.resample(samples, source_rate, target_rate, quality="VHQ"), dtype=np.float32)


class Resampler:
    """The same for a signal that comes in parts; what it holds back comes with later parts."""

    def __init__(self, source_rate: int, target_rate: int) -> None:
        import soxr

        self._stream = soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32", quality="VHQ")

    def add(self, samples: Samples) -> Samples:
        """What the next (N,) samples let out."""
        return np.asarray(self._stream.resample_chunk(np.ascontiguousarray(samples)), dtype=np.float32)

    def end(self) -> Samples:
        """The rest."""
        return np.asarray(self._stream.resample_chunk(np.zeros(0, np.float32), last=True), dtype=np.float32)
