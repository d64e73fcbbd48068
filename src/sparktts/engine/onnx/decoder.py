"""The decoder stack in ONNX Runtime: ids in, hidden states out, keys and values written where they stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checkpoint.config import LanguageModelConfig
from .cache import KeyValueCache
from .sessions import onnxruntime
from .tables import EmbeddingTable

Floats = npt.NDArray[np.float32]

# Positions of a prompt computed at a time. Fewer take less memory, more are not faster (measured from 64 to 512).
CHUNK = 128
WORD = 16  # positions of a chunk at most whose buffers are kept bound: words that come on demand have so few
# Microseconds that a thread of the pool waits awake for the next operator. A step has 170 of them, and falling asleep
# between them costs a quarter of its time; without this limit threads take the cores from whatever runs beside it.
SPIN = 50
SPIN_SINCE = (1, 26)  # older versions know no limit: there threads sleep at once
LAST, ALL = -1, 0  # the first position whose state is wanted
FIRST = {number: np.array([number], np.int64) for number in (LAST, ALL)}
SPINNING = {"session.intra_op.allow_spinning": "1", "session.intra_op.spin_duration_us": str(SPIN)}


def spinning() -> dict[str, str]:
    """Session settings for a graph of many small operators."""
    version = tuple(int(part) for part in onnxruntime().__version__.split(".")[:2])
    return SPINNING if version >= SPIN_SINCE else {}


@dataclass(frozen=True)
class _Bound:
    """Arrays whose memory a run reads and writes, and the binding that holds their addresses."""

    binding: Any
    embedded: Floats
    lengths: npt.NDArray[np.int32]
    hidden: Floats


class Decoder:
    """Runs the stack on rows of a cache. Not thread-safe.

    Buffers are bound by address, for single ids and short chunks once for each run of rows: nothing is copied or
    allocated for a token.
    """

    def __init__(self, session: Any, config: LanguageModelConfig, table: EmbeddingTable) -> None:
        self._session, self._config, self._table = session, config, table
        self.cache = KeyValueCache(config)
        self._kept: dict[tuple[int, int, int], _Bound] = {}
        self._total = np.zeros(1, np.int32)

    def beside(self) -> Decoder:
        """Another one with the same weights and a cache of its own: both may run at the same time."""
        return Decoder(self._session, self._config, self._table)

    def reserve(self, rows: int, capacity: int, used: int) -> None:
        """Makes room in the cache. used: positions that hold something in any row."""
        if self.cache.reserve(rows, capacity, used):
            self._kept.clear()

    def extend(self, ids: Sequence[int], row: int, past: int) -> Floats:
        """Feeds a chunk to one sequence, whose row holds `past` positions. ids: (T,) -> (1, hidden) of the last id."""
        for start in range(0, len(ids), CHUNK):
            hidden = self._run(row, [ids[start : start + CHUNK]], [past + start], LAST)
        return hidden[:, 0]

    def decode(self, ids: Sequence[int], past: Sequence[int]) -> Floats:
        """One id for each of the first B rows. ids: (B,), past: (B,) positions that each row holds -> (B, hidden)."""
        return self._run(0, [[token] for token in ids], past, LAST)[:, 0]

    def states(self, ids: Sequence[int]) -> Floats:
        """A sequence by itself, on a cache of its own. ids: (n,) -> (n, hidden)."""
        alone = self.beside()
        alone.reserve(1, len(ids), 0)
        starts = range(0, len(ids), CHUNK)
        return np.concatenate([alone._run(0, [ids[start : start + CHUNK]], [start], ALL)[0] for start in starts])

    def _run(self, row: int, ids: Sequence[Sequence[int]], past: Sequence[int], first: int) -> Floats:
        """ids: (B, T) for the rows from `row` on. first: LAST or ALL positions. Returns (B, 1 or T, hidden)."""
        batch, count = len(ids), len(ids[0])
        place = row, batch, count
        if count > WORD or first != LAST:
            bound = self._bind(row, batch, count, first)
        elif place in self._kept:
            bound = self._kept[place]
        else:
            bound = self._kept[place] = self._bind(row, batch, count, LAST)
        bound.embedded[:] = self._table.rows([token for line in ids for token in line]).reshape(batch, count, -1)
        bound.lengths[:] = np.asarray(past) + (count - 1)
        self._total[0] = bound.lengths.max() + 1
        self._session.run_with_iobinding(bound.binding)
        return bound.hidden.copy()

    def _bind(self, row: int, batch: int, count: int, first: int) -> _Bound:
        """New buffers for (batch, count) ids, and the rows' part of the cache, as input and as output at once."""
        width = self._config.hidden_size
        binding = self._session.io_binding()
        bound = _Bound(
            binding,
            embedded=np.empty((batch, count, width), np.float32),
            lengths=np.empty(batch, np.int32),
            hidden=np.empty((batch, count if first == ALL else 1, width), np.float32),
        )
        inputs: dict[str, npt.NDArray[Any]] = {
            "inputs_embeds": bound.embedded,
            "seqlens_k": bound.lengths,
            "total": self._total,
            "first": FIRST[first],
        }
        outputs: dict[str, npt.NDArray[Any]] = {"hidden": bound.hidden}
        for name, buffer in self.cache.views(row, batch):
            inputs[f"past_{name}"] = outputs[f"present_{name}"] = buffer
        for name, array in inputs.items():
            _bind(binding.bind_input, name, array)
        for name, array in outputs.items():
            _bind(binding.bind_output, name, array)
        return bound


def _bind(bind: Any, name: str, array: npt.NDArray[Any]) -> None:
    """Binds an array's memory, which must outlive the binding's runs."""
    assert array.flags.c_contiguous
    bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
