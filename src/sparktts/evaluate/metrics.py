"""Errors of one text, and of many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ..errors import OptionError
from .lists import SpokenLanguage
from .scoring_text import pinyin, units

Metric = Literal["wer", "cer", "pinyin", "phonemes"]
METRICS: tuple[Metric, ...] = get_args(Metric)
TEXT_METRICS: dict[SpokenLanguage, tuple[Metric, ...]] = {
    "en": ("wer",),
    "zh": ("cer", "pinyin"),
    "mixed": ("cer", "pinyin"),
}
RESAMPLES = 1000


@dataclass(frozen=True)
class Edit:
    """A stretch of an alignment. asked, heard: units; equal where they agree, either may be empty."""

    equal: bool
    asked: tuple[str, ...]
    heard: tuple[str, ...]


@dataclass(frozen=True)
class Errors:
    """Substitutions, deletions and insertions against the units of the text."""

    substitutions: int
    deletions: int
    insertions: int
    length: int

    @property
    def total(self) -> int:
        """All errors."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors a unit: 0 is perfect; it passes 1 where more is heard than was asked for."""
        return self.total / self.length if self.length else float(self.total > 0)


@dataclass(frozen=True)
class ErrorSummary:
    """Many texts. corpus: all errors over all units; mean: of the rates of the texts; low, high: 95 % interval of
    `corpus`, from resampled texts."""

    corpus: float
    mean: float
    low: float
    high: float
    errors: int
    length: int


def count_errors(asked: Sequence[str], heard: Sequence[str]) -> Errors:
    """Fewest edits that make `asked` into `heard`. Raises OptionError where rapidfuzz is missing."""
    substitutions = deletions = insertions = 0
    for tag, a, b, c, d in _opcodes(asked, heard):
        substitutions += b - a if tag == "replace" else 0
        deletions += b - a if tag == "delete" else 0
        insertions += d - c if tag == "insert" else 0
    return Errors(substitutions, deletions, insertions, len(asked))


def alignment(asked: Sequence[str], heard: Sequence[str]) -> tuple[Edit, ...]:
    """Where they agree and where not, neighbouring differences in one piece."""
    edits: list[Edit] = []
    for tag, a, b, c, d in _opcodes(asked, heard):
        edit = Edit(tag == "equal", tuple(asked[a:b]), tuple(heard[c:d]))
        if edits and not edit.equal and not edits[-1].equal:
            last = edits.pop()
            edit = Edit(False, last.asked + edit.asked, last.heard + edit.heard)
        edits.append(edit)
    return tuple(edits)


def text_errors(text: str, heard: str, language: SpokenLanguage) -> dict[Metric, Errors]:
    """The errors that count in a language: of words, or of characters (a Latin word among them counts as one) and of
    toneless pinyin. heard "" is a text of which nothing came out."""
    asked, said = units(text, language), units(heard, language)
    errors: dict[Metric, Errors] = {}
    for metric in TEXT_METRICS[language]:
        errors[metric] = count_errors(pinyin(asked), pinyin(said)) if metric == "pinyin" else count_errors(asked, said)
    return errors


def main_metric(errors: Mapping[Metric, object]) -> Metric:
    """The one that ranks texts: words, or pinyin, which a recogniser's choice among homophones leaves alone; phonemes
    where there was no recogniser."""
    return next(metric for metric in ("pinyin", "wer", "phonemes") if metric in errors)


def summarise(errors: Sequence[Errors]) -> ErrorSummary | None:
    """Corpus and mean rate of at least one text; None of none. The interval is always the same for the same errors."""
    if not errors:
        return None
    totals, lengths = np.array([e.total for e in errors]), np.array([e.length for e in errors])
    picks = np.random.default_rng(0).integers(0, len(errors), (RESAMPLES, len(errors)))
    rates = totals[picks].sum(1) / np.maximum(lengths[picks].sum(1), 1)
    low, high = np.quantile(rates, (0.025, 0.975))
    return ErrorSummary(
        corpus=float(totals.sum() / max(lengths.sum(), 1)),
        mean=float(np.mean([e.rate for e in errors])),
        low=float(low),
        high=float(high),
        errors=int(totals.sum()),
        length=int(lengths.sum()),
    )


def _opcodes(asked: Sequence[str], heard: Sequence[str]) -> Iterator[tuple[str, int, int, int, int]]:
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError:
        raise OptionError('Counting errors needs more: pip install "sparktts[eval]".') from None
    for code in Levenshtein.opcodes(list(asked), list(heard)):
        yield code.tag, code.src_start, code.src_end, code.dest_start, code.dest_end
