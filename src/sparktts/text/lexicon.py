"""The user's own readings: a word and what to say instead."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import TextError
from .links import EMAIL, URL
from .spans import is_han
from .tracked import Tracked

_SEPARATOR = re.compile(r"\t|=|,|，")


def load_lexicon(path: str | os.PathLike[str]) -> dict[str, str]:
    """Lines "word<TAB, = or ,>replacement" in UTF-8; "#" starts a comment line.

    A line with a tab is cut at the tab, so that a word may hold "=" or ",".
    Raises TextError, naming the line.
    """
    path = Path(path)
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = path.read_bytes()[: error.start].count(b"\n") + 1
        raise TextError(f"The lexicon {path} is not UTF-8 at line {bad}; save it as UTF-8.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TextError(f"The lexicon {path} cannot be read: {reason}.") from None
    lexicon: dict[str, str] = {}
    for number, line in enumerate(re.split(r"\r\n?|\n", content), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = line.split("\t", 1) if "\t" in line.strip() else _SEPARATOR.split(line, maxsplit=1)
        if len(parts) != 2 or not parts[0].strip() or not parts[1].strip():
            raise TextError(f"Line {number} of the lexicon {path} is not “word = replacement”: {line.strip()[:60]!r}.")
        lexicon[parts[0].strip()] = parts[1].strip()
    return lexicon


def apply_lexicon(text: Tracked, lexicon: Mapping[str, str]) -> Tracked:
    """Each word replaced by its reading, longest first, in one pass; what is put in is not rewritten again.

    A word with a Latin letter or digit at its edge matches whole words only, in any case; others match
    anywhere. Web and e-mail addresses are left alone.
    """
    if not lexicon:
        return text
    readings = {word.casefold(): reading for word, reading in lexicon.items()}
    pattern = re.compile("|".join(_bounded(word) for word in sorted(lexicon, key=len, reverse=True)), re.I)
    links = [match.span() for form in (URL, EMAIL) for match in form.finditer(text.masked)]

    def replace(match: re.Match[str]) -> str | None:
        start, end = match.span()
        if any(low <= start < high and (low, high) != (start, end) for low, high in links):
            return None
        return readings.get(match.group().casefold())

    return text.sub(pattern, replace, fix=True)


def _bounded(word: str) -> str:
    before = r"(?<![A-Za-z0-9\u00c0-\u024f])" if _latin(word[0]) else ""
    after = r"(?![A-Za-z0-9\u00c0-\u024f])" if _latin(word[-1]) else ""
    return before + re.escape(word) + after


def _latin(char: str) -> bool:
    return char.isalnum() and not is_han(char)
