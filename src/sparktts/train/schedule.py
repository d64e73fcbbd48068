"""The learning rate over the steps."""

from __future__ import annotations

import math
from typing import Literal

Decay = Literal["cosine", "linear", "constant"]


def rate_at(step: int, steps: int, rate: float, warmup: int, final: float, decay: Decay = "cosine") -> float:
    """Learning rate of a step, counted from 1: a straight way up to `rate`, then the decay to the share `final`."""
    if step <= warmup:
        return rate * step / warmup
    done = (step - warmup) / max(1, steps - warmup)
    if decay == "constant":
        return rate
    left = 1 - done if decay == "linear" else (1 + math.cos(math.pi * done)) / 2
    return rate * (final + (1 - final) * left)
