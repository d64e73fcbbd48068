"""sparktts encode: a recording to tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from ..errors import OptionError
from . import options
from .console import note, progress_bar
from .speaking import ModelOptions
from .targets import STDOUT, check_file, write_text
from .tokens import TokenFile


def encode(
    clip: Annotated[Path, options.argument("CLIP", "A recording: any sound or video file.")],
    output: options.TokenOutput = STDOUT,
    reference: options.Reference = "whole",
    model: options.Model = None,
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Turn a recording (up to 60 s) into tokens: 32 for the voice, 50 a second for the speech.

    sparktts encode clip.wav -o clip.json

    sparktts decode clip.json -o again.wav
    """
    if output != STDOUT:
        check_file(Path(output), OptionError)
    rule: Any = reference
    with progress_bar(quiet) as bar:
        tts = ModelOptions(model, engine, device).load()
        bar.phase("Listening")
        speaker, semantic = tts.encode(clip, rule)
    tokens = TokenFile(speaker.tolist(), semantic.tolist(), tts.engine.codec.fingerprint, tts.sample_rate)
    write_text(output, tokens.to_json())
    if not quiet and output != STDOUT:
        note(f"{output}: {len(semantic)} tokens of speech, {len(speaker)} of the voice.")
