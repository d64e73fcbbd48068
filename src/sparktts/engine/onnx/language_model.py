"""The language model on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...checkpoint.config import LanguageModelConfig
from ..base import IdSet, Samples, Tokens
from ..sequences import SequenceModel
from .decoder import Decoder, spinning
from .graphs import GraphFiles, Graphs
from .heads import Heads
from .sessions import open_session
from .tables import DATA, PART, STACK, EmbeddingTable, form_of

Floats = npt.NDArray[np.float32]


class OnnxLanguageModel(SequenceModel[Floats]):
    """Exported graphs; implements engine.base.LanguageModel."""

    def __init__(self, config: LanguageModelConfig, decoder: Decoder, heads: Heads) -> None:
        super().__init__(config)
        self._decoder, self._heads = decoder, heads

    @classmethod
    def open(
        cls, config: LanguageModelConfig, files: GraphFiles, provider: str = "cpu", threads: int | None = None
    ) -> OnnxLanguageModel:
        """Of an exported model. threads: as in `open_session`. Raises CheckpointError, OptionError."""
        settings = files.section(PART)
        # Without an arena, what a long prompt needed is given back; decoding is as fast (measured).
        stack = open_session(files.file(STACK), threads, provider, arena=False, settings=spinning())
        table = EmbeddingTable(files.file(DATA), form_of(settings, "embedding"), config.vocab_size, config.hidden_size)
        return cls(config, Decoder(stack, config, table), Heads(settings, Graphs(files, provider, threads)))

    def beside(self) -> OnnxLanguageModel:
        """Another one with the same weights and sequences of its own: both may step at the same time."""
        return OnnxLanguageModel(self.config, self._decoder.beside(), self._heads)

    def logits(self, ids: Sequence[int]) -> Samples:
        """(n, vocabulary) float32 scores after each of the n ids: no grammar, no sampling. For diagnosis and tests.

        Raises GenerationError where the export has no full head.
        """
        return self._heads.full(self._decoder.states(ids))

    def scores(self, ids: Sequence[int], legal: IdSet) -> Samples:
        """The same for some ids alone, ascending. Raises GenerationError where the export has no scores of them."""
        return self._heads.scores(self._decoder.states(ids), legal)[0]

    def _reserve(self, rows: int, positions: int, used: int) -> None:
        self._decoder.reserve(rows, positions, used)

    def _extend(self, ids: Sequence[int], row: int, past: int) -> Floats:
        return self._decoder.extend(ids, row, past)

    def _decode(self, ids: Sequence[int], past: Sequence[int], wanted: Sequence[int]) -> Floats:
        hidden = self._decoder.decode(ids, past)
        return hidden if len(wanted) == len(ids) else hidden[list(wanted)]

    def _join(self, states: Sequence[Floats]) -> Floats:
        return np.concatenate(states)

    def _scores(self, hidden: Floats, legal: Sequence[IdSet]) -> list[tuple[Samples, Tokens]]:
        return self._heads.scores_of_each(hidden, legal)

    def _move(self, source: int, target: int, length: int) -> None:
        self._decoder.cache.move(source, target, length)
