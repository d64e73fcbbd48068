"""The voice library: a directory of voice files, addressed by name."""

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
    """Voices by name. directory: where they are; made when the first is saved."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = default_directory() if directory is None else directory

    def names(self) -> list[str]:
        """Names of all voices, sorted."""
        return sorted(path.stem for path in self.directory.glob("*.json") if NAME.fullmatch(path.stem))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and NAME.fullmatch(name) is not None and self._file(name).is_file()

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
        """Deletes a voice. Raises VoiceError when it is unknown."""
        self._existing(name).unlink()

    def path(self, name: str) -> Path:
        """File of a name. Raises VoiceError for names that could leave the library."""
        if NAME.fullmatch(name) is None or ".." in name:
            raise VoiceError(
                f"{name!r} is no voice name: use up to 64 letters, digits, spaces, '.', '-' or '_', "
                "starting with a letter or digit."
            )
        return self._file(name)

    def _existing(self, name: str) -> Path:
        path = self.path(name)
        if not path.is_file():
            known = ", ".join(self.names()) or "none yet: make one with `sparktts clone CLIP -o NAME`"
            raise VoiceError(f"There is no voice named {name!r}; known voices: {known}.")
        return path

    def _file(self, name: str) -> Path:
        return self.directory / f"{name}.json"
