"""sparktts train codec: the codec from recordings, or a better decoder for one that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from . import options
from .console import note
from .training import Export, ExportOnly, Which, check_export


def train_codec(
    config: Annotated[Path, options.argument("CONFIG.yaml", "What to train, on what; see docs/train-codec.md.")],
    set: options.Settings = None,
    export: Export = None,
    export_only: ExportOnly = False,
    which: Which = "newest",
    dtype: Annotated[
        str, options.option(options.OUTPUT, "--dtype", "NAME", "Precision of the exported weights: fp32 or fp16.")
    ] = "fp32",
) -> None:
    """Train the codec, or its decoder alone; a run that was stopped goes on.

    sparktts train codec codec.yaml --export models/mine
    """
    from ..errors import OptionError
    from ..train import require_extra

    check_export(export, export_only)
    if dtype not in ("fp32", "fp16"):
        raise OptionError(f"--dtype must be fp32 or fp16, not {dtype!r:.40}.")
    require_extra()
    from ..train.codec.export import export as write
    from ..train.codec.options import CodecTraining
    from ..train.codec.trainer import train
    from ..train.options import read_options

    chosen = read_options(config, CodecTraining, set or ())
    if not export_only:
        done = train(chosen)
        note(f"{chosen.run.out}: {done:,} of {chosen.run.steps:,} steps done.")
    if export is not None:
        note(f"{write(chosen.run.out, export, which, 'fp16' if dtype == 'fp16' else 'fp32')}: the codec is there.")
