"""What is evaluated: this package with one model, or a folder of recordings that any system made."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import AudioError, OptionError
from ..files import replacing
from .lists import Item

if TYPE_CHECKING:
    from ..longform import ReadingOptions
    from ..pipeline import SparkTTS
    from ..sampling import SamplingOptions
    from ..style import Style
    from ..types import Reference
    from ..voice import Voice

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")


@dataclass(frozen=True)
class Take:
    """One text as a system said it. audio: file below the results' folder; seconds: of sound; elapsed: of computing,
    None where it is not known; retries: attempts that were thrown away."""

    audio: str
    seconds: float
    elapsed: float | None = None
    retries: int = 0
    seed: int | None = None
    notes: tuple[str, ...] = ()


class System(Protocol):
    """Something that says texts. name: as reports show it, and the name of a folder."""

    name: str

    @property
    def facts(self) -> dict[str, Any]:
        """What to know about it later: model, engine, options."""
        ...

    def key(self, item: Item) -> str:
        """Changes whenever the take of this item would."""
        ...

    def take(self, item: Item, out: Path) -> Take:
        """Puts the sound of an item below `out`. Raises SparkTTSError for what concerns this item alone."""
        ...

    def reference(self, item: Item) -> Path | None:
        """The recording whose voice was to be met; None where there is none."""
        ...


@dataclass(frozen=True)
class SpeechOptions:
    """How SparkTTS speaks. voice: for all items, else that of each item's prompt; style: pitch, speed and, to create a
    voice for each item, gender; transcripts: clones with the prompt's text as well; seed: of the whole run."""

    voice: str | None = None
    style: Style | None = None
    transcripts: bool = False
    rule: Reference = "whole"
    seed: int = 0

    @property
    def from_prompts(self) -> bool:
        """Whether each item's prompt gives the voice."""
        return self.voice is None and (self.style is None or self.style.gender is None)


@dataclass
class Synthesis:
    """This package with one model."""

    tts: SparkTTS
    options: SpeechOptions
    sampling: SamplingOptions
    reading: ReadingOptions
    name: str
    _voices: dict[tuple[str, str | None], Voice] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        in_force = asdict(self.tts.sampling(self.sampling))
        return {
            "kind": "sparktts",
            "model": self.tts.checkpoint.name,
            "codec": self.tts.checkpoint.codec_fingerprint,
            "engine": self.tts.engine.name,
            "device": self.tts.engine.device,
            "dtype": self.tts.engine.dtype,
            "voice": self.options.voice or ("prompt" if self.options.from_prompts else "created"),
            "transcripts": self.options.transcripts,
            "reference": self.options.rule,
            "style": None if self.options.style is None else asdict(self.options.style),
            "seed": self.options.seed,
            "sampling": {key: value for key, value in in_force.items() if key != "seed"},
            "reading": {**asdict(self.reading), "takes": self.tts.takes(self.reading)},
        }

    def key(self, item: Item) -> str:
        sound = self.reference(item)
        return fingerprint(self.facts, item.text, item.prompt_text, None if sound is None else file_hash(sound))

    def take(self, item: Item, out: Path) -> Take:
        voice = self._voice(item)
        seed = seed_of(self.options.seed, item.id)
        audio = self.tts.say(
            item.text, voice=voice, style=self.options.style, seed=seed, sampling=self.sampling, reading=self.reading
        )
        assert audio.report is not None
        if not len(audio.samples):
            raise AudioError("The model said nothing.")
        path = folder_of(out, self.name) / f"{item.id}.wav"
        audio.save(path)
        retries = sum(utterance.retries for utterance in audio.report.utterances)
        name = path.relative_to(out).as_posix()
        return Take(name, audio.duration, audio.report.elapsed, retries, seed, audio.report.notes)

    def reference(self, item: Item) -> Path | None:
        if self.options.from_prompts:
            return item.prompt_audio
        given = None if self.options.voice is None else Path(self.options.voice)
        if given is None or given.suffix.lower() == ".json" or self.options.voice in self.tts.voices:
            return None
        return given if given.is_file() else None

    def _voice(self, item: Item) -> Voice | None:
        if self.options.voice is None and not self.options.from_prompts:
            return None
        spec = self.options.voice or str(item.prompt_audio)
        words = item.prompt_text if self.options.transcripts and self.options.voice is None else None
        if (spec, words) not in self._voices:
            made = self.tts.voice(spec) if self.options.voice else self._cloned(spec, words)
            self._voices[spec, words] = made
        return self._voices[spec, words]

    def _cloned(self, clip: str, words: str | None) -> Voice:
        try:
            return self.tts.clone(clip, words, reference=self.options.rule)
        except OptionError as error:  # a clip too long for a transcript: of this item alone
            raise AudioError(str(error)) from None


@dataclass
class Recordings:
    """A folder with a sound file for each id."""

    name: str
    folder: Path

    def check(self, items: Sequence[Item]) -> None:
        """Raises OptionError where the folder, or a file for any of the items, is missing."""
        if not self.folder.is_dir():
            raise OptionError(f"There is no folder {self.folder} of recordings: check --wavs.")
        if not any(self._find(item) for item in items):
            example = f"{items[0].id}.wav"
            raise OptionError(
                f"The folder {self.folder} has no recording for any id of the list: files are named like {example}."
            )

    @property
    def facts(self) -> dict[str, Any]:
        return {"kind": "recordings", "folder": self.folder.name}

    def key(self, item: Item) -> str:
        found = self._find(item)
        return fingerprint(self.name, item.text, None if found is None else file_hash(found))

    def take(self, item: Item, out: Path) -> Take:
        from ..audio.read import decode_audio

        found = self._find(item)
        if found is None:
            raise AudioError(f"There is no recording {item.id} in the folder {self.folder.name}.")
        samples, rate = decode_audio(found)
        path = folder_of(out, self.name) / f"{item.id}{found.suffix.lower()}"
        copy(found, path)
        return Take(path.relative_to(out).as_posix(), len(samples) / rate)

    def reference(self, item: Item) -> Path | None:
        return item.prompt_audio

    def _find(self, item: Item) -> Path | None:
        paths = (self.folder / f"{item.id}{suffix}" for suffix in SUFFIXES)
        return next((path for path in paths if path.is_file()), None)


def seed_of(seed: int, id: str) -> int:
    """The seed of one item: the same whatever else is in the list."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{id}".encode()).digest()[:4], "big")


def fingerprint(*values: Any) -> str:
    """16 hexadecimal digits of plain values."""
    import json

    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_of(out: Path, name: str) -> Path:
    """Where the sound files of a system, or the prompts, go."""
    folder = out / "audio" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def copy(source: Path, target: Path) -> None:
    """Copies a file whole or not at all; nothing to do where it is that file."""
    if target.exists() and target.samefile(source):
        return
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
