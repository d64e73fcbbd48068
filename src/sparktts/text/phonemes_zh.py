"""Chinese characters to phonemes: words by jieba, pinyin by pypinyin, each syllable with its tone behind the vowel."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from typing import Any

from ..errors import OptionError

MISSING = "A package that turns text into phonemes is missing: pip install --force-reinstall sparktts."
_LOCK = threading.Lock()
_TONES = {"1": "→", "2": "↗", "3": "↓", "4": "↘", "5": ""}
# Written initial and its phoneme.
_INITIAL_TABLE = """
b p  p pʰ  m m  f f  d t  t tʰ  n n  l l  g k  k kʰ  h x  j ʨ  q ʨʰ  x ɕ
zh ꭧ  ch ꭧʰ  sh ʂ  r ɻ  z ʦ  c ʦʰ  s s
"""
# Full final, its glide and vowel, and what comes after the tone (-: nothing).
_FINAL_TABLE = """
a a -  ai ai -  an a n  ang a ŋ  ao au -  e ɤ -  ei ei -  en ə n  eng ə ŋ
i i -  ia ja -  ian jɛ n  iang ja ŋ  iao jau -  ie je -  in i n  ing i ŋ  iong jʊ ŋ  iou jou -
o wo -  ong ʊ ŋ  ou ou -
u u -  ua wa -  uai wai -  uan wa n  uang wa ŋ  uei wei -  uen wə n  ueng wə ŋ  uo wo -
ü y -  üan ɥɛ n  üe ɥe -  ün y n
"""
# Whole syllables that are not an initial and a final.
_SYLLABLE_TABLE = "er ɚ -  r ɚ -  o ɔ -  yo jɔ -  ê ɛ -  m m -  n n -  ng ŋ -  hm hm -  hng hŋ -"


def _table(text: str) -> dict[str, tuple[str, str]]:
    cells = text.replace("-", " - ").split()
    rows = zip(cells[::3], cells[1::3], cells[2::3], strict=True)
    return {written: (vowel, coda.strip("-")) for written, vowel, coda in rows}


_INITIALS = {"": "", **dict(zip(_INITIAL_TABLE.split()[::2], _INITIAL_TABLE.split()[1::2], strict=True))}
_FINALS, _SYLLABLES = _table(_FINAL_TABLE), _table(_SYLLABLE_TABLE)
_SHORT = {"iu": "iou", "ui": "uei", "un": "uen"}


def syllable(pinyin: str) -> str | None:
    """Phonemes of one syllable such as "zhong1", "lv4" (5: no tone); None for what is no pinyin."""
    base, tone = pinyin[:-1].replace("v", "ü"), _TONES.get(pinyin[-1:])
    if tone is None:
        return None
    if base in _SYLLABLES:
        vowel, coda = _SYLLABLES[base]
        return vowel + tone + coda
    initial, final = _parts(base)
    if final not in _FINALS:
        return None
    vowel, coda = _FINALS[final]
    if final == "i" and initial in ("z", "c", "s", "zh", "ch", "sh", "r"):
        vowel = "ɨ"
    return _INITIALS[initial] + vowel + tone + coda


def _parts(base: str) -> tuple[str, str]:
    """Initial and full final of a written syllable: "xue" -> x, üe; "wei" -> "", uei."""
    if base[:1] == "y":
        rest = base[1:]
        if rest[:1] == "u":
            return "", "ü" + rest[1:]
        return "", rest if rest[:1] == "i" else "i" + rest
    if base[:1] == "w":
        return "", base[1:] if base[1:2] == "u" else "u" + base[1:]
    size = next((size for size in (2, 1) if base[:size] in _INITIALS), 0)
    initial, final = base[:size], base[size:]
    if initial in ("j", "q", "x") and final[:1] == "u":
        return initial, "ü" + final[1:]
    return initial, _SHORT.get(final, final)


def chinese_phonemes(run: str, unknown: Callable[[str], str]) -> list[str]:
    """One group of phonemes a word. run: Chinese characters only; unknown: what to say for one without a reading."""
    cut, pinyin = _tools()
    with _LOCK:
        words = cut(run)
    groups = []
    for word in words:
        syllables = ((syllable(reading) or unknown(char)) for char, reading in _readings(word, pinyin(word)))
        groups.append("".join(syllables))
    return [group for group in groups if group]


def _readings(word: str, found: list[str]) -> list[tuple[str, str]]:
    return list(zip(word, found, strict=True)) if len(found) == len(word) else [(word, reading) for reading in found]


@functools.cache
def _tools() -> tuple[Callable[[str], list[str]], Callable[[str], list[str]]]:
    """(words of a run, pinyin of a word), loaded once, on first need (about 1 s). Raises OptionError."""
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jieba tries an old module of setuptools
        try:
            import jieba
            from pypinyin import Style, lazy_pinyin
        except ImportError:
            raise OptionError(MISSING) from None
        tokenizer = jieba.Tokenizer()
        # Its own loading keeps a file in the shared temporary directory; this reads the dictionary itself.
        tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
        tokenizer.initialized = True

    each_alone: Any = list  # characters without a reading stay as they are

    def pinyin(word: str) -> list[str]:
        return lazy_pinyin(word, style=Style.TONE3, neutral_tone_with_five=True, errors=each_alone)

    return tokenizer.lcut, pinyin
