"""Voice: who speaks, as 32 global tokens, and what is known of where they came from; kept as one small JSON file."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, get_args

from .errors import VoiceError
from .files import write_atomically
from .prompt import SPEAKER_TOKENS
from .types import Gender

SCHEMA = "sparktts.voice/1"
MAX_FILE_BYTES = 8 << 20  # a voice is kilobytes; a minute of Opus is below one megabyte


@dataclass(frozen=True)
class Provenance:
    """Where a voice came from. kind: "cloned" from a clip or "created" from a style."""

    kind: str
    created: str
    model: str | None = None
    source_sha256: str | None = None
    source_name: str | None = None
    reference: str | None = None
    style: str | None = None
    seed: int | None = None
    consent: str | None = None

    @staticmethod
    def now() -> str:
        """The present time, as `created` holds it: ISO 8601, UTC, seconds."""
        return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Word:
    """When a word of the transcript is spoken, in seconds from the start of the clip."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Voice:
    """One voice of one codec.

    speaker: 32 global tokens. codec: fingerprint of the codec they belong to. transcript and semantic: words of the
    reference clip and its tokens at 50 Hz, both or neither; with them the model continues the clip (closer prosody).
    clip: the reference as Ogg/Opus, so that another codec can encode it again. warnings: what was wrong with the clip.
    """

    speaker: tuple[int, ...]
    codec: str
    provenance: Provenance
    transcript: str | None = None
    semantic: tuple[int, ...] = ()
    words: tuple[Word, ...] = ()
    gender: Gender | None = None
    clip: bytes | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.speaker) != SPEAKER_TOKENS:
            raise VoiceError(f"A voice has {SPEAKER_TOKENS} global tokens, not {len(self.speaker)}.")
        if bool(self.transcript) != bool(self.semantic):
            raise VoiceError("A voice has both a transcript and semantic tokens, or neither.")

    @property
    def id(self) -> str:
        """Short name that is equal for equal tokens."""
        tokens = json.dumps([self.codec, self.speaker, self.semantic])
        return hashlib.sha256(tokens.encode()).hexdigest()[:12]

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the JSON file. Raises VoiceError when the folder is missing or cannot be written."""
        try:
            write_atomically(Path(path), (self.to_json() + "\n").encode())
        except OSError as error:
            raise VoiceError(f"The voice cannot be saved as {path}: {error.strerror or error}.") from None

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Voice:
        """Reads a voice file. Raises VoiceError saying what is wrong with it."""
        try:
            with Path(path).open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise VoiceError(f"The voice file {path} cannot be read: {error.strerror or error}.") from None
        if len(data) > MAX_FILE_BYTES:
            raise VoiceError(f"The voice file {path} is larger than {MAX_FILE_BYTES >> 20} MB: it is no voice file.")
        try:
            return cls.from_json(data.decode("utf-8"))
        except UnicodeDecodeError:
            raise VoiceError(f"{path} is no voice file: it is not text.") from None
        except VoiceError as error:
            raise VoiceError(f"{path} is no usable voice file: {error}") from None

    def to_json(self) -> str:
        """The file's text."""
        content: dict[str, Any] = {"schema": SCHEMA, "id": self.id, **asdict(self)}
        content["global_tokens"] = content.pop("speaker")
        content["semantic_tokens"] = content.pop("semantic")
        clip = content.pop("clip")
        content["clip_opus"] = None if clip is None else base64.b64encode(clip).decode()
        return json.dumps(content, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Voice:
        """Inverse of `to_json`. Raises VoiceError."""
        try:
            content = json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            raise VoiceError("it is not JSON; make one with `sparktts clone CLIP -o NAME.json`.") from None
        if not isinstance(content, dict) or not str(content.get("schema", "")).startswith("sparktts.voice/"):
            raise VoiceError("it is not a sparktts voice; make one with `sparktts clone CLIP -o NAME.json`.")
        if content["schema"] != SCHEMA:
            raise VoiceError(
                f"it has the format {content['schema']}, and this version reads {SCHEMA}: update sparktts."
            )
        return cls(
            speaker=_numbers(content, "global_tokens"),
            codec=_text(content, "codec") or "",
            provenance=_provenance(content.get("provenance")),
            transcript=_text(content, "transcript"),
            semantic=_numbers(content, "semantic_tokens"),
            words=_words(content.get("words") or ()),
            gender=_gender(content.get("gender")),
            clip=_clip(_text(content, "clip_opus")),
            warnings=_texts(content, "warnings"),
        )

    def without_transcript(self) -> Voice:
        """The same voice by its global tokens alone."""
        return replace(self, transcript=None, semantic=(), words=())


def _numbers(content: dict[str, Any], key: str) -> tuple[int, ...]:
    numbers = content.get(key) or ()
    if not isinstance(numbers, (list, tuple)) or not all(type(n) is int and 0 <= n < 1 << 20 for n in numbers):
        raise VoiceError(f'"{key}" is not a list of token numbers.')
    return tuple(numbers)


def _text(content: dict[str, Any], key: str) -> str | None:
    value = content.get(key)
    if value is not None and not isinstance(value, str):
        raise VoiceError(f'"{key}" is not a text.')
    return value


def _texts(content: dict[str, Any], key: str) -> tuple[str, ...]:
    values = content.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise VoiceError(f'"{key}" is not a list of texts.')
    return tuple(values)


def _provenance(content: Any) -> Provenance:
    known = {field.name for field in fields(Provenance)}
    if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
        raise VoiceError('"provenance" is missing.')
    given = {key: value for key, value in content.items() if key in known and value is not None}
    if not all(type(value) is (int if key == "seed" else str) for key, value in given.items()):
        raise VoiceError('"provenance" has a value of the wrong kind.')
    return Provenance(**{"created": "", **given})


def _words(content: Any) -> tuple[Word, ...]:
    try:
        return tuple(Word(str(text), float(start), float(end)) for text, start, end in (_triple(w) for w in content))
    except (TypeError, ValueError, KeyError):
        raise VoiceError('"words" is not a list of words with start and end.') from None


def _triple(word: dict[str, Any]) -> tuple[Any, Any, Any]:
    return word["text"], word["start"], word["end"]


def _gender(value: Any) -> Gender | None:
    for gender in get_args(Gender):
        if value == gender:
            return gender  # type: ignore[no-any-return]
    if value is not None:
        raise VoiceError('"gender" is neither female, male nor null.')
    return None


def _clip(text: str | None) -> bytes | None:
    try:
        return None if text is None else base64.b64decode(text, validate=True)
    except binascii.Error:
        raise VoiceError('"clip_opus" is not base64.') from None
