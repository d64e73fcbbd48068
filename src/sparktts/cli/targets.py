"""Where results go, checked before the work begins."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AudioError, OptionError, SparkTTSError, VoiceError
from ..files import write_atomically
from .console import shown

if TYPE_CHECKING:
    from ..audio.audio import Audio
    from ..library import VoiceLibrary
    from ..voice import Voice

STDOUT = "-"


@dataclass(frozen=True)
class AudioTarget:
    """A sound file, or stdout. path None: stdout. format None: from the suffix."""

    path: Path | None
    format: str | None

    @classmethod
    def parse(cls, output: str, format: str | None = None) -> AudioTarget:
        """From -o and --format. Raises AudioError for a missing folder, OptionError for a wrong format."""
        from ..audio.write import check_format, check_target

        format = None if format is None else format.lower().removeprefix(".")
        if output != STDOUT:
            check_target(Path(output), format)
            check_name(Path(output), AudioError)
            return cls(Path(output), format)
        check_format(format or "wav")
        if sys.stdout.isatty():
            raise OptionError(
                "Audio is not for a terminal: write to a file (-o speech.wav), or pipe stdout into a player."
            )
        return cls(None, format or "wav")

    def write(self, audio: Audio) -> None:
        """Writes the sound, whole or not at all. Raises AudioError."""
        if self.path is not None:
            audio.save(self.path, self.format)
            return
        sys.stdout.buffer.write(audio.to_bytes(self.format or "wav"))
        sys.stdout.buffer.flush()

    @property
    def name(self) -> str:
        """For messages and reports."""
        return STDOUT if self.path is None else shown(self.path)


@dataclass(frozen=True)
class VoiceTarget:
    """A place for a voice: a file when the text ends in .json, else a name in the library."""

    text: str
    force: bool = False

    def check(self, library: VoiceLibrary) -> None:
        """Raises VoiceError where `save` could not write, before any work is done."""
        path = self._file
        if path is None:
            path = library.path(self.text)
        else:
            check_file(path, VoiceError)
        if path.exists() and not self.force:
            raise VoiceError(f"The voice {self.text} exists: choose another name, or remove that one first.")

    def save(self, library: VoiceLibrary, voice: Voice) -> Path:
        """Keeps the voice and returns its file. Raises VoiceError."""
        path = self._file
        if path is None:
            return library.save(self.text, voice, replace=self.force)
        voice.save(path)
        return path

    @property
    def _file(self) -> Path | None:
        return Path(self.text) if self.text.lower().endswith(".json") else None


def check_file(path: Path, error: type[SparkTTSError]) -> None:
    """Raises `error` if no file can be made there: a folder of that name, or no folder around it."""
    if path.is_dir():
        raise error(f"{path} is a folder: give a file name in it.")
    if not path.parent.is_dir():
        raise error(f"There is no folder {path.parent} to write {path.name} into: create it first.")
    check_name(path, error)


def check_name(path: Path, error: type[SparkTTSError]) -> None:
    """Raises `error` for a name that the system refuses and for a folder that may not be written."""
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as reason:  # ValueError: a zero character
        why = getattr(reason, "strerror", None) or str(reason)
        raise error(f"{path} cannot be written ({why.lower()}): choose another file name.") from None
    replaced = not path.exists() or path.is_file()  # not so a device or a pipe
    if replaced and not os.access(path.parent, os.W_OK):
        raise error(f"The folder {path.parent} may not be written: choose another one.")


def write_text(output: str, text: str) -> None:
    """Writes a text file whole, or to stdout. Raises OptionError."""
    if output == STDOUT:
        sys.stdout.write(text)
        return
    try:
        write_atomically(Path(output), text.encode())
    except OSError as error:
        raise OptionError(f"{output} cannot be written: {error.strerror}.") from None
