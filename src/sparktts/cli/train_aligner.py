"""sparktts train aligner: the word recogniser of on-demand checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from . import options
from .training import train_part


def train_aligner(
    config: Annotated[Path, options.argument("CONFIG.yaml", "What to train, on what; see docs/train-features.md.")],
    set: options.Settings = None,
) -> None:
    """Train the aligner, which finds the time of each word; a run that was stopped goes on.

    sparktts train aligner aligner.yaml
    """
    train_part(config, set, "aligner", "AlignerOptions")
