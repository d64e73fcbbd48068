"""Sequences that join and leave a language model while others run, whatever computes its network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..checkpoint.config import LanguageModelConfig
from ..errors import GenerationError
from ..sampling import Sampler, SamplingOptions
from .base import Grammar, Handle, IdSet, Samples, Tokens

Hidden = TypeVar("Hidden")  # (B, hidden) states on an engine's device


@dataclass
class _Sequence:
    """One running sequence: what to feed next, and how many positions the cache holds."""

    handle: Handle
    grammar: Grammar
    sampler: Sampler
    pending: list[int]
    past: int = 0


class SequenceModel(ABC, Generic[Hidden]):
    """LanguageModel over a network with a key-value cache. Not thread-safe: one thread adds, steps and cancels.

    Sequence b of the running ones owns row b of the cache. A sequence run alone gives the same ids for the same seed;
    run beside others its sums may differ in the last bits, and so, rarely, its ids.
    """

    def __init__(self, config: LanguageModelConfig) -> None:
        self.config = config
        self._running: list[_Sequence] = []
        self._next = 0

    @abstractmethod
    def logits(self, ids: Sequence[int]) -> Samples:
        """(n, vocabulary) float32 scores after each of the n ids: no grammar, no sampling. For diagnosis and tests."""

    @abstractmethod
    def _reserve(self, rows: int, positions: int, used: int) -> None:
        """Makes room in the cache. used: positions from the start that hold something in any row."""

    @abstractmethod
    def _extend(self, ids: Sequence[int], row: int, past: int) -> Hidden:
        """Feeds ids to one row, which holds `past` positions. Returns (1, hidden), of the last id."""

    @abstractmethod
    def _decode(self, ids: Sequence[int], past: Sequence[int], wanted: Sequence[int]) -> Hidden:
        """Feeds one id to each of the first rows. past: positions that each row holds. Returns those of `wanted`."""

    @abstractmethod
    def _join(self, states: Sequence[Hidden]) -> Hidden:
        """One array of several."""

    @abstractmethod
    def _scores(self, hidden: Hidden, legal: Sequence[IdSet]) -> Sequence[tuple[Samples, Tokens]]:
        """The scores of each row's legal ids, and those ids, ascending. Raises GenerationError."""

    @abstractmethod
    def _move(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of a row over another."""

    def add(self, prompt: Sequence[int], sampling: SamplingOptions, grammar: Grammar) -> Handle:
        """Queues a sequence; its first id comes with the next `step`."""
        handle = Handle(self._next)
        self._next += 1
        pending = [*prompt, *grammar.forced()]
        self._running.append(_Sequence(handle, grammar, Sampler(sampling), pending))
        return handle

    @property
    def ready(self) -> bool:
        """Whether the next step has its ids at hand: never, they are computed when they are asked for."""
        return False

    def cancel(self, handle: Handle) -> None:
        """Drops a sequence; unknown handles, such as finished ones, are ignored."""
        for row, sequence in enumerate(self._running):
            if sequence.handle == handle:
                self._remove(row)
                return

    def step(self) -> dict[Handle, int]:
        """One sampled id for every running sequence; those whose grammar is done have left when this returns.

        A sequence whose grammar waits is left as it is, and missing in the result.
        Raises GenerationError when a sequence outgrows the model's positions, or the model has no scores of its ids.
        """
        active = [row for row, sequence in enumerate(self._running) if not sequence.grammar.waiting]
        if not active:
            return {}
        speaking = [self._running[row] for row in active]
        for sequence in speaking:
            sequence.pending += sequence.grammar.forced()  # what it waited for
        self._make_room(active)
        hidden = self._advance(active)
        chosen: dict[Handle, int] = {}
        scored = self._scores(hidden, [sequence.grammar.legal() for sequence in speaking])
        for sequence, (scores, ids) in zip(speaking, scored, strict=True):
            token = sequence.sampler.sample(scores, ids)
            sequence.grammar.accept(token)
            sequence.pending = [token, *sequence.grammar.forced()]
            chosen[sequence.handle] = token
        for row in reversed(range(len(self._running))):
            if self._running[row].grammar.done:
                self._remove(row)
        return chosen

    def _make_room(self, active: Sequence[int]) -> None:
        """For what will be fed. One that waits keeps its place, and is judged when it goes on."""
        fed = {row: len(self._running[row].pending) for row in active}
        longest = max(sequence.past + fed.get(row, 1) for row, sequence in enumerate(self._running))
        if longest > self.config.max_position_embeddings:
            raise GenerationError(
                f"The text and its speech need {longest} positions, more than the model's "
                f"{self.config.max_position_embeddings}: use a shorter text, transcript or clip."
            )
        self._reserve(len(self._running), longest, max(sequence.past for sequence in self._running))

    def _advance(self, active: Sequence[int]) -> Hidden:
        """Feeds what is pending. Returns (B, hidden), one row a sequence that does not wait.

        Chunks (prompts, forced ids) are fed alone; when others have a single id, a chunk's last id joins them.
        """
        together = any(len(self._running[row].pending) == 1 for row in active)
        states = []
        for row in active:
            sequence = self._running[row]
            chunk = sequence.pending[:-1] if together else sequence.pending
            if chunk:
                states.append(self._extend(chunk, row, sequence.past))
                sequence.past += len(chunk)
        return self._together(active) if together else self._join(states)

    def _together(self, active: Sequence[int]) -> Hidden:
        """One id for every row of the cache in use: those that wait get the one that they will get again."""
        speaking = set(active)
        pending = [s.pending[-1 if row in speaking else 0] for row, s in enumerate(self._running)]
        hidden = self._decode(pending, [sequence.past for sequence in self._running], active)
        for row in active:
            self._running[row].past += 1
        return hidden

    def _remove(self, row: int) -> None:
        """The last sequence takes the freed row, so that the running ones stay together."""
        last = self._running.pop()
        if row < len(self._running):
            if last.past:
                self._move(len(self._running), row, last.past)
            self._running[row] = last


def one_product_each(
    legal: Sequence[IdSet], product: Callable[[list[int], IdSet], tuple[Samples, Tokens]]
) -> list[tuple[Samples, Tokens]]:
    """The scores of each row's legal ids; rows with the same ones share a product.

    product: rows and their ids to (rows, ids) scores and the ids.
    """
    results: dict[int, tuple[Samples, Tokens]] = {}
    for ids in set(legal):
        rows = [row for row, other in enumerate(legal) if other == ids]
        scores, numbers = product(rows, ids)
        results.update(zip(rows, ((line, numbers) for line in scores), strict=True))
    return [results[row] for row in range(len(legal))]


def grown(current: int, needed: int, least: int = 1) -> int:
    """The size of a cache: doubled until it is enough."""
    size = max(current, least)
    while size < needed:
        size *= 2
    return size
