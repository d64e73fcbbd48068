"""A text under rewriting that remembers which part of the user's text each character came from."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_MASK = "\ue000"  # stands for a fixed character in `masked`; a private-use character that no pattern looks for


@dataclass(frozen=True)
class Tracked:
    """Text, the source range of each character, and whether the character is fixed (may not be rewritten).

    starts, ends: offsets into the original text, one pair per character; fixed: one byte per character.
    """

    text: str
    starts: array[int]
    ends: array[int]
    fixed: bytes

    @classmethod
    def of(cls, text: str) -> Tracked:
        """Every character comes from itself."""
        size = len(text)
        return cls(text, array("l", range(size)), array("l", range(1, size + 1)), bytes(size))

    @classmethod
    def concat(cls, parts: Iterable[Tracked]) -> Tracked:
        """The parts one after another."""
        texts: list[str] = []
        starts, ends, fixed = array("l"), array("l"), bytearray()
        for part in parts:
            texts.append(part.text)
            starts.extend(part.starts)
            ends.extend(part.ends)
            fixed.extend(part.fixed)
        return cls("".join(texts), starts, ends, bytes(fixed))

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, part: slice) -> Tracked:
        return Tracked(self.text[part], self.starts[part], self.ends[part], self.fixed[part])

    @property
    def masked(self) -> str:
        """The text with fixed characters blanked out, same length: what rules may look at."""
        if not any(self.fixed):
            return self.text
        return "".join(_MASK if hold else char for char, hold in zip(self.text, self.fixed, strict=True))

    def as_fixed(self) -> Tracked:
        """The same text, closed to any later rewriting."""
        return Tracked(self.text, self.starts, self.ends, b"\x01" * len(self.text))

    def source(self, start: int, end: int) -> tuple[int, int]:
        """Range of the original text that characters start..end (not empty) came from."""
        return min(self.starts[start:end]), max(self.ends[start:end])

    def replaced(self, edits: Iterable[tuple[int, int, str]], *, fix: bool = False) -> Tracked:
        """Each (start, end, new text), ascending, put in place; new text comes from the whole range."""
        parts: list[Tracked] = []
        done = 0
        for start, end, new in edits:
            parts.append(self[done:start])
            if new and start < end:
                low, high = self.source(start, end)
                size = len(new)
                marks = (b"\x01" if fix else b"\x00") * size
                parts.append(Tracked(new, array("l", [low]) * size, array("l", [high]) * size, marks))
            done = end
        if not parts:
            return self
        parts.append(self[done:])
        return Tracked.concat(parts)

    def sub(
        self, pattern: re.Pattern[str], new: str | Callable[[re.Match[str]], str | None], *, fix: bool = False
    ) -> Tracked:
        """Like `re.sub`, but leaves fixed text alone; a callable that returns None keeps the match.

        `new` as a string is literal. Matches that are empty or touch a fixed character are kept.
        """
        edits: list[tuple[int, int, str]] = []
        for match in pattern.finditer(self.masked):
            start, end = match.span()
            if start == end or any(self.fixed[start:end]):
                continue
            value = new if isinstance(new, str) else new(match)
            if value is not None and value != match.group():
                edits.append((start, end, value))
        return self.replaced(edits, fix=fix)

    def strip(self) -> Tracked:
        """Without white space at either end."""
        start = len(self.text) - len(self.text.lstrip())
        return self[start : max(start, len(self.text.rstrip()))]
