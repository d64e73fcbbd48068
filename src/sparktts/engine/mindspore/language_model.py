"""The language model on MindSpore: compiled steps over a static cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
from mindspore import Parameter, Tensor, ops

from ...checkpoint.layout import Checkpoint
from ..base import IdSet, Samples, Tokens
from ..sequences import SequenceModel, grown, one_product_each
from .qwen2 import Decoder, Floats, Stack
from .runtime import DTYPES, LOCK, number

LEAST_CAPACITY = 1024  # positions: 15 s of speech and its text, before anything is compiled anew
BUCKETS = (32, 128)  # lengths to which a chunk of a prompt is filled up; each is compiled once
FEWEST = 8  # a shorter chunk goes singly through the decode step

_matmul, _gather, _concat = ops.MatMul(transpose_b=True), ops.Gather(), ops.Concat(0)


class MindSporeLanguageModel(SequenceModel[Tensor]):
    """Qwen2 on a device; implements engine.base.LanguageModel.

    Single steps always run over every row of the cache: rows that are not fed get an id at the position that their next
    one takes, which writes over it.
    """

    def __init__(self, checkpoint: Checkpoint, dtype: str) -> None:
        super().__init__(checkpoint.lm)
        self._dtype = DTYPES[dtype]
        tensors = checkpoint.lm_tensors()
        rest: dict[str, Floats] = {}
        self._stack = Stack(self.config, _layers(tensors, rest), dtype)
        embedding = rest["model.embed_tokens.weight"]
        self._output = rest.get("lm_head.weight", embedding)
        self._table = Parameter(Tensor(embedding, self._dtype), name="embedding", requires_grad=False)
        self._norm = Parameter(Tensor(rest["model.norm.weight"]), name="norm", requires_grad=False)
        self._heads: dict[IdSet, tuple[Tensor, Tokens]] = {}
        self._decoder = self._make(1, min(LEAST_CAPACITY, self.config.max_position_embeddings))

    def logits(self, ids: Sequence[int]) -> Samples:
        """(n, vocabulary) float32 scores after each of the n ids: no grammar, no sampling. For diagnosis and tests."""
        with LOCK:
            alone = self._make(1, grown(LEAST_CAPACITY, len(ids) + BUCKETS[-1]))
            pieces = [hidden.asnumpy()[:count] for hidden, count in _chunks(alone, ids, 0, 0)]
        scores: Samples = np.concatenate(pieces) @ self._output.T
        return scores

    def _make(self, rows: int, capacity: int) -> Decoder:
        return Decoder(self.config, self._stack, self._table, self._norm, rows, capacity)

    def _reserve(self, rows: int, positions: int, used: int) -> None:
        old = self._decoder
        needed = positions + BUCKETS[-1]  # what fills a chunk up is written too
        if rows <= old.rows and needed <= old.capacity:
            return
        with LOCK:
            self._decoder = self._make(grown(old.rows, rows), grown(old.capacity, needed))
            for before, after in zip(
                (*old.keys, *old.values), (*self._decoder.keys, *self._decoder.values), strict=True
            ):
                heads, width = self.config.num_key_value_heads, self.config.head_dim
                larger = np.zeros((self._decoder.rows, heads, self._decoder.capacity, width), np.float32)
                larger[: old.rows, :, :used] = before.asnumpy().reshape(old.rows, heads, -1, width)[:, :, :used]
                after.set_data(Tensor(larger.reshape(-1, width)))

    def _extend(self, ids: Sequence[int], row: int, past: int) -> Tensor:
        with LOCK:
            if past and len(ids) < FEWEST:
                for offset, token in enumerate(ids):
                    hidden = self._single({row: token}, {row: past + offset})
                return _gather(hidden, number([row]), 0)
            *_, (hidden, count) = _chunks(self._decoder, ids, row, past)
            return _gather(hidden, number([count - 1]), 0)

    def _decode(self, ids: Sequence[int], past: Sequence[int], wanted: Sequence[int]) -> Tensor:
        with LOCK:
            hidden = self._single(dict(enumerate(ids)), dict(enumerate(past)))
            return _gather(hidden, number(list(wanted)), 0)

    def _single(self, ids: dict[int, int], past: dict[int, int]) -> Tensor:
        """(rows, hidden). ids, past: of the rows that are fed."""
        decoder = self._decoder
        held = [sequence.past for sequence in self._running]
        positions = [past.get(row, held[row] if row < len(held) else 0) for row in range(decoder.rows)]
        tokens = [ids.get(row, 0) for row in range(decoder.rows)]
        slots = _slots(decoder, np.arange(decoder.rows), np.array(positions)[:, None])
        return decoder.decode(number(tokens), number(positions), number(slots))

    def _join(self, states: Sequence[Tensor]) -> Tensor:
        return _concat(tuple(states))

    def _scores(self, hidden: Tensor, legal: Sequence[IdSet]) -> list[tuple[Samples, Tokens]]:
        def product(rows: list[int], ids: IdSet) -> tuple[Samples, Tokens]:
            head, numbers = self._head(ids)
            some = _gather(hidden, number(rows), 0).astype(self._dtype)
            return _matmul(some, head).astype("float32").asnumpy(), numbers

        with LOCK:
            return one_product_each(legal, product)

    def _head(self, ids: IdSet) -> tuple[Tensor, Tokens]:
        """The rows of the output head for these ids, kept: while speaking that is 8,193 rows of 166,000."""
        if ids not in self._heads:
            numbers = ids.ids
            self._heads[ids] = (Tensor(self._output[numbers], self._dtype), numbers)
        return self._heads[ids]

    def _move(self, source: int, target: int, length: int) -> None:
        # Whole rows, so that it is compiled once. Not outside a graph: there MindSpore 2.10 never finishes the update.
        everything = np.arange(self._decoder.capacity)[None]
        slots = [number(_slots(self._decoder, np.array([row]), everything)) for row in (source, target)]
        with LOCK:
            self._decoder.move(*slots)


def _chunks(decoder: Decoder, ids: Sequence[int], row: int, past: int) -> Iterator[tuple[Tensor, int]]:
    """Feeds ids to a row in chunks, each filled up to one of a few lengths. Yields (bucket, hidden) and the count."""
    while ids:
        bucket = next((size for size in BUCKETS if size >= len(ids)), BUCKETS[-1])
        chunk, ids = list(ids[:bucket]), ids[bucket:]
        positions = np.arange(past, past + bucket)
        slots = _slots(decoder, np.array([row]), positions[None])
        filled = [*chunk, *[0] * (bucket - len(chunk))]
        yield decoder.prefill(number(filled), number(positions), number(slots), number([row])), len(chunk)
        past += len(chunk)


def _slots(decoder: Decoder, rows: npt.NDArray[np.integer], positions: npt.NDArray[np.integer]) -> Tokens:
    """Where each row's positions lie, head by head. rows: (R,); positions: (R, T) -> (R * kv_heads * T,)."""
    first = (rows[:, None] * decoder.kv_heads + np.arange(decoder.kv_heads)) * decoder.capacity
    slots: Tokens = (first[:, :, None] + positions[:, None]).reshape(-1)
    return slots


def _layers(tensors: Iterator[tuple[str, Floats]], rest: dict[str, Floats]) -> Iterator[dict[str, Floats]]:
    """The tensors of each layer, in order; all others go to `rest`."""
    for layer, group in groupby(tensors, key=lambda item: _layer_of(item[0])):
        if layer is None:
            rest.update(group)
        else:
            yield {name.split(".", 3)[3]: array for name, array in group}


def _layer_of(name: str) -> int | None:
    parts = name.split(".")
    return int(parts[2]) if parts[1] == "layers" else None
