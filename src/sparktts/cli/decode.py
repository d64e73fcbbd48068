"""sparktts decode: tokens to a recording."""

from __future__ import annotations

from typing import Annotated

from . import options
from .console import note, progress_bar
from .speaking import ModelOptions
from .targets import AudioTarget
from .tokens import TokenFile


def decode(
    tokens: Annotated[str, options.argument("TOKENS.json|-", "What `sparktts encode` wrote; - reads standard input.")],
    output: options.SoundOutput = "speech.wav",
    format: options.Format = None,
    model: options.Model = None,
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Turn tokens back into sound.

    sparktts decode clip.json -o again.wav
    """
    target = AudioTarget.parse(output, format)
    content = TokenFile.read(tokens)
    with progress_bar(quiet) as bar:
        tts = ModelOptions(model, engine, device).load()
        content.check_codec(tts.engine.codec.fingerprint)
        bar.phase("Decoding")
        audio = tts.decode(content.semantic_tokens, content.global_tokens)
    target.write(audio)
    if not quiet:
        note(f"{target.name}: {audio.duration:.1f} s of sound.")
