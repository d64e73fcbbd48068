"""GET, POST and DELETE /v1/audio/voices: the voice library over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile

from ..errors import VoiceError
from ..library import VoiceLibrary
from ..voice import Voice
from .cast import ALIASES, DEFAULT
from .errors import BAD, CONFLICT, NOT_FOUND, ApiError
from .studio import Studio
from .uploads import ClipDecoder

_LONGEST_CONSENT, _LONGEST_TRANSCRIPT = 2000, 2000


def router(studio: Studio, decoder: ClipDecoder) -> APIRouter:
    routes = APIRouter(prefix="/v1/audio/voices", tags=["voices"])
    library = studio.tts.voices

    @routes.get("")
    async def list_voices() -> dict[str, Any]:
        """All voices: kept ones, the model's presets, and OpenAI's names, which stand for some of them."""

        def known() -> list[dict[str, Any]]:
            kept = [_described(studio, name, library.get(name)) for name in library.names()]
            return kept + [{"object": "audio.voice", "id": n, "name": n, "kind": "alias"} for n in (DEFAULT, *ALIASES)]

        return {"object": "list", "data": await studio.run(known)}

    @routes.post("", responses={code: {"description": text} for code, text in _PROBLEMS.items()})
    async def make_voice(
        name: Annotated[str, Form(description="Up to 64 letters, digits, spaces, '.', '-' or '_'.")],
        audio_sample: Annotated[UploadFile, File(description="A recording of 1 to 60 s; 5 to 15 s are best.")],
        consent: Annotated[str, Form(description="A note on the speaker's permission; kept with the voice.")],
        transcript: Annotated[str | None, Form(description="What is said, at most 15 s of it.")] = None,
    ) -> dict[str, Any]:
        """Keeps the voice of a recording under a name."""
        _check(library, name, consent, transcript)
        if name in library or name.lower() in (DEFAULT, *ALIASES):
            raise ApiError(CONFLICT, f"A voice named {name!r} exists: choose another name.", "name")
        sound = await decoder.decode(await audio_sample.read())

        def keep() -> Voice:
            voice = studio.tts.clone(sound, transcript or None, consent=consent.strip())
            library.save(name, voice)
            return voice

        return _described(studio, name, await studio.run(keep))

    @routes.delete("/{name}", responses={code: {"description": text} for code, text in _PROBLEMS.items()})
    async def remove_voice(name: str) -> dict[str, Any]:
        """Deletes a kept voice."""
        if name not in library:
            raise ApiError(NOT_FOUND, f"There is no voice named {name!r:.80}.", "name", "voice_not_found")
        try:
            await studio.run(lambda: library.remove(name))
        except VoiceError as error:  # the model's own
            raise ApiError(CONFLICT, str(error), "name") from None
        return {"object": "audio.voice.deleted", "id": name, "deleted": True}

    return routes


_PROBLEMS = {
    400: "The name or the clip cannot be used.",
    404: "There is no such voice.",
    409: "The name is taken, or the voice is the model's own.",
    413: "The clip is too large.",
}


def _check(library: VoiceLibrary, name: str, consent: str, transcript: str | None) -> None:
    try:
        library.path(name)
    except VoiceError as error:
        raise ApiError(BAD, str(error), "name") from None
    if not consent.strip() or len(consent) > _LONGEST_CONSENT:
        raise ApiError(BAD, "Say in `consent` that the speaker agrees to have this voice cloned.", "consent")
    if transcript is not None and len(transcript) > _LONGEST_TRANSCRIPT:
        raise ApiError(BAD, "The transcript is longer than 15 s of speech can be.", "transcript")


def _described(studio: Studio, name: str, voice: Voice) -> dict[str, Any]:
    origin = voice.provenance
    try:
        created = int(datetime.fromisoformat(origin.created).timestamp())
    except ValueError:
        created = 0
    return {
        "object": "audio.voice",
        "id": name,
        "name": name,
        "created_at": created,
        "kind": "preset" if studio.tts.voices.is_preset(name) else origin.kind,
        "gender": voice.gender,
        "consent": origin.consent,
        "transcript": voice.transcript,
        "warnings": list(voice.warnings),
    }
