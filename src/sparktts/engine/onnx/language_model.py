"""The language model on ONNX Runtime: sequences that join and leave, one id each a step."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...checkpoint.config import LanguageModelConfig
from ...errors import GenerationError
from ...sampling import Sampler, SamplingOptions
from ..base import Grammar, Handle, IdSet, Samples
from .decoder import Decoder, spinning
from .graphs import GraphFiles, Graphs
from .heads import Heads
from .sessions import open_session
from .tables import DATA, PART, STACK, EmbeddingTable, form_of

Floats = npt.NDArray[np.float32]


@dataclass
class _Sequence:
    """One running sequence: what to feed next, and how many positions the cache holds."""

    handle: Handle
    grammar: Grammar
    sampler: Sampler
    pending: list[int]
    past: int = 0


class OnnxLanguageModel:
    """LanguageModel over exported graphs. Not thread-safe: one thread adds, steps and cancels.

    Sequence b of the running ones owns row b of the key-value cache. A sequence run alone gives the same ids for the
    same seed; run beside others its sums may differ in the last bits, and so, rarely, its ids.
    """

    def __init__(
        self, config: LanguageModelConfig, files: GraphFiles, provider: str = "cpu", threads: int | None = None
    ) -> None:
        settings = files.section(PART)
        # Without an arena, what a long prompt needed is given back; decoding is as fast (measured).
        stack = open_session(files.file(STACK), threads, provider, arena=False, settings=spinning())
        table = EmbeddingTable(files.file(DATA), form_of(settings, "embedding"), config.vocab_size, config.hidden_size)
        self.config = config
        self._decoder = Decoder(stack, config, table)
        self._heads = Heads(settings, Graphs(files, provider, threads))
        self._running: list[_Sequence] = []
        self._next = 0

    def add(self, prompt: Sequence[int], sampling: SamplingOptions, grammar: Grammar) -> Handle:
        """Queues a sequence; its first id comes with the next `step`."""
        handle = Handle(self._next)
        self._next += 1
        pending = [*prompt, *grammar.forced()]
        self._running.append(_Sequence(handle, grammar, Sampler(sampling), pending))
        return handle

    def cancel(self, handle: Handle) -> None:
        """Drops a sequence; unknown handles, such as finished ones, are ignored."""
        for row, sequence in enumerate(self._running):
            if sequence.handle == handle:
                self._remove(row)
                return

    def step(self) -> dict[Handle, int]:
        """One sampled id for every running sequence; those whose grammar is done have left when this returns.

        A sequence whose grammar waits is left as it is, and missing in the result.
        Raises GenerationError when a sequence outgrows the model's positions, or the export lacks scores of its ids.
        """
        active = [row for row, sequence in enumerate(self._running) if not sequence.grammar.waiting]
        if not active:
            return {}
        for sequence in (self._running[row] for row in active):
            sequence.pending += sequence.grammar.forced()  # what it waited for
        self._reserve(set(active))
        hidden = self._advance(active)
        chosen: dict[Handle, int] = {}
        speaking = [self._running[row] for row in active]
        scored = self._heads.scores_of_each(hidden, [sequence.grammar.legal() for sequence in speaking])
        for sequence, (scores, ids) in zip(speaking, scored, strict=True):
            token = sequence.sampler.sample(scores, ids)
            sequence.grammar.accept(token)
            sequence.pending = [token, *sequence.grammar.forced()]
            chosen[sequence.handle] = token
        for row in reversed(range(len(self._running))):
            if self._running[row].grammar.done:
                self._remove(row)
        return chosen

    def logits(self, ids: Sequence[int]) -> Samples:
        """(n, vocabulary) float32 scores after each of the n ids: no grammar, no sampling. For diagnosis and tests.

        Raises GenerationError where the export has no full head.
        """
        return self._heads.full(self._decoder.states(ids))

    def scores(self, ids: Sequence[int], legal: IdSet) -> Samples:
        """The same for some ids alone, ascending. Raises GenerationError where the export has no scores of them."""
        return self._heads.scores(self._decoder.states(ids), legal)[0]

    def _reserve(self, active: Set[int]) -> None:
        """Room in the cache for what will be fed. One that waits keeps its place, and is judged when it goes on."""
        ends = (s.past + (len(s.pending) if row in active else 1) for row, s in enumerate(self._running))
        longest = max(ends)
        if longest > self.config.max_position_embeddings:
            raise GenerationError(
                f"The text and its speech need {longest} positions, more than the model's "
                f"{self.config.max_position_embeddings}: use a shorter text, transcript or clip."
            )
        self._decoder.reserve(len(self._running), longest, max(s.past for s in self._running))

    def _advance(self, active: list[int]) -> Floats:
        """Feeds what is pending. Returns (B, hidden), one row a sequence that does not wait.

        Chunks (prompts, forced ids) are fed alone, on their own rows; when others have a single id, a chunk's last id
        joins them.
        """
        together = any(len(self._running[row].pending) == 1 for row in active)
        hidden = []
        for row in active:
            sequence = self._running[row]
            chunk = sequence.pending[:-1] if together else sequence.pending
            if chunk:
                hidden.append(self._decoder.extend(chunk, row, sequence.past))
                sequence.past += len(chunk)
        return self._decode(active) if together else np.concatenate(hidden)

    def _decode(self, active: list[int]) -> Floats:
        """One id for every row of the cache in use: those that wait get the one that they will get again."""
        speaking = set(active)
        pending = [s.pending[-1 if row in speaking else 0] for row, s in enumerate(self._running)]
        hidden = self._decoder.decode(pending, [sequence.past for sequence in self._running])
        for row in active:
            self._running[row].past += 1
        return hidden if len(active) == len(hidden) else hidden[active]

    def _remove(self, row: int) -> None:
        """The last sequence takes the freed row, so that the running ones stay together."""
        last = self._running.pop()
        if row < len(self._running):
            if last.past:
                self._decoder.cache.move(len(self._running), row, last.past)
            self._running[row] = last
