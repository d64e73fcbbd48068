"""What a user marks in a text: breaks, verbatim passages, exact phonemes, blank lines; other tags are dropped."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .exact import EXACT
from .notes import Notes
from .tracked import Tracked

PARAGRAPH_PAUSE = 0.6
MAX_BREAK = 10.0
_STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.5, "strong": 0.8, "x-strong": 1.2}
_OPENED, _CLOSED = re.compile("<verbatim>", re.I), re.compile("</verbatim>", re.I)
_LONG_SPACE = re.compile(r"[^\S\n]{9,}")
_BREAK = re.compile(r"<break\b([^<>]*)>", re.I)
_TIME = re.compile(r"\btime\s*=\s*[\"'“”]?\s*(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})\s*(ms|s)\b", re.I)
_STRENGTH = re.compile(r"\bstrength\s*=\s*[\"'“”]?\s*([a-z-]+)", re.I)
_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
_COMMENT = re.compile(r"<!--.{0,2000}?-->", re.S)
_NEW_LINE = re.compile(r"<br\s*/?>[^\S\n]*\n?", re.I)
_NEW_PARAGRAPH = re.compile(r"</?(?:p|div|h[1-6]|section|article)(?:\s[^<>]*)?>", re.I)
_TAG = re.compile(
    r"</?[A-Za-z][A-Za-z0-9:._-]*(?:\s+[\w:.-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+))*\s*/?>|<\|[^<>|\n]{1,40}\|>"
)
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)?[^\s<>]+[@:/.][^\s<>]+)>")
_CARRIAGE_RETURN = re.compile(r"\r\n?|[\u2028\x0b\x0c\x85]")
_PARAGRAPH_MARK = re.compile("\u2029")


@dataclass(frozen=True)
class Block:
    """Text up to a break or blank line. pause: seconds after it; end: what asked for it."""

    text: Tracked
    pause: float
    end: str


def parse_markup(text: Tracked, notes: Notes) -> list[Block]:
    """The text between breaks and blank lines, in order; verbatim passages and exact phonemes are fixed, tags are gone.

    Blocks may be empty of speech: their pauses still count.
    """
    text = text.sub(_CARRIAGE_RETURN, "\n").sub(_PARAGRAPH_MARK, "\n\n")
    text = _fix_exact(_fix_verbatim(text))
    text = text.sub(_LONG_SPACE, " ").sub(_COMMENT, "")
    text = text.sub(_NEW_LINE, "\n").sub(_NEW_PARAGRAPH, "\n\n")
    blocks: list[Block] = []
    at = 0
    for match in _BREAK.finditer(text.masked):
        if any(text.fixed[match.start() : match.end()]):
            continue
        pause = _break_seconds(match, notes)
        blocks += _paragraphs(text[at : match.start()], pause, "break")
        at = match.end()
    blocks += _paragraphs(text[at:], 0.0, "paragraph")
    return [Block(_without_tags(block.text, notes), block.pause, block.end) for block in blocks]


def _fix_verbatim(text: Tracked) -> Tracked:
    parts, at = [], 0
    while (opened := _OPENED.search(text.text, at)) and (closed := _CLOSED.search(text.text, opened.end())):
        parts += [text[at : opened.start()], text[opened.end() : closed.start()].as_fixed()]
        at = closed.end()
    return Tracked.concat([*parts, text[at:]]) if parts else text


def _fix_exact(text: Tracked) -> Tracked:
    parts, at = [], 0
    for match in EXACT.finditer(text.masked):
        parts += [text[at : match.start()], text[match.start() : match.end()].as_fixed()]
        at = match.end()
    return Tracked.concat([*parts, text[at:]]) if parts else text


def _break_seconds(match: re.Match[str], notes: Notes) -> float:
    time, strength = _TIME.search(match[1]), _STRENGTH.search(match[1])
    if time:
        seconds = float(time[1]) / (1000 if time[2].lower() == "ms" else 1)
    elif strength and strength[1].lower() in _STRENGTHS:
        seconds = _STRENGTHS[strength[1].lower()]
    else:
        seconds = _STRENGTHS["medium"]
        if match[1].strip(" /"):
            notes.others.append(f"Took {match.group()} for a pause of {seconds} s: its time is not like 500ms or 1.5s.")
    if seconds > MAX_BREAK:
        notes.others.append(f"Shortened {match.group()} to {MAX_BREAK:g} s, the longest pause.")
    return min(seconds, MAX_BREAK)


def _paragraphs(text: Tracked, pause: float, end: str) -> list[Block]:
    blocks, at = [], 0
    for match in _BLANK_LINES.finditer(text.masked):
        blocks.append(Block(text[at : match.start()], PARAGRAPH_PAUSE, "paragraph"))
        at = match.end()
    return [*blocks, Block(text[at:], pause, end)]


def _without_tags(text: Tracked, notes: Notes) -> Tracked:
    text = text.sub(_AUTOLINK, lambda match: match[1])

    def drop(match: re.Match[str]) -> str:
        notes.tags.append(match.group())
        return " " if match.start() and match.string[match.start() - 1].isspace() else ""

    return text.sub(_TAG, drop)
