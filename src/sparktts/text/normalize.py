"""Numbers, dates, money, units and symbols in words, each in the language of the words around it.

Only the written expressions themselves are rewritten: our rules (rules_en, rules_zh) where they apply,
else the grammars of wetext. Every other word goes through untouched, whatever a grammar would do to it.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable

from ..types import Language
from .abbreviations import expand_abbreviations
from .numbers import en_digits, zh_digits
from .patterns import MONTH
from .rules_en import read_english
from .rules_zh import read_chinese
from .spans import HAN, HAN_CHAR, language_at
from .symbols import read_symbols
from .tracked import Tracked
from .units import CURRENCY, UNIT

_DIGIT = re.compile(r"[0-9]")
# What an expression may begin with, before its first digit.
_PREFIX = re.compile(
    rf"(?:(?<![A-Za-z])(?:{MONTH}\s|[Nn]os?\.\s?|[vV]|['’](?=$))|第\s?|#\s?|(?<![^\s{HAN}(（])\+?\("
    rf"|(?:(?<![^\s{HAN}(（,，:：。；;~～])[-−+])?(?:(?<![A-Za-z]){CURRENCY}\s?)?(?:(?<![^\s(+$€£¥-])\.)?)$"
)
_EXPRESSION = re.compile(rf"[\d.,:/⁄%‰–~-]{{0,40}}\d\)?(?:[\s-]?\d{{1,20}}){{0,6}}\s?(?:{UNIT}|[%‰])?|[\d]+")
_CHUNK = re.compile(rf"[-−+]?\d+(?:[.:/]\d+|\s?[-+×÷*xX=＝]\s?\d+)*(?:(?:年|月|个|点|分)\d+)*(?:\s?[{HAN}]{{1,2}})?")
_REACH = 20
_MATHS = str.maketrans({"*": "×", "x": "×", "X": "×", "＝": "="})


def normalize(text: Tracked, language: Language | None = None, default: Language = "en") -> Tracked:
    """The text with everything that is not words written as words.

    language: "zh" or "en" reads all of it in that language; None lets the words around decide, and `default`
    where there are none. Fixed text is left alone.
    """
    text = expand_abbreviations(text)
    text = _read_numbers(text, language, default)
    return read_symbols(text, language, default)


def _read_numbers(text: Tracked, language: Language | None, default: Language) -> Tracked:
    masked, edits, at = text.masked, list[tuple[int, int, str]](), 0
    while digit := _DIGIT.search(masked, at):
        prefix = _PREFIX.search(masked, max(at, digit.start() - _REACH), digit.start())
        begin = prefix.start() if prefix else digit.start()
        extent = _EXPRESSION.match(masked, digit.start())
        reach = extent.end() if extent else digit.end()
        spoken_in = language or language_at(text.text, begin, reach, default)
        begin, end, spoken = _read(masked, begin, digit.start(), spoken_in)
        edits.append((begin, end, _spaced(text.text, begin, end, spoken)))
        at = end
    return text.replaced(edits)


def _read(text: str, begin: int, digit: int, language: Language) -> tuple[int, int, str]:
    """(start, end, reading) of the expression whose first digit is at `digit`; always reads something."""
    rules = read_chinese if language == "zh" else read_english
    for start in dict.fromkeys((begin, digit)):
        found = rules(text, start)
        if found and found[1] > digit:
            spoken, end = found
            return start, end, grammar(spoken, language) if _DIGIT.search(spoken) else spoken
    start = begin if text[begin] in "-−+" else digit
    chunk = _CHUNK.match(text, start) or _CHUNK.match(text, digit)
    assert chunk is not None  # a digit is at `digit`
    return chunk.start(), chunk.end(), grammar(chunk.group(), language)


def _spaced(text: str, begin: int, end: int, spoken: str) -> str:
    """A space between Latin letters and an English reading that would run into them."""
    if begin and _latin(text[begin - 1]) and _latin(spoken[:1]):
        spoken = " " + spoken
    if end < len(text) and _latin(text[end]) and _latin(spoken[-1:]):
        spoken += " "
    return spoken


def _latin(char: str) -> bool:
    return char.isalpha() and not HAN_CHAR.match(char)


def grammar(expression: str, language: Language) -> str:
    """One expression in words, by wetext; if the grammar fails or loses a word, its digits one by one."""
    if language == "zh":
        expression = expression.replace("÷", "除以")
    try:
        spoken = _normalizer(language)(expression.translate(_MATHS) if _maths(expression) else expression)
    except Exception:  # the grammars abort on input that they do not cover
        spoken = ""
    spoken = spoken.replace("\\", "").replace("\ufffd", "")
    if not spoken or re.search(r"\d", spoken) or not _keeps_words(expression, spoken):
        read = zh_digits if language == "zh" else en_digits
        return re.sub(r"[0-9]+", lambda match: read(match.group()), expression)
    return spoken


def _maths(expression: str) -> bool:
    return re.search(r"\d\s?[*xX＝]\s?\d", expression) is not None


def _keeps_words(written: str, spoken: str) -> bool:
    """Whether each word character of the expression is still there, in order."""
    rest = iter(spoken)
    return all(char in rest for char in written if unicodedata.category(char)[0] == "L" and char not in "xX点")


@functools.cache
def _normalizer(language: Language) -> Callable[[str], str]:
    """wetext's grammar for one language, loaded once, on first need (0.25 s and 40 MB for all of them)."""
    from wetext import Normalizer

    read: Callable[[str], str] = Normalizer(lang=language, operator="tn").normalize
    return read
