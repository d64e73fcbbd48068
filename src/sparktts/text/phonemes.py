"""The phoneme front-end: words of a prepared text as groups of phonemes, Chinese and English in one sentence."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from ..errors import OptionError, TextError
from ..types import Language
from .exact import EXACT
from .normalize import normalize
from .numbers import en_cardinal
from .phonemes_en import english_phonemes, in_notation
from .phonemes_zh import MISSING, chinese_phonemes
from .spans import HAN, dominant_language
from .tracked import Tracked

MARKS = ".,?!;:"
TONES = "→↗↘↓"
# Kokoro's notation, as far as gruut's English and Mandarin use it.
PHONEMES = tuple(MARKS + TONES + "ˈˌʰ" + "abdefhijklmnopstuvwxyzæðŋɑɔɕəɚɛɡɤɥɨɪɹɻʂʃʊʌʒʤʦʧʨθꭧAIOWY")
_INVENTORY = frozenset(PHONEMES)
_SILENT = frozenset(MARKS + TONES + "ˈˌʰ")
FALLBACK = "ə"  # for a letter that nothing transliterates

_STRENGTH = "?!.;:,"  # of several marks the first of these is kept
_MARKS = {mark: mark for mark in MARKS} | {
    other: mark
    for mark, others in {".": "。．｡।", ",": "，、､،—–―¿¡", "?": "？؟", "!": "！", ";": "；؛", ":": "："}.items()
    for other in others
}
_UNREAD = re.compile(r"[\d&@%=+<>±×÷≈≠≤≥≡∞√°№$€£¥￥₩₹]")
_TOKEN = re.compile(
    rf"(?P<han>[{HAN}]+)|(?P<dotted>(?:[A-Za-z]\.){{2,}})|(?P<word>[^\W\d_{HAN}](?:['’]?[^\W\d_{HAN}]|[\u0300-\u036f])*)"
    r"|(?P<number>[^\W_])|(?P<mark>[^\w\s])"
)
_LATIN = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*")
_SENTENCE = ".?!"


def phonemize(text: str, language: Language | None = None) -> tuple[str, ...]:
    """The words of a prepared text: one group of phonemes each, with the punctuation after it.

    language: in which numbers that are still digits are read; None: that of the words around. Whatever holds a letter
    or a number gives at least one group, and no character outside PHONEMES. `[word](/phonemes/)` is said as it stands.
    Raises TextError when there is nothing to say, OptionError when one of its packages is not installed.
    """
    groups: list[str] = []
    for piece, exact in _pieces(text):
        groups += _exact(piece) if exact else _read(piece, language, text, bool(groups))
    words = _attached(groups)
    if not words:
        raise TextError("There is nothing to say in the text: it has no letters and no numbers.")
    return tuple(words)


def phoneme_words(phonemes: str) -> tuple[str, ...]:
    """Words of phonemes that another program wrote with spaces: marks that stand alone join the word before them."""
    return tuple(_attached([_within(group) for group in phonemes.split()]))


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text around exact phonemes, and these; or their word, where they hold nothing that can be said."""
    at = 0
    for match in EXACT.finditer(text):
        yield text[at : match.start()], False
        exact = any(_exact(match[2]))
        yield (match[2], True) if exact else (match[1], False)
        at = match.end()
    yield text[at:], False


def _exact(phonemes: str) -> list[str]:
    groups = (_within(in_notation(group)) for group in phonemes.split())
    return [group for group in groups if set(group) - _SILENT]


def _within(group: str) -> str:
    return "".join(char for char in group if char in _INVENTORY)


def _read(text: str, language: Language | None, whole: str, inside: bool) -> list[str]:
    """Groups and marks of a text without markup. inside: something was said before."""
    text = unicodedata.normalize("NFKC", text)
    if _UNREAD.search(text):
        text = normalize(Tracked.of(text), language, dominant_language(whole)).text
    said: list[str] = []
    sentence: list[str] = []  # English words that are read together, for their parts of speech
    layout: list[int] = []  # where in `said` each of them belongs

    def speak_sentence() -> None:
        for place, groups in zip(layout, english_phonemes(sentence) if sentence else (), strict=True):
            said[place] = " ".join(_within(group) for group in groups)
        sentence.clear()
        layout.clear()

    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup, match.group()
        if kind == "mark":
            mark = _MARKS.get(token)
            if mark is not None:
                said.append(mark)
            if mark is not None and mark in _SENTENCE:
                speak_sentence()
            continue
        if kind == "han":
            speak_sentence()
            said += (_within(group) for group in chinese_phonemes(token, _unknown))
            continue
        for word in _latin_words(token, kind or ""):
            sentence.append(word)
            layout.append(len(said))
            said.append("")
        if kind == "number" and not layout:
            said.append(FALLBACK)
    speak_sentence()
    return [group for entry in said for group in entry.split()]


def _latin_words(token: str, kind: str) -> list[str]:
    """A word in plain Latin letters; letters of other scripts by their transliteration."""
    if kind == "dotted":
        return [token.replace(".", "").upper()]
    token = token.replace("’", "'")
    if token.isascii() and kind == "word":
        return [token]
    if kind == "number":
        value = unicodedata.numeric(token, None)
        if value is not None and value >= 0 and value == int(value):
            return _LATIN.findall(en_cardinal(int(value)))
    plain = _transliterated(token)
    latin = _LATIN.findall(plain if _is_latin(token) else plain.lower())
    return latin or ["uh"]


def _is_latin(token: str) -> bool:
    return all("LATIN" in unicodedata.name(char, "") for char in token if char.isalpha())


def _unknown(char: str) -> str:
    """What a Chinese character without a reading is: by its transliteration, or the fallback."""
    words = _LATIN.findall(_transliterated(char).lower())
    groups = english_phonemes(words) if words else []
    return "".join(_within(group) for word in groups for group in word) or FALLBACK


def _transliterated(text: str) -> str:
    try:
        from anyascii import anyascii
    except ImportError:
        raise OptionError(MISSING) from None
    plain: str = anyascii(text)
    return plain


def _attached(groups: list[str]) -> list[str]:
    """Marks joined to the word before them, one mark each; marks before the first word are dropped."""
    words: list[str] = []
    for group in groups:
        if set(group) - _SILENT:
            words.append(group)
        elif words:
            for mark in (char for char in group if char in MARKS):
                words[-1] = _with_mark(words[-1], mark)
    return words


def _with_mark(word: str, mark: str) -> str:
    if word[-1] not in MARKS:
        return word + mark
    return word[:-1] + min(word[-1], mark, key=_STRENGTH.index)
