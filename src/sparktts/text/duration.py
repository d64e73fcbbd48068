"""How long a text takes to say, estimated from its syllables."""

from __future__ import annotations

import re

from ..types import Language
from .exact import without_exact
from .spans import HAN, dominant_language

ZH_RATE = 4.4  # Chinese characters per second
EN_RATE = 4.2  # English syllables per second
_ZH_PER_DIGIT = 1.6  # an unread digit with its place: "35" is three syllables
_EN_PER_DIGIT = 2.2
_KANA_HANGUL = "\u3041-\u30ff\u31f0-\u31ff\uac00-\ud7a3\uff66-\uff9f"
_PIECE = re.compile(
    rf"(?P<han>[{HAN}])|(?P<kana>[{_KANA_HANGUL}])|(?P<digit>\d)|(?P<word>[^\W\d_{HAN}{_KANA_HANGUL}]+(?:['’][^\W\d_{HAN}]+)*)"
    r"|(?P<long>[.!?。！？…]+)|(?P<short>[,，、;；:：—]+)"
)
_LONG_PAUSE, _SHORT_PAUSE = 0.25, 0.12
_VOWELS = re.compile(r"[aeiouyàáâãäåæèéêëìíîïòóôõöøùúûüýÿœ]+")
_HIATUS = re.compile(
    r"[aeouy]i[ao](?!u)|(?<![tcsxg])i(?:a|o(?!u)|um)|(?<!p)eo|[aeou]ing|(?<![qg])ua(?!r)|creat|[^aeiou]ea$"
)
_SILENT_END = re.compile(r"(?:[^aeiouy](?<!l)e|[^aeiouydt]ed|[^aeiouyscxzgh]es|(?:sh|ch)e)$")
_LETTERS_PER_SYLLABLE = 2.4  # scripts that we do not know


def word_syllables(word: str) -> int:
    """Syllables of one word in letters: English by rule, other scripts by length; at least 1."""
    word = word.replace("’", "'").removesuffix("'s")
    if 1 < len(word) <= 5 and word.isupper() and word.isascii():
        return _acronym(word)
    lower = word.lower()
    if len(lower) == 1:
        return 3 if lower == "w" else 1
    groups = _VOWELS.findall(lower)
    if not groups:
        return max(1, len(lower)) if lower.isascii() and len(lower) < 5 else max(1, round(len(lower) / 2.4))
    count = len(groups) + len(_HIATUS.findall(lower)) - bool(_SILENT_END.search(lower))
    if re.search(r"[^aeiouy]les?$", lower) and not lower.endswith(("rle", "rles")) and count > 1:
        count += lower.endswith("les")  # "tables": the e is already counted in "table"
    if re.search(r"(?:[dt]n't|sm|thm)$", lower):
        count += 1
    return max(1, count, len(lower) // 8)


def count_syllables(text: str) -> int:
    """Syllables of a text: one per Chinese character, words by rule, digits as read out."""
    han, other, _ = _syllables(text, None)
    return round(han + other)


def estimate_seconds(text: str, language: Language | None = None) -> float:
    """Seconds of speech at the default rate, pauses at inner punctuation included.

    language ("zh" or "en") says how digits are read; None takes the language of most of the text.
    """
    han, other, pauses = _syllables(text.rstrip(" \n.,!?;:。，！？；：、…—\"'”’)）"), language)
    return han / ZH_RATE + other / EN_RATE + pauses


def _syllables(text: str, language: Language | None) -> tuple[float, float, float]:
    """(Chinese syllables, other syllables, seconds of pauses)."""
    spoken_in = language or dominant_language(text)
    han = other = pauses = 0.0
    for match in _PIECE.finditer(without_exact(text)):
        kind = match.lastgroup
        if kind == "han":
            han += 1
        elif kind == "word":
            other += word_syllables(match.group())
        elif kind == "kana":
            other += 0.65  # a mora is shorter than a syllable
        elif kind == "digit":
            if spoken_in == "zh":
                han += _ZH_PER_DIGIT
            else:
                other += _EN_PER_DIGIT
        else:
            pauses += _LONG_PAUSE if kind == "long" else _SHORT_PAUSE
    return han, other, pauses


def _acronym(word: str) -> int:
    """Capitals: a word if they alternate like one (NASA), else letter by letter (FBI)."""
    if len(word) > 3 and re.search(r"[AEIOU]", word[1:-1]) and not re.search(r"[^AEIOUY]{3}", word):
        return max(1, len(_VOWELS.findall(word.lower())))
    return sum(3 if letter == "W" else 1 for letter in word)
