"""What the commands of `sparktts train` share."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

from ..errors import OptionError
from . import options
from .console import result, shown

Export = Annotated[
    Path | None,
    options.option(options.OUTPUT, "--export", "DIR", "Write the result as a model directory at the end. Default: no."),
]
ExportOnly = Annotated[
    bool, options.option(options.OUTPUT, "--export-only", None, "Export what the run has now, without training.")
]
Which = Annotated[
    str, options.option(options.OUTPUT, "--which", "NAME", "Checkpoint to export: newest, best or a step.")
]


def check_export(export: Path | None, export_only: bool) -> None:
    """Raises OptionError."""
    if export_only and export is None:
        raise OptionError("--export-only needs --export DIR.")


def train_part(config: Path, settings: list[str] | None, module: str, kind: str) -> None:
    """Trains what a module of `sparktts.train` trains, with its options `kind`, and prints where the result is."""
    from ..train import require_extra

    require_extra()
    from ..train.options import read_options
    from ..train.run import launch

    part = import_module(f"..train.{module}", __package__)
    chosen = read_options(config, getattr(part, kind), settings or ())
    launch(chosen.run, part.train, chosen, config=chosen)
    result(shown(chosen.run.out / part.EXPORT_DIR))
