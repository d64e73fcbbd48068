"""sparktts train features: a small semantic-feature encoder, distilled from a larger one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from . import options
from .training import train_part


def train_features(
    config: Annotated[Path, options.argument("CONFIG.yaml", "What to train, on what; see docs/train-features.md.")],
    set: options.Settings = None,
) -> None:
    """Train a small feature encoder on a larger one's features; a run that was stopped goes on.

    sparktts train features features.yaml
    """
    train_part(config, set, "features.training", "FeaturesOptions")
