"""sparktts clone: the voice of a recording, kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from ..errors import OptionError
from . import options
from .console import note, progress_bar, result_json, shown
from .speaking import ModelOptions
from .targets import VoiceTarget
from .texts import checked
from .voices import facts


def clone(
    clip: Annotated[
        Path, options.argument("CLIP", "A recording of one person: any sound or video file, any language.")
    ],
    output: options.VoiceOutput,
    transcript: options.Transcript = None,
    reference: options.Reference = "whole",
    consent: options.Consent = None,
    keep_clip: options.KeepClip = False,
    force: options.Force = False,
    model: options.Model = None,
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Keep the voice of a recording, to speak with it later.

    sparktts clone me.m4a -o me

    sparktts say "Hello." --voice me
    """
    from ..library import VoiceLibrary

    for text, name in ((transcript, "The transcript"), (consent, "The consent note")):
        if text is not None and not checked(text, name).strip():
            raise OptionError(f"{name} is empty: write it, or leave it out.")
    rule: Any = reference
    target = VoiceTarget(output, force)
    target.check(VoiceLibrary())
    with progress_bar(quiet) as bar:
        tts = ModelOptions(model, engine, device).load()
        bar.phase("Listening")
        voice = tts.clone(clip, transcript, reference=rule, consent=consent, keep_clip=keep_clip)
    path = target.save(tts.voices, voice)
    if json:
        result_json({**facts(output, voice), "file": shown(path)})
    elif not quiet:
        for warning in voice.warnings:
            note(f"Note: {warning}")
        note(f'{shown(path)}: voice {voice.id}; speak with it by: sparktts say "Hello." --voice {output}')
