"""Lists of what to say, in the form of seed-tts-eval: `id|prompt text|prompt audio|text`, or `id|text`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import TextError
from ..text.spans import HAN_CHAR

SpokenLanguage = Literal["en", "zh", "mixed"]
LANGUAGES: tuple[SpokenLanguage, ...] = ("en", "zh", "mixed")
FORMS = "`id|prompt text|prompt audio|text` or `id|text`"
_LATIN_WORD = re.compile(r"[A-Za-z]{2,}")
_WORD = re.compile(r"[^\W_]")
_UNSAFE = set('/\\:*?"<>|')


@dataclass(frozen=True)
class Item:
    """One text to be said. prompt_audio: whose voice, prompt_text: what is said in it; None where the list has none."""

    id: str
    text: str
    prompt_text: str | None = None
    prompt_audio: Path | None = None

    @property
    def language(self) -> SpokenLanguage:
        """What its errors are counted in: Chinese characters, English words, or both where a text mixes them."""
        if not HAN_CHAR.search(self.text):
            return "en"
        return "mixed" if _LATIN_WORD.search(self.text) else "zh"


@dataclass(frozen=True)
class EvaluationList:
    """One list file. sha256: of its bytes, to tell later which list a report is about."""

    name: str
    sha256: str
    items: tuple[Item, ...]


def read_list(path: Path) -> EvaluationList:
    """The items of a list; prompt audio is relative to the list's folder.

    A fifth column (a recording of the text, in some published lists) is left alone. Raises TextError naming the line.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(f"{path} is not UTF-8 text (byte {error.start + 1}): save it as UTF-8.") from None
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise TextError(f"The list {path} cannot be read ({reason}): check the path.") from None
    items: list[Item] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        item = _item(line, path, number)
        first = seen.setdefault(item.id.casefold(), number)
        if first != number:
            raise _bad(path, number, f"has the id {item.id} of line {first}: every id must be there once")
        items.append(item)
    if not items:
        raise TextError(f"The list {path} is empty: write a line for each text, {FORMS}.")
    return EvaluationList(path.stem, hashlib.sha256(data).hexdigest(), tuple(items))


def read_lists(paths: Sequence[Path]) -> tuple[EvaluationList, ...]:
    """Several lists whose ids do not meet. Raises TextError."""
    lists = tuple(read_list(path) for path in paths)
    owner: dict[str, Path] = {}
    for path, one in zip(paths, lists, strict=True):
        for item in one.items:
            other = owner.setdefault(item.id.casefold(), path)
            if other is not path:
                raise TextError(f"The id {item.id} is in {other} and in {path}: evaluate these lists one at a time.")
    return lists


def _item(line: str, path: Path, number: int) -> Item:
    fields = [field.strip() for field in line.split("|")]
    if len(fields) not in (2, 4, 5):
        count = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
        raise _bad(path, number, f"has {count}: write {FORMS}")
    id, text = fields[0], fields[1] if len(fields) == 2 else fields[3]
    if not id or set(id) & _UNSAFE or not id.isprintable() or id.strip(".") == "":
        raise _bad(path, number, f"has the id {id!r}, which is no file name: use letters, digits, - and _")
    if not _WORD.search(text):
        raise _bad(path, number, "has no text that can be spoken: give the words after the last bar")
    if len(fields) == 2:
        return Item(id, text)
    if not fields[2]:
        raise _bad(path, number, "names no prompt audio: name a recording, or write `id|text`")
    audio = path.parent / fields[2]
    try:
        there = audio.is_file()
    except (OSError, ValueError):
        there = False
    if not there:
        raise _bad(path, number, f"names the prompt audio {fields[2]}, but there is no such file beside the list")
    return Item(id, text, fields[1] or None, audio)


def _bad(path: Path, number: int, what: str) -> TextError:
    return TextError(f"Line {number} of {path} {what}.")
