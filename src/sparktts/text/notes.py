"""What was dropped or read in an unusual way while a text was prepared, as sentences for a person."""

from __future__ import annotations

from dataclasses import dataclass, field

_SHOWN = 5


def _sample(items: list[str]) -> str:
    distinct = list(dict.fromkeys(items))
    more = f" and {len(distinct) - _SHOWN} more" if len(distinct) > _SHOWN else ""
    return " ".join(distinct[:_SHOWN]) + more


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


@dataclass
class Notes:
    """Mutable collector; `sentences()` reports once, without repetition."""

    emoji: list[str] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    controls: int = 0
    markdown: bool = False
    links: list[tuple[str, str]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def sentences(self) -> tuple[str, ...]:
        """One sentence per kind of thing."""
        said: list[str] = []
        if self.controls:
            said.append(f"Dropped {_count(self.controls, 'control character')}.")
        if self.tags:
            said.append(f"Dropped {_count(len(self.tags), 'unknown tag')}: {_sample(self.tags)}.")
        if self.markdown:
            said.append("Removed Markdown marks; the words inside them are kept.")
        for address, reading in dict.fromkeys(self.links):
            said.append(f"Read {address} as “{reading}”.")
        if self.emoji:
            said.append(f"Dropped {len(self.emoji)} emoji: {_sample(self.emoji)}.")
        if self.symbols:
            said.append(f"Dropped {_count(len(self.symbols), 'symbol')} with no reading: {_sample(self.symbols)}.")
        return (*said, *dict.fromkeys(self.others))
