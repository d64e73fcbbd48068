"""Output heads over a part of the vocabulary: the smallest one that has the legal ids is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checkpoint.fields import Section
from ...errors import CheckpointError, GenerationError
from ..base import IdSet, Tokens
from .graphs import Graphs

Floats = npt.NDArray[np.float32]

FULL = "head_full"
ALL = slice(None)


class Head:
    """Scores of some ids, in ascending order. name: of the graph, opened on first need."""

    def __init__(self, name: str, ids: IdSet, graphs: Graphs) -> None:
        self.name, self.ids, self._graphs = name, ids, graphs

    def __len__(self) -> int:
        return len(self.ids)

    def has(self, ids: IdSet) -> bool:
        """Whether every one of them is scored."""
        return all(any(a <= start and stop <= b for a, b in self.ids.ranges) for start, stop in ids.ranges)

    def scores(self, hidden: Floats) -> Floats:
        """hidden: (N, hidden) -> (N, ids)."""
        result: Floats = self._session.run(None, {"hidden": hidden})[0]
        return result

    @cached_property
    def _session(self) -> Any:
        session = self._graphs.open(self.name)
        if (found := session.get_outputs()[0].shape[-1]) != len(self):
            raise CheckpointError(
                f"The exported graph `{self.name}` scores {found} ids, but the manifest says {len(self)}: "
                "export the model again."
            )
        return session


class Heads:
    """Every head of an export, and the places of legal ids in them, which are looked up once."""

    def __init__(self, settings: Section, graphs: Graphs) -> None:
        self.graphs = graphs
        found = settings.section("heads")
        heads = [Head(name, _ranges(found, name), graphs) for name in map(str, found.values)]
        self._heads = sorted(heads, key=len)
        self._places: dict[IdSet, tuple[Head, Any, Tokens]] = {}

    def scores(self, hidden: Floats, ids: IdSet) -> tuple[Floats, Tokens]:
        """(N, n) scores of the ids and those n ids, ascending. hidden: (N, hidden). Raises GenerationError."""
        head, places, numbers = self._placed(ids)
        return head.scores(hidden)[:, places], numbers

    def scores_of_each(self, hidden: Floats, legal: Sequence[IdSet]) -> list[tuple[Floats, Tokens]]:
        """The same for other ids in each of the N rows; each head that is needed runs once. Raises GenerationError."""
        placed = [self._placed(ids) for ids in legal]
        scores: dict[str, Iterator[Floats]] = {}
        for head in {head.name: head for head, _, _ in placed}.values():
            rows = [row for row, (other, _, _) in enumerate(placed) if other is head]
            scores[head.name] = iter(head.scores(hidden if len(rows) == len(placed) else hidden[rows]))
        return [(next(scores[head.name])[places], numbers) for head, places, numbers in placed]

    def full(self, hidden: Floats) -> Floats:
        """(N, vocabulary) scores. Raises GenerationError where the export has no full head."""
        head = next((head for head in self._heads if head.name == FULL), None)
        if head is None:
            raise _missing("every id")
        return head.scores(hidden)

    def _placed(self, ids: IdSet) -> tuple[Head, Any, Tokens]:
        if ids not in self._places:
            self._places[ids] = self._place(ids)
        return self._places[ids]

    def _place(self, ids: IdSet) -> tuple[Head, Any, Tokens]:
        head = next((head for head in self._heads if head.has(ids)), None)
        if head is None:
            raise _missing("some of the ids that may come next")
        numbers = ids.ids
        if ids.ranges == head.ids.ranges:
            return head, ALL, numbers
        places = np.searchsorted(head.ids.ids, numbers)
        if len(ids.ranges) == 1:  # a view in place of a copy
            return head, slice(int(places[0]), int(places[-1]) + 1), numbers
        return head, places, numbers


def _ranges(section: Section, name: str) -> IdSet:
    """Rising ranges of ids. Raises CheckpointError."""
    pairs = section.values[name]
    numbers = [n for pair in pairs for n in pair] if _is_pairs(pairs) else []
    if not numbers or any(a >= b for a, b in pairwise(numbers)):
        raise section.error(name, "must be a list of rising ranges of ids")
    return IdSet(tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def _is_pairs(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(type(n) is int and n >= 0 for n in pair) for pair in value
    )


def _missing(what: str) -> GenerationError:
    return GenerationError(
        f"The exported model has no scores of {what}: `sparktts model export --full-head` makes one that has all."
    )
