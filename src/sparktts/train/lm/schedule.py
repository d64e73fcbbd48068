"""The learning rate over the steps."""

from __future__ import annotations

import math

from .options import OptimizerOptions


def rate_at(step: int, steps: int, options: OptimizerOptions) -> float:
    """Learning rate of a step, counted from 1: a straight way up, then the decay to `final` at the last step."""
    if step <= options.warmup:
        return options.learning_rate * step / options.warmup
    done = (step - options.warmup) / max(1, steps - options.warmup)
    if options.decay == "constant":
        return options.learning_rate
    left = 1 - done if options.decay == "linear" else (1 + math.cos(math.pi * done)) / 2
    return options.learning_rate * (options.final + (1 - options.final) * left)
