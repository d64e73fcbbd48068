"""English words to phonemes: gruut's lexicon by part of speech, its letter-to-sound model, and letters one by one."""

from __future__ import annotations

import functools
import re
import sqlite3
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ..errors import OptionError
from .phonemes_zh import MISSING

# IPA in the notation of the phoneme inventory: diphthongs and affricates are one letter each.
_NOTATION = (
    ("t͡ʃ", "ʧ"),
    ("d͡ʒ", "ʤ"),
    ("tʃ", "ʧ"),
    ("dʒ", "ʤ"),
    ("eɪ", "A"),
    ("aɪ", "I"),
    ("aʊ", "W"),
    ("oʊ", "O"),
    ("əʊ", "O"),
    ("ɔɪ", "Y"),
    ("ɚ", "əɹ"),
    ("ɝ", "əɹ"),
    ("ɜɹ", "əɹ"),
    ("g", "ɡ"),
    ("'", "ˈ"),
)
_PLAIN = (
    ("r", "ɹ"),
    ("ɒ", "ɑ"),
    ("ɐ", "ə"),
    ("ɜ", "ə"),
    ("ɾ", "t"),
    ("ɫ", "l"),
    ("ʔ", ""),
    ("œ", "ɛ"),
    ("β", "b"),
    ("χ", "x"),
)
# Little words that carry no stress inside a sentence.
_LITTLE = (
    "a an the and or but nor of to in on at by for from with as into than is it its am are was were be been he she we "
    "they you i me him her us them my your his our their this that these those some can could would should will shall "
    "has have had do does did if when while because so not"
)
_UNSTRESSED = frozenset(_LITTLE.split())
_VOWEL = re.compile("[aeiouy]", re.I)
_SIBILANT, _VOICELESS = tuple("szʃʒʧʤ"), tuple("ptkfθ")
_CASES = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z']+|[A-Z]")
_ACRONYM_ENDING = re.compile(r"([A-Z]{2,})('?s)")
_LOCK = threading.RLock()
_LETTER = "gruut:letter"
_LONGEST = 40  # letters that are guessed at once


def in_notation(ipa: str) -> str:
    """IPA of English as the inventory writes it."""
    for written, ours in (*_NOTATION, *_PLAIN):
        ipa = ipa.replace(written, ours)
    return ipa


def english_phonemes(words: Sequence[str]) -> list[list[str]]:
    """Groups of phonemes for each word of one sentence: several where a word is spelled or falls apart, never none.

    words: ASCII letters and inner apostrophes.
    """
    with _LOCK:
        shouted = len(words) > 2 and all(word.isupper() for word in words)
        said = [word.lower() if shouted else word for word in words]
        # Tagging is most of the time, and only decides about words with several readings.
        tags = _tools().tagger(said) if any(map(_ambiguous, said)) else [""] * len(said)
        return [
            _word(word, f"gruut:{tag}", index == 0) for index, (word, tag) in enumerate(zip(said, tags, strict=True))
        ]


def _ambiguous(word: str) -> bool:
    return len(_tools().readings(word)) > 1


def _word(word: str, role: str, first: bool) -> list[str]:
    if len(word) == 1:
        letter = word.isupper() and word != "I" and not (word == "A" and first)
        return _spelled(word) if letter or word.lower() not in "ai" else [_known(word, role) or word]
    if ending := _ACRONYM_ENDING.fullmatch(word):
        *letters, last = _spelled(ending[1])
        return [*letters, _with_s(last)]
    if word.isupper() and (len(word) <= 3 or not _known(word.lower(), role)):
        return _spelled(word) if len(word) <= 5 or not _VOWEL.search(word) else [_guessed(word)]
    if known := _known(word, role):
        return [known]
    if word.lower().endswith("'s") and len(word) > 3:
        *others, last = _word(word[:-2], role, first)
        return [*others, _with_s(last)]
    parts = _CASES.findall(word)
    if len(parts) > 1 and "".join(parts) == word:
        return [group for part in parts for group in _word(part, role, first=False)]
    if not _VOWEL.search(word) and len(word) <= 5 and len(set(word.lower())) > 2:
        return _spelled(word)
    return [_guessed(word)]


def _known(word: str, role: str) -> str:
    phonemes = in_notation(_tools().reading(word, role))
    return phonemes.replace("ˈ", "") if word.lower() in _UNSTRESSED else phonemes


def _guessed(word: str) -> str:
    letters = word.lower().replace("'", "")
    pieces = [letters[at : at + _LONGEST] for at in range(0, len(letters), _LONGEST)]
    guess = in_notation("".join(phoneme for piece in pieces for phoneme in _tools().guess(piece)))
    return guess if guess.strip("ˈˌ") else "".join(_spelled(word))


def _spelled(word: str) -> list[str]:
    return [_letter(char) for char in word.lower() if char != "'"]


def _letter(char: str) -> str:
    """The name of a letter."""
    return in_notation(_tools().reading(char, _LETTER)) or "ə"


def _with_s(group: str) -> str:
    """A word with the sound of its plural or possessive s."""
    if group.endswith(_SIBILANT):
        return group + "ɪz"
    return group + ("s" if group.endswith(_VOICELESS) else "z")


class _Tools:
    """gruut's lexicon, part-of-speech tagger and letter-to-sound model; used under a lock."""

    def __init__(self) -> None:
        try:
            import gruut_lang_en
            from gruut.g2p import GraphemesToPhonemes
            from gruut.pos import PartOfSpeechTagger
        except ImportError:
            raise OptionError(MISSING) from None
        data = Path(gruut_lang_en.__file__).parent
        self._lexicon = _read_lexicon(data / "lexicon.db")
        self.tagger: Any = PartOfSpeechTagger(data / "pos" / "model.crf")
        self.guess: Any = GraphemesToPhonemes(data / "g2p" / "model.crf")

    def readings(self, word: str) -> tuple[tuple[str, str], ...]:
        """(role, IPA) of each reading, the usual first; none for an unknown word."""
        lower = word.lower()
        forms = (word, lower, lower.replace("'", ""))
        return next((self._lexicon[form] for form in forms if form in self._lexicon), ())

    def reading(self, word: str, role: str) -> str:
        """IPA of the reading with this role, else of the one without a role, else of the first; "" if unknown."""
        readings = self.readings(word)
        by_role = dict(reversed(readings))
        return by_role.get(role) or by_role.get("") or (readings[0][1] if readings else "")


def _read_lexicon(path: Path) -> dict[str, tuple[tuple[str, str], ...]]:
    """The whole table: the file has no index by word, so that each look-up in it would take 10 ms."""
    lexicon: dict[str, tuple[tuple[str, str], ...]] = {}
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        for word, role, phonemes in connection.execute(
            "SELECT word, role, phonemes FROM word_phonemes ORDER BY pron_order"
        ):
            lexicon[word] = (*lexicon.get(word, ()), (sys.intern(role), phonemes.replace(" ", "")))
    return lexicon


@functools.cache
def _tools() -> _Tools:
    """Loaded once, on first need (0.6 s). Raises OptionError without gruut."""
    return _Tools()
