"""Decoding steps recorded as CUDA graphs: one token of a 24-layer model is bound by kernel launches, not arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .qwen2 import KeyValueCache, Qwen2

SPAN_STEP = 256  # positions; a recording serves every span up to its own


@dataclass
class _Recording:
    graph: torch.cuda.CUDAGraph
    ids: Tensor
    positions: Tensor
    hidden: Tensor


class DecodeGraphs:
    """Recordings of `Qwen2.decode`, one for each (batch, span) bucket, made on first use."""

    def __init__(self, model: Qwen2, cache: KeyValueCache) -> None:
        self._model, self._cache = model, cache
        self._recordings: dict[tuple[int, int], _Recording] = {}

    def clear(self) -> None:
        """Forgets all recordings: they hold the addresses of the cache they were made with."""
        self._recordings.clear()

    def decode(self, ids: Tensor, positions: Tensor, span: int) -> Tensor:
        """As Qwen2.decode: ids, positions: (B,) -> (B, hidden)."""
        count = ids.shape[0]
        bucket = bucket_of(count, span, self._cache.capacity)
        if bucket not in self._recordings:
            with torch.cuda.device(ids.device):
                self._recordings[bucket] = self._record(*bucket)
        recording = self._recordings[bucket]
        recording.ids[:count].copy_(ids)
        recording.positions[:count].copy_(positions)
        recording.graph.replay()
        return recording.hidden[:count].clone()

    def _record(self, batch: int, span: int) -> _Recording:
        # Padding rows write position 0 of rows that no sequence owns, which the next owner overwrites.
        device = self._cache.keys[0].device
        ids = torch.zeros(batch, dtype=torch.int64, device=device)
        positions = torch.zeros(batch, dtype=torch.int64, device=device)
        saved = [tensor[:batch, :, :1].clone() for tensor in (*self._cache.keys, *self._cache.values)]
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # lets libraries allocate their workspaces before the recording
                self._model.decode(ids, positions, self._cache, span)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            hidden = self._model.decode(ids, positions, self._cache, span)
        for tensor, first in zip((*self._cache.keys, *self._cache.values), saved, strict=True):
            tensor[:batch, :, :1] = first
        return _Recording(graph, ids, positions, hidden)


def bucket_of(batch: int, span: int, capacity: int) -> tuple[int, int]:
    """The recording that serves a call: batch rounded up to a power of two, span to a multiple of SPAN_STEP."""
    return 1 << (batch - 1).bit_length(), min(-(-span // SPAN_STEP) * SPAN_STEP, capacity)
