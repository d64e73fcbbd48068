"""The sentences that are spoken: one a line, in files named after their language."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from sparktts.errors import OptionError

FOLDER = Path(__file__).parent.parent / "text"
LANGUAGES = ("en", "zh", "mix")  # mix: Mandarin with English words


def read_texts(language: str, folder: Path = FOLDER) -> tuple[str, ...]:
    """Every line of the files LANGUAGE_*.txt, each once, in the order of the files' names. Raises OptionError."""
    lines: dict[str, None] = {}
    for path in sorted(folder.glob(f"{language}_*.txt")):
        lines.update(dict.fromkeys(line.strip() for line in path.read_text(encoding="utf-8").splitlines()))
    lines.pop("", None)
    if not lines:
        raise OptionError(f"There is no text to speak: put sentences, one a line, into '{folder / language}_NAME.txt'.")
    return tuple(lines)


def fingerprint(texts: Sequence[str]) -> str:
    """Equal for equal texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
