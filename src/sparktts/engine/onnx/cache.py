"""Keys and values of several sequences, in buffers that the graph reads and writes in place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ...checkpoint.config import LanguageModelConfig
from ..sequences import grown

Floats = npt.NDArray[np.float32]

LEAST_CAPACITY = 512


class KeyValueCache:
    """Sequence b owns row b of every buffer; rows are whole in memory, so a run of them is a buffer of its own.

    keys, values: one (rows, kv_heads, capacity, head_dim) array a layer. Both grow by doubling and never shrink; pages
    that no position has reached yet take no memory.
    """

    def __init__(self, config: LanguageModelConfig) -> None:
        self._config = config
        self.rows = self.capacity = 0
        self.keys: list[Floats] = []
        self.values: list[Floats] = []

    def reserve(self, rows: int, capacity: int, used: int = 0) -> bool:
        """Makes room for that many sequences and positions. Returns whether the buffers were replaced.

        used: positions from the start that hold something in any row; only they are copied.
        """
        if rows <= self.rows and capacity <= self.capacity:
            return False
        rows = grown(self.rows, rows)
        capacity = grown(self.capacity, capacity, LEAST_CAPACITY)
        shape = (rows, self._config.num_key_value_heads, capacity, self._config.head_dim)
        for buffers in (self.keys, self.values):
            for layer in range(self._config.num_hidden_layers):
                new = np.zeros(shape, np.float32)
                if layer < len(buffers):
                    new[: self.rows, :, :used] = buffers[layer][:, :, :used]
                    buffers[layer] = new  # the old one goes before the next layer's new one comes
                else:
                    buffers.append(new)
        self.rows, self.capacity = rows, capacity
        return True

    def move(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of one row over another."""
        for buffers in (self.keys, self.values):
            for buffer in buffers:
                buffer[target, :, :length] = buffer[source, :, :length]

    def views(self, first: int, count: int) -> Iterator[tuple[str, Floats]]:
        """(name, buffer) of `count` rows: `key.0`, `value.0`, `key.1`, ..."""
        for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            yield f"key.{layer}", keys[first : first + count]
            yield f"value.{layer}", values[first : first + count]
