"""The published waveform decoder in windows that threads decode side by side."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checkpoint.config import DecoderConfig
from ...windows import Window, windows
from ..base import Samples
from ..threads import thread_count
from .graphs import Graphs, run

# Tokens decoded at a time by one thread. Signals then stay in the processor's caches, and memory is bounded.
WINDOW = 48
SMALLEST_WINDOW = 6  # where there are more threads than work: context costs more than a smaller window saves
ACCELERATOR_WINDOW = 1500


class WaveDecoder:
    """Frame vectors to samples. One window runs on one thread, as operators of this size gain little from two."""

    def __init__(self, config: DecoderConfig, graphs: Graphs) -> None:
        self.config, self.graphs = config, graphs
        self.reach = config.reach()
        self._needed = graphs.files.section("decoder").integers("context", low=0)
        self._rates = np.cumprod(config.rates)
        self._threads = thread_count(graphs.threads) or 1 if graphs.provider == "cpu" else 1

    def decode(self, latents: Samples, start: int, stop: int, end: int, state: Any) -> tuple[Samples, Any]:
        """Samples (hop * (end - start),) of frames start..end; see FrameDecoder. There is no state."""
        return self._decode_in_parts(latents, start, end), None

    def _decode_in_parts(self, latents: Samples, start: int, stop: int) -> Samples:
        parts = list(self._windows(latents.shape[-1], start, stop))
        samples = np.empty((stop - start) * self.config.hop, np.float32)

        def decode(part: Window) -> None:
            piece = self._decode(latents, part)
            samples[(part.start - start) * self.config.hop : (part.stop - start) * self.config.hop] = piece

        if self._threads == 1 or len(parts) == 1:
            for part in parts:
                decode(part)
        else:
            list(self._pool.map(decode, parts))
        return samples

    def _windows(self, length: int, start: int, stop: int) -> list[Window]:
        """Of equal size, and as many of them as keep all threads busy to the end."""
        count = stop - start
        if self.graphs.provider != "cpu":
            number = math.ceil(count / ACCELERATOR_WINDOW)
        else:
            number = math.ceil(math.ceil(count / WINDOW) / self._threads) * self._threads
            number = max(1, min(number, count // SMALLEST_WINDOW))
        found = []
        for part in windows(count, math.ceil(count / number), 0):
            first, last = part.start + start, part.stop + start
            found.append(Window(first, last, max(0, first - self.reach), min(length, last + self.reach)))
        return found

    def _decode(self, latents: Samples, part: Window) -> Samples:
        left, right = part.start - part.first, part.last - part.stop
        kept = part.stop - part.start
        cuts = []
        for needed, rate in zip(self._needed, self._rates, strict=True):
            low, high = max(0, left - needed), max(0, right - needed)
            cuts.append((low * rate, (left + kept + right - high) * rate))
            left, right = left - low, right - high
        session = self.graphs.open("decoder", 1 if self.graphs.provider == "cpu" else None)
        window: npt.NDArray[np.float32] = latents[..., part.first : part.last]
        samples = run(session, {"latents": window, "cuts": np.array(cuts, np.int64)})[0]
        hop = self.config.hop
        kept_samples: Samples = samples[left * hop : (left + kept) * hop]
        return kept_samples

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="sparktts-wave")
