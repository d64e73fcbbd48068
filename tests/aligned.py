"""The seeded checkpoint with a word recogniser of random weights: what one hears well is tested where it is trained."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
import yaml

from sparktts.checkpoint.aligner import AlignerConfig
from sparktts.checkpoint.layout import Checkpoint
from sparktts.engine.torch.aligner import AlignerNetwork
from sparktts.train.aligner import export, known_symbols


def with_aligner(mini: Path, target: Path, **options: str) -> Path:
    """A copy of the checkpoint by links. options: further settings of its config.yaml."""
    shutil.copytree(mini, target, copy_function=os.link)
    config = yaml.safe_load((mini / "config.yaml").read_text())
    (target / "config.yaml").unlink()
    (target / "config.yaml").write_text(yaml.safe_dump({**config, "aligner": "aligner", **options}))
    torch.manual_seed(0)
    sizes = AlignerConfig(Checkpoint(mini).wav2vec2.hidden_size, tuple(sorted(set(known_symbols()))), width=8, kernel=3)
    network = AlignerNetwork(sizes)
    torch.nn.init.zeros_(network.head.bias)
    export(target / "aligner", sizes, network)
    return target
