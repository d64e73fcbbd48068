"""sparktts train lm: the language model, from scratch, from Qwen2.5, or from a Spark-TTS checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from . import options
from .console import note
from .training import Export, ExportOnly, Which, check_export


def train_lm(
    config: Annotated[Path, options.argument("CONFIG.yaml", "What to train, on what; see docs/train-lm.md.")],
    set: options.Settings = None,
    export: Export = None,
    export_only: ExportOnly = False,
    which: Which = "best",
    dtype: Annotated[
        str, options.option(options.OUTPUT, "--dtype", "NAME", "Precision of the exported weights: fp32 or bf16.")
    ] = "fp32",
) -> None:
    """Train the language model, whole or by LoRA; a run that was stopped goes on.

    sparktts train lm lm.yaml --export models/mine
    """
    from ..errors import OptionError
    from ..train import require_extra

    check_export(export, export_only)
    if dtype not in ("fp32", "bf16"):
        raise OptionError(f"--dtype must be fp32 or bf16, not {dtype!r:.40}.")
    if export is not None and export.exists():
        raise OptionError(f"{export} exists already; give a new directory to export to.")
    require_extra()
    from ..train.lm.export import export_run
    from ..train.lm.options import LanguageModelOptions
    from ..train.lm.trainer import train
    from ..train.options import read_options
    from ..train.run import launch

    chosen = read_options(config, LanguageModelOptions, set or ())
    if not export_only:
        done = launch(chosen.run, train, chosen, config=chosen)
        note(f"{chosen.run.out}: {done:,} of {chosen.run.steps:,} steps done.")
    if export is not None:
        note(f"{export_run(chosen, export, which, 'bf16' if dtype == 'bf16' else 'fp32')}: the model is there.")
