"""One line of JSON for each text and system, written as soon as it is known, read again when a run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..files import write_atomically
from .lists import Item, SpokenLanguage
from .metrics import Errors, Metric, main_metric
from .systems import Take

FILE = "results.jsonl"


@dataclass(frozen=True)
class Scores:
    """What the judges say. None: not judged. errors: by metric, in the units of the item's language."""

    heard: str | None = None
    errors: dict[Metric, Errors] | None = None
    similarity: float | None = None
    mos: float | None = None


@dataclass(frozen=True)
class Result:
    """One text by one system: a take and its scores, or an error in one sentence.

    take_key, judge_key: change when the take, or its scores, would be another.
    """

    system: str
    id: str
    list: str
    language: SpokenLanguage
    text: str
    take_key: str
    judge_key: str
    prompt: str | None
    take: Take | None
    scores: Scores
    error: str | None = None

    @property
    def worst_first(self) -> tuple[float, float]:
        """Sorts the worst result first: failures, then by the share of errors, then by MOS."""
        return (-1e9 if self.error else -(self.error_rate or 0.0), 5.0 if self.scores.mos is None else self.scores.mos)

    @property
    def main_metric(self) -> Metric | None:
        """The metric that ranks; None: nobody counted errors."""
        return main_metric(self.scores.errors) if self.scores.errors else None

    @property
    def error_rate(self) -> float | None:
        """By the metric that ranks."""
        return None if self.main_metric is None else (self.scores.errors or {})[self.main_metric].rate

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Result:
        """Raises ValueError, TypeError or KeyError for anything but what `to_json` gives."""
        data: dict[str, Any] = json.loads(line)
        take, scores = data.pop("take"), data.pop("scores")
        errors = scores.pop("errors")
        counted = None if errors is None else {metric: Errors(**counts) for metric, counts in errors.items()}
        made = None if take is None else Take(**{**take, "notes": tuple(take["notes"])})
        return cls(**data, take=made, scores=Scores(**scores, errors=counted))


class ResultFile:
    """The file of a run. Lines that a crash cut off are dropped; of several for one text and system the last holds."""

    def __init__(self, out: Path) -> None:
        self._path = out / FILE
        self._results: dict[tuple[str, str], Result] = {}
        for line in self._path.read_text(encoding="utf-8").splitlines() if self._path.is_file() else ():
            try:
                result = Result.from_json(line)
            except (ValueError, TypeError, KeyError):
                continue
            self._results[result.system, result.id] = result
        if self._results:
            self._rewrite(list(self._results.values()))

    def get(self, system: str, item: Item) -> Result | None:
        """The result of an earlier run."""
        return self._results.get((system, item.id))

    def add(self, result: Result) -> None:
        """Appends a line, on the disk when this returns. Raises OSError."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(result.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._results[result.system, result.id] = result

    def finish(self, results: Sequence[Result]) -> None:
        """Puts this run's results first, in order; those of other lists and systems stay behind them."""
        mine = {(result.system, result.id) for result in results}
        others = [result for key, result in self._results.items() if key not in mine]
        self._rewrite([*results, *others])

    def _rewrite(self, results: Sequence[Result]) -> None:
        write_atomically(self._path, "".join(result.to_json() + "\n" for result in results).encode())
