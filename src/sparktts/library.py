"""The voice library: voice files addressed by name, kept by the user or shipped with a model."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .errors import VoiceError
from .voice import Voice

NAME = re.compile(r"[^\W_][\w.\- ]{0,63}")


def default_directory() -> Path:
    """SPARKTTS_VOICES, or the user's data directory."""
    if "SPARKTTS_VOICES" in os.environ:
        return Path(os.environ["SPARKTTS_VOICES"]).expanduser()
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "sparktts" / "voices"


class VoiceLibrary:
    """Voices by name. directory: where the user's are; made when the first is saved.

    presets: a directory of voices that came with a model; they can be used, not changed. A kept voice goes before a
    preset of the same name.
    """

    def __init__(self, directory: Path | None = None, presets: Path | None = None) -> None:
        self.directory = default_directory() if directory is None else directory
        self.presets = presets

    def names(self) -> list[str]:
        """Names of all voices, sorted."""
        folders = filter(None, (self.directory, self.presets))
        return sorted({path.stem for folder in folders for path in folder.glob("*.json") if NAME.fullmatch(path.stem)})

    def is_preset(self, name: str) -> bool:
        """Whether that voice came with the model."""
        return not self._file(name).is_file() and self._preset(name) is not None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and NAME.fullmatch(name) is not None and self._found(name) is not None

    def get(self, name: str) -> Voice:
        """The voice of that name. Raises VoiceError for an unknown one, with the known names."""
        return Voice.load(self._existing(name))

    def save(self, name: str, voice: Voice, replace: bool = False) -> Path:
        """Keeps a voice under a name. Raises VoiceError for a bad name, or one that is taken unless `replace`."""
        path = self.path(name)
        if path.exists() and not replace:
            raise VoiceError(f"A voice named {name!r} exists: choose another name, or replace it with --force.")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VoiceError(f"The voice library {self.directory} cannot be made: {error.strerror}.") from None
        voice.save(path)
        return path

    def remove(self, name: str) -> None:
        """Deletes a voice. Raises VoiceError when it is unknown, or a preset."""
        path = self._existing(name)
        if self.is_preset(name):
            raise VoiceError(f"The voice {name!r} came with the model and cannot be removed.")
        path.unlink()

    def path(self, name: str) -> Path:
        """File of a name. Raises VoiceError for names that could leave the library."""
        if NAME.fullmatch(name) is None or ".." in name:
            raise VoiceError(
                f"{name!r} is no voice name: use up to 64 letters, digits, spaces, '.', '-' or '_', "
                "starting with a letter or digit."
            )
        return self._file(name)

    def _existing(self, name: str) -> Path:
        self.path(name)  # refuses names that could leave the library
        path = self._found(name)
        if path is None:
            known = ", ".join(self.names()) or "none yet: make one with `sparktts clone CLIP -o NAME`"
            raise VoiceError(f"There is no voice named {name!r}; known voices: {known}.")
        return path

    def _found(self, name: str) -> Path | None:
        path = self._file(name)
        return path if path.is_file() else self._preset(name)

    def _file(self, name: str) -> Path:
        return self.directory / f"{name}.json"

    def _preset(self, name: str) -> Path | None:
        path = None if self.presets is None else self.presets / f"{name}.json"
        return path if path is not None and path.is_file() else None
