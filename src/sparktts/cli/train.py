"""sparktts train: one command for each network that can be trained.

The commands live in train_NAME.py; what is heavy is imported inside them.
"""

from __future__ import annotations

import typer

from . import train_aligner, train_codec, train_features, train_lm

app = typer.Typer(help="Train the codec, the language model, and what they need.", no_args_is_help=True)
app.command("codec")(train_codec.train_codec)
app.command("lm")(train_lm.train_lm)
app.command("features")(train_features.train_features)
app.command("aligner")(train_aligner.train_aligner)
