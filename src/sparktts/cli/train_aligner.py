"""sparktts train aligner: the word recogniser of on-demand checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from . import options
from .console import result, shown


def train_aligner(
    config: Annotated[Path, options.argument("CONFIG.yaml", "What to train, on what; see docs/train-features.md.")],
    set: options.Settings = None,
) -> None:
    """Train the aligner, which finds the time of each word; a run that was stopped goes on.

    sparktts train aligner aligner.yaml
    """
    from ..train import require_extra

    require_extra()
    from ..train.aligner import EXPORT_DIR, AlignerOptions, train
    from ..train.options import read_options
    from ..train.run import launch

    chosen = read_options(config, AlignerOptions, set or ())
    launch(chosen.run, train, chosen, config=chosen)
    result(shown(chosen.run.out / EXPORT_DIR))
