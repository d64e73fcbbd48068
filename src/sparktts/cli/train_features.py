"""sparktts train features: a small semantic-feature encoder, distilled from a larger one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from . import options
from .console import result, shown


def train_features(
    config: Annotated[Path, options.argument("CONFIG.yaml", "What to train, on what; see docs/train-features.md.")],
    set: options.Settings = None,
) -> None:
    """Train a small feature encoder on a larger one's features; a run that was stopped goes on.

    sparktts train features features.yaml
    """
    from ..train import require_extra

    require_extra()
    from ..train.features.training import EXPORT_DIR, FeaturesOptions, train
    from ..train.options import read_options
    from ..train.run import launch

    chosen = read_options(config, FeaturesOptions, set or ())
    launch(chosen.run, train, chosen, config=chosen)
    result(shown(chosen.run.out / EXPORT_DIR))
