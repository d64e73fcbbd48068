"""Which language each part of a mixed text is in."""

from __future__ import annotations

import re

from ..types import Language

HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
HAN_CHAR = re.compile(f"[{HAN}]")
_SPOKEN = re.compile(f"[{HAN}]|[^\\W\\d_]")
_CJK_MARK = "。，、；：？！“”‘’（）《》〈〉「」『』【】·〔〕"
_WORD = re.compile(f"[^\\W\\d_{HAN}]+(?:['’][^\\W\\d_{HAN}]+)*")
_SENTENCE_END = re.compile(r"[。！？!?\n]|\.(?=\s)")
_REACH = 60  # characters looked at to either side when the neighbours alone do not decide


def is_han(char: str) -> bool:
    """A Chinese character (kana and hangul are not)."""
    return HAN_CHAR.match(char) is not None


def language_spans(text: str) -> list[tuple[Language, str]]:
    """Runs of one language: ("zh" | "en", piece); the pieces, joined, are the text.

    Digits, spaces and punctuation belong to what precedes them, at the start to what follows; every script
    other than Chinese counts as "en".
    """
    spans: list[tuple[Language, str]] = []
    current: Language | None = None
    begun = 0
    for match in _SPOKEN.finditer(text):
        language: Language = "zh" if is_han(match.group()) else "en"
        if current is None:
            current = language
        elif language != current:
            spans.append((current, text[begun : match.start()]))
            current, begun = language, match.start()
    if text:
        spans.append((current or _by_marks(text), text[begun:]))
    return spans


def dominant_language(text: str, default: Language = "en") -> Language:
    """The language that most of the text is in: a word weighs as much as one and a half characters."""
    han = len(HAN_CHAR.findall(text))
    words = len(_WORD.findall(text))
    if not han and not words:
        return _by_marks(text, default)
    return "zh" if han >= 1.5 * words else "en"


def language_at(text: str, start: int, end: int, default: Language = "en") -> Language:
    """The language in which the number or symbol text[start:end] is read: that of the words around.

    A Chinese neighbour decides; then an ordinary (lower-case) Latin word; a name such as "iPhone" does not,
    and the sentence as a whole is asked.
    """
    left = _left_word(text, start)
    right = _right_word(text, end)
    if any(word and is_han(word[0]) for word in (left, right)):
        return "zh"
    if any(word and word.islower() for word in (left, right)):
        return "en"
    low = max((m.end() for m in _SENTENCE_END.finditer(text, max(0, start - _REACH), start)), default=0)
    stop = _SENTENCE_END.search(text, end, end + _REACH)
    sentence = text[max(low, start - _REACH) : stop.end() if stop else end + _REACH]
    return dominant_language(sentence, default)


def _by_marks(text: str, default: Language = "en") -> Language:
    return "zh" if any(char in _CJK_MARK for char in text) else default


def _left_word(text: str, start: int) -> str:
    """The word, or Chinese character, before `start` in the same sentence; "" if there is none."""
    stop = max(0, start - _REACH)
    at = start - 1
    while at >= stop and not _SPOKEN.match(text[at]):
        if _SENTENCE_END.match(text, at):
            return ""
        at -= 1
    if at < stop:
        return ""
    if is_han(text[at]):
        return text[at]
    first = at
    while first > stop and text[first - 1].isalpha() and not is_han(text[first - 1]):
        first -= 1
    return text[first : at + 1]


def _right_word(text: str, end: int) -> str:
    """The word, or Chinese character, after `end` in the same sentence; "" if there is none."""
    found = _SPOKEN.search(text, end, end + _REACH)
    if not found or _SENTENCE_END.search(text, end, found.start() + 1):
        return ""
    if is_han(found.group()):
        return found.group()
    word = _WORD.match(text, found.start())
    return word.group() if word else found.group()
