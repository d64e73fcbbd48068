"""sparktts voices: the voice library."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CheckpointError, OptionError, VoiceError
from . import options
from .console import note, result, result_json, shown, table
from .targets import VoiceTarget

if TYPE_CHECKING:
    from ..library import VoiceLibrary
    from ..voice import Voice

app = typer.Typer(
    help="The kept voices: in SPARKTTS_VOICES, or in ~/.local/share/sparktts/voices; and those of the model."
)


@app.command("list")
def list_voices(json: options.Json = False) -> None:
    """List the kept voices and the model's presets, with id, origin, date and transcript."""
    library = _library()
    found = [_facts_or_error(library, name) for name in library.names()]
    if json:
        result_json(found, indent=2)
    elif found:
        table(("Name", "Id", "Kind", "Made", "From"), [_row(voice) for voice in found])
    else:
        note("There are no voices yet: make one with `sparktts clone CLIP -o NAME`.")


@app.command()
def show(
    voice: Annotated[str, options.argument("NAME|FILE.json", "A kept voice, or a voice file.")],
    json: options.Json = False,
) -> None:
    """Show all that is known of a voice."""
    from ..voice import Voice

    loaded = Voice.load(voice) if voice.lower().endswith(".json") else _library().get(voice)
    known = facts(voice, loaded)
    if json:
        result_json(known, indent=2)
        return
    for key, value in known.items():
        if value not in (None, [], False):
            told = " ".join(map(str, value)) if isinstance(value, list) else value
            result(f"{key.replace('_', ' '):16} {told}")


@app.command()
def remove(
    name: options.VoiceName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Default: ask.")] = False,
) -> None:
    """Delete a kept voice."""
    library = _library()
    library.get(name)  # raises for an unknown or unsafe name before anything is asked
    if library.is_preset(name):
        library.remove(name)  # says why not
    if not yes and not _confirmed(name):
        note("Nothing was removed.")
        raise typer.Exit(1)
    library.remove(name)
    note(f"Removed the voice {name}.")


@app.command("import")
def import_voice(
    file: Annotated[Path, options.argument("FILE.json", "A voice file.")],
    name: Annotated[str | None, options.argument("[NAME]", "Its name from now on. Default: the file's name.")] = None,
    force: options.Force = False,
) -> None:
    """Add a voice file to the kept voices."""
    from ..library import VoiceLibrary
    from ..voice import Voice

    path = VoiceLibrary().save(name or file.stem, Voice.load(file), replace=force)
    note(f"Kept the voice as {shown(path.stem)}.")


@app.command()
def export(
    name: options.VoiceName,
    file: Annotated[Path, options.argument("FILE.json", "The voice file to write.")],
    force: options.Force = False,
) -> None:
    """Write a kept voice to a file, to give it away or keep it safe."""
    library = _library()
    voice = library.get(name)
    if file.suffix.lower() != ".json":
        raise VoiceError(f"{file} is no name for a voice file: end it in .json.")
    target = VoiceTarget(str(file), force)
    target.check(library)
    note(f"Wrote {shown(target.save(library, voice))}.")


def facts(name: str, voice: Voice) -> dict[str, Any]:
    """What people and programs want to know of a voice, as JSON values."""
    origin = voice.provenance
    return {
        "name": name,
        "id": voice.id,
        "kind": origin.kind,
        "created": origin.created,
        "source_name": origin.source_name,
        "source_sha256": origin.source_sha256,
        "reference": origin.reference,
        "style": origin.style,
        "seed": origin.seed,
        "gender": voice.gender,
        "transcript": voice.transcript,
        "consent": origin.consent,
        "model": origin.model,
        "codec": voice.codec,
        "has_clip": voice.clip is not None,
        "global_tokens": list(voice.speaker),
        "semantic_tokens": len(voice.semantic),
        "warnings": list(voice.warnings),
    }


def _library() -> VoiceLibrary:
    """The kept voices, and those of the model that speaks where none is named."""
    from ..bundled import default_model
    from ..checkpoint.download import resolve
    from ..checkpoint.layout import VOICES_DIR
    from ..library import VoiceLibrary

    presets = None
    with suppress(CheckpointError):  # the kept voices are there without it
        presets = resolve(default_model()) / VOICES_DIR
    return VoiceLibrary(presets=presets)


def _facts_or_error(library: VoiceLibrary, name: str) -> dict[str, Any]:
    """A damaged file must not hide the other voices."""
    try:
        return facts(name, library.get(name))
    except VoiceError as error:
        return {"name": name, "error": str(error)}


def _row(voice: dict[str, Any]) -> tuple[str, ...]:
    if "error" in voice:
        return voice["name"], "-", "damaged", "-", voice["error"]
    origin = voice["source_name"] or voice["style"] or "-"
    return voice["name"], voice["id"], voice["kind"], voice["created"][:10], origin


def _confirmed(name: str) -> bool:
    if not sys.stdin.isatty():
        raise OptionError("Nobody can be asked here: add --yes to remove the voice.")
    return bool(typer.confirm(f"Remove the voice {name}?", err=True))
