"""Markdown without its marks: the words stay, lines that stand alone end like sentences."""

from __future__ import annotations

import re

from .notes import Notes
from .spans import dominant_language
from .tracked import Tracked

_M = re.M
_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[^\n`]*$\n?", _M)
_RULE = re.compile(r"^[ \t]*(?:(?:[-*_][ \t]*){3,}|={3,})$\n?", _M)
_TABLE_RULE = re.compile(r"^[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?[ \t]*$\n?", _M)
_TABLE_ROW = re.compile(r"^[ \t]*\|.*\|[ \t]*$|^[^|\n]+(?:\|[^|\n]+){2,}$", _M)
_QUOTE = re.compile(r"^[ \t]*(?:>[ \t]?)+", _M)
_HEADING = re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*$", _M)
_ITEM = re.compile(
    r"^[ \t]*(?:[-*+•‣◦·▪■□●○–—][ \t]+|(?P<number>\d{1,3})[.)、][ \t]+)(?:\[[ xX]\][ \t]+)?(?P<rest>.*)$", _M
)
_IMAGE = re.compile(r"!\[([^\]\n]*)\]\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*\)")
_LINK = re.compile(r"\[([^\[\]\n]+)\]\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*\)")
_REFERENCE = re.compile(r"\[([^\[\]\n]+)\]\[[^\[\]\n]*\]")
_FOOTNOTE = re.compile(r"\[\^[^\]\n]+\]:?")
_DEFINITION = re.compile(r"^[ \t]*\[[^\]\n]+\]:[ \t]+\S+.*$\n?", _M)
_CODE = re.compile(r"(`+)([^`\n]+)\1")
_STRONG = re.compile(r"(?<!\\)(\*\*\*|\*\*|~~)(?=\S)([^\n]{1,300}?)(?<=\S)\1")
_STRONG_LINE = re.compile(r"(?<![^\W_])(___|__)(?=\S)([^\n]{1,300}?)(?<=\S)\1(?![^\W_])")
_EM = re.compile(r"(?<![A-Za-z0-9*\\])\*(?=[^\s*])([^*\n]+?)(?<=[^\s*])\*(?![A-Za-z0-9*])")
_EM_LINE = re.compile(r"(?<![^\W_]|_)_(?=[^\s_])([^_\n]+?)(?<=[^\s_])_(?![^\W_]|_)")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+.!|>~-])")
_ENDED = re.compile(r"[.!?。！？…,，;；:：、—][\"'”’)）]*$")


def drop_marks(text: Tracked, notes: Notes) -> Tracked:
    """Headings, emphasis, code, links, lists, quotes and tables as plain lines."""
    before = text.text
    text = text.sub(_TABLE_RULE, "").sub(_RULE, "").sub(_FENCE, "").sub(_QUOTE, "").sub(_DEFINITION, "")
    text = text.sub(_IMAGE, lambda match: match[1]).sub(_LINK, lambda match: match[1])
    text = text.sub(_REFERENCE, lambda match: match[1]).sub(_FOOTNOTE, "")
    text = text.sub(_TABLE_ROW, _row)
    text = _marks_off(text, _HEADING, 1)
    text = text.sub(_ITEM, _item)
    text = text.sub(_CODE, lambda match: match[2])
    for pattern, group in ((_STRONG, 2), (_STRONG, 2), (_STRONG_LINE, 2), (_EM, 1), (_EM_LINE, 1)):
        text = _marks_off(text, pattern, group, line=False)
    text = text.sub(_ESCAPED, lambda match: match[1])
    if text.text != before:
        notes.markdown = True
    return text


def _marks_off(text: Tracked, pattern: re.Pattern[str], group: int, *, line: bool = True) -> Tracked:
    """The marks around `group` cut away, verbatim text inside it untouched; a line gets an end."""
    edits: list[tuple[int, int, str]] = []
    for match in pattern.finditer(text.masked):
        inner = match.span(group)
        if any(text.fixed[match.start() : inner[0]]) or any(text.fixed[inner[1] : match.end()]):
            continue
        if match.start() < inner[0]:
            edits.append((match.start(), inner[0], ""))
        if inner[1] < match.end():
            edits.append((inner[1], match.end(), ""))
        if line and inner[1] > inner[0]:
            low = inner[1] - 1
            edits = [edit for edit in edits if edit[0] < low]
            edits.append((low, match.end(), match.string[low : inner[1]] + _end(match[group])))
    return text.replaced(edit for edit in edits if not any(text.fixed[edit[0] : edit[1]]))


def _end(line: str) -> str:
    """The stop that a line of its own lacks."""
    if not line.strip() or _ENDED.search(line.rstrip()):
        return ""
    return "。" if dominant_language(line) == "zh" else "."


def _row(match: re.Match[str]) -> str:
    cells = [cell.strip() for cell in match.group().strip().strip("|").split("|")]
    joint = "，" if dominant_language(match.group()) == "zh" else ", "
    row = joint.join(cell for cell in cells if cell)
    return row + _end(row)


def _item(match: re.Match[str]) -> str:
    rest = match["rest"].rstrip()
    if not match["number"]:
        return rest + _end(rest)
    joint = "、" if dominant_language(rest) == "zh" else ", "
    return match["number"] + joint + rest + _end(rest)
