"""From results to the figures of a report: by system and language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .lists import LANGUAGES, SpokenLanguage
from .metrics import METRICS, ErrorSummary, Metric, summarise
from .results import Result

SCHEMA = "sparktts.eval/1"


@dataclass(frozen=True)
class Figures:
    """One system in one language. mean_...: over the texts that were said; real_time_factor: all computing over all
    sound; errors include failures, as texts of which nothing was heard."""

    system: str
    language: SpokenLanguage
    items: int
    failures: int
    errors: dict[Metric, ErrorSummary]
    mean_similarity: float | None
    mean_mos: float | None
    real_time_factor: float | None
    seconds: float
    retries: int


@dataclass(frozen=True)
class Evaluation:
    """All that a report shows. lists, systems, judges, versions: what was evaluated, by whom, with what."""

    created: str
    lists: dict[str, dict[str, Any]]
    systems: dict[str, dict[str, Any]]
    judges: dict[str, str | None]
    versions: dict[str, str]
    notes: tuple[str, ...]
    results: tuple[Result, ...]
    reused: int = 0

    @property
    def languages(self) -> tuple[SpokenLanguage, ...]:
        """Those that occur."""
        there = {result.language for result in self.results}
        return tuple(language for language in LANGUAGES if language in there)

    @property
    def failures(self) -> int:
        """Results without sound."""
        return sum(result.error is not None for result in self.results)

    def figures(self) -> tuple[Figures, ...]:
        """By language, then system."""
        return tuple(
            _figures(system, language, [r for r in self.results if (r.system, r.language) == (system, language)])
            for language in self.languages
            for system in self.systems
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values; each result is a line of results.jsonl."""
        return {
            "schema": SCHEMA,
            "created": self.created,
            "lists": self.lists,
            "systems": self.systems,
            "judges": self.judges,
            "versions": self.versions,
            "notes": list(self.notes),
            "figures": [asdict(figures) for figures in self.figures()],
            "failures": [
                {"system": r.system, "id": r.id, "error": r.error} for r in self.results if r.error is not None
            ],
        }


def _figures(system: str, language: SpokenLanguage, results: Sequence[Result]) -> Figures:
    takes = [result.take for result in results if result.take is not None]
    timed = [take for take in takes if take.elapsed is not None]
    seconds = sum(take.seconds for take in timed)
    errors = {}
    for metric in METRICS:
        summary = summarise([found[metric] for r in results if (found := r.scores.errors) and metric in found])
        if summary is not None:
            errors[metric] = summary
    return Figures(
        system=system,
        language=language,
        items=len(results),
        failures=sum(result.error is not None for result in results),
        errors=errors,
        mean_similarity=_mean([result.scores.similarity for result in results]),
        mean_mos=_mean([result.scores.mos for result in results]),
        real_time_factor=sum(take.elapsed or 0.0 for take in timed) / seconds if seconds else None,
        seconds=sum(take.seconds for take in takes),
        retries=sum(take.retries for take in takes),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None
