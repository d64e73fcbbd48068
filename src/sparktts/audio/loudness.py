"""The published volume rule: every clip reaches the encoders at the same loudness."""

from __future__ import annotations

import numpy as np

from .samples import Samples

_AUDIBLE = 0.01  # samples below this do not count as speech
_FEWEST = 10  # this many audible samples or fewer say nothing about loudness
_QUIET_PEAK = 0.1
_FAINTEST_PEAK = 1e-3  # keeps near-silence from being blown up
_LOWEST_GAIN, _HIGHEST_GAIN = 0.1, 10.0


def normalize_volume(samples: Samples, target: float = 0.2) -> Samples:
    """Signal whose loud part (mean of the top 10 % to 1 % of the audible |x|) is at `target`.

    samples: (N,) float32. Returns (N,) float32, its peak at most 1 when a gain was applied. Source: the
    published model's preprocessing; a changed gain would change the voice's tokens.
    """
    if samples.size == 0:
        return samples
    levels = np.abs(samples)
    peak = float(levels.max())
    gain = _QUIET_PEAK / max(peak, _FAINTEST_PEAK) if peak < _QUIET_PEAK else 1.0
    # Measured before a quiet clip's first gain, as published: such a clip ends louder than `target`.
    audible = np.sort(levels[levels > _AUDIBLE])
    if audible.size > _FEWEST:
        loud = audible[int(0.9 * audible.size) : int(0.99 * audible.size)]
        gain *= float(np.clip(target / loud.mean(dtype=np.float64), _LOWEST_GAIN, _HIGHEST_GAIN))
        gain = min(gain, 1.0 / peak)
    return (samples * np.float32(gain)).astype(np.float32, copy=False)
