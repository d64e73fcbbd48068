"""Texts made comparable: what was asked for and what a recogniser heard, as the same units where they sound the same.

A unit is a Chinese character or a word of any other script. Both sides go through the same steps: numbers, dates and
symbols in words (by sparktts.text, as the model reads them), traditional characters as simplified ones, no case, no
punctuation, contractions in full, British spellings as American ones.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import OptionError, TextError
from ..text import TextOptions, prepare
from ..text.spans import HAN, HAN_CHAR
from ..types import Language
from .lists import SpokenLanguage

_UNIT = re.compile(rf"[{HAN}]|[^\W_{HAN}]+(?:'[^\W_{HAN}]+)*")
_READ_IN: dict[SpokenLanguage, Language | None] = {"en": "en", "zh": "zh", "mixed": None}
_DRY = re.compile("乾(?![坤隆])")  # the one common character that the grammar leaves, as it has two simplified forms
_WHOLE = {"can't": "can not", "cannot": "can not", "won't": "will not", "shan't": "shall not", "let's": "let us"}
_ENDINGS = {"n't": " not", "'re": " are", "'ll": " will", "'ve": " have", "'m": " am", "'d": " would"}
_BEFORE_IS = frozenset({"it", "he", "she", "that", "there", "here", "what", "who", "where", "how", "why"})
_SPELLINGS = {
    "ok": "okay",
    "alright": "all right",
    "grey": "gray",
    "programme": "program",
    "tyre": "tire",
    "cheque": "check",
    "aeroplane": "airplane",
    "pyjamas": "pajamas",
    "sceptical": "skeptical",
    "storey": "story",
    "storeys": "stories",
    "towards": "toward",
    "whilst": "while",
    "mum": "mom",
    "jewellery": "jewelry",
    "mould": "mold",
    "plough": "plow",
    "catalogue": "catalog",
    "dialogue": "dialog",
}
# Families of words whose British and American spellings differ in one place.
_STEMS_OUR = (
    "arm behavi cand clam col endeav fav flav harb hon hum lab misbehavi neighb od parl ranc rum sav splend tum val vap"
)
_STEMS_ISE = (
    "agon apolog author capital categor character civil critic crystall emphas energ equal familiar final "
    "general harmon hospital ideal item legal local maxim memor minim mobil modern nation national normal optim organ "
    "patron penal popular real recogn revolution sensit social special stabil standard steril summar symbol sympath "
    "theor vandal verbal visual util"
)
_OUR = re.compile(rf"^((?:dis|un)?(?:{_STEMS_OUR.replace(' ', '|')}))our")
_RE = re.compile(r"^((?:kilo|centi|milli)?met|cent|theat|lit|fib|lust|somb|spect|meag|calib|manoeuv)re(s|d)?$")
_ISE = re.compile(rf"^((?:re|un|dis)?(?:{_STEMS_ISE.replace(' ', '|')}))is(e|es|ed|ing|er|ers|ation|ations)$")
_YSE = re.compile(r"^(anal|paral)ys(e|es|ed|ing)$")
_DOUBLED = re.compile(r"^(travel|cancel|label|level|model|signal|fuel|marvel|quarrel|counsel)l(ed|ing|er|ers)$")
_AMERICAN = ((_OUR, r"\1or"), (_RE, r"\1er\2"), (_DOUBLED, r"\1\2"), (_ISE, r"\1iz\2"), (_YSE, r"\1yz\2"))


def units(text: str, language: SpokenLanguage) -> tuple[str, ...]:
    """The units of a text, in order; none for a text without words."""
    found = _UNIT.findall(_marks(simplified(in_words(text, _READ_IN[language]))))
    return tuple(part for unit in found for part in _plain(unit).split())


def pinyin(read: Sequence[str]) -> tuple[str, ...]:
    """The units with toneless pinyin for Chinese characters, which forgives a recogniser's choice among homophones.

    Raises OptionError where pypinyin is missing.
    """
    try:
        from pypinyin import Style, lazy_pinyin
    except ImportError:
        raise OptionError('The pinyin error needs more: pip install "sparktts[eval]".') from None
    spoken: list[str] = []
    for run in _runs(read):
        if not HAN_CHAR.match(run[0]):
            spoken += run
            continue
        # As one phrase, because a character's reading depends on its neighbours.
        # Characters that it does not know come back as they are, one by one.
        spoken += lazy_pinyin("".join(run), style=Style.NORMAL, errors=_as_they_are)
    return tuple(spoken)


def joined(read: Sequence[str]) -> str:
    """Units written down: spaces only around words, not between Chinese characters."""
    return re.sub(f"(?<=[{HAN}]) (?=[{HAN}])", "", " ".join(read))


def in_words(text: str, language: Language | None) -> str:
    """Numbers and symbols in words; "" where nothing can be spoken."""
    try:
        prepared = prepare(_literal(text), TextOptions(language=language, target_seconds=60, max_seconds=60))
    except TextError:
        return ""
    return " ".join(utterance.text for utterance in prepared.utterances)


def simplified(text: str) -> str:
    """Traditional Chinese characters as simplified ones."""
    if not HAN_CHAR.search(text):
        return text
    return _DRY.sub("干", _simplifier()(text))


def _as_they_are(unknown: str) -> Any:
    return list(unknown)


def _literal(text: str) -> str:
    """Without angle and curly brackets: what was heard holds no markup."""
    return re.sub(r"[<>{}\[\]]", " ", text)


def _marks(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    return re.sub("[’‘`´]", "'", text)


def _runs(read: Sequence[str]) -> list[list[str]]:
    runs: list[list[str]] = []
    for unit in read:
        if runs and bool(HAN_CHAR.match(unit)) == bool(HAN_CHAR.match(runs[-1][0])):
            runs[-1].append(unit)
        else:
            runs.append([unit])
    return runs


@functools.cache
def _plain(word: str) -> str:
    """A word as it is compared, perhaps as two words; a possessive's apostrophe goes, as nobody hears it."""
    if HAN_CHAR.match(word):
        return word
    word = unicodedata.normalize("NFD", word)
    word = "".join(char for char in word if not unicodedata.combining(char))
    return " ".join(_spelling(part) for part in _full(word).replace("'", "").split())


def _full(word: str) -> str:
    if word in _WHOLE:
        return _WHOLE[word]
    for ending, full in _ENDINGS.items():
        if word.endswith(ending) and len(word) > len(ending):
            return word.removesuffix(ending) + full
    if word.endswith("'s") and word.removesuffix("'s") in _BEFORE_IS:
        return word.removesuffix("'s") + " is"
    return word


def _spelling(word: str) -> str:
    if word in _SPELLINGS:
        return _SPELLINGS[word]
    for pattern, american in _AMERICAN:
        word = pattern.sub(american, word)
    return word


@functools.cache
def _simplifier() -> Callable[[str], str]:
    from wetext import Normalizer

    # Text without digits passes this grammar untouched but for the characters.
    convert = Normalizer(lang="zh", operator="tn", traditional_to_simple=True).normalize
    run = re.compile(f"[{HAN}]+")
    return lambda text: run.sub(lambda found: str(convert(found.group())), text)
