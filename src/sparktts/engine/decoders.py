"""Frame vectors to samples by decoders at the token rate: a network, and numpy behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..audio import spectra
from ..audio.source_filter import SourceFilter, SourceState
from ..checkpoint.config import SourceFilterConfig, VocosConfig
from .base import Samples

Run = Callable[[str, Mapping[str, npt.NDArray[Any]]], npt.NDArray[Any]]  # a network by name


class FrameDecoder(Protocol):
    """One kind of decoder."""

    def decode(self, latents: Samples, start: int, stop: int, end: int, state: Any) -> tuple[Samples, Any]:
        """Samples (hop * (end - start),) of frames start..end, unbounded, and the state at frame `stop`.

        latents: (1, channels, T), start..end and the frames around them that influence them; state: at `start`, None
        at the beginning.
        """


def token_rate_decoder(config: VocosConfig | SourceFilterConfig, run: Run) -> FrameDecoder:
    """The decoder that the configuration names. run: as NetworkCodec.run."""
    return _Spectra(config, run) if isinstance(config, VocosConfig) else _Source(config, run)


class _Spectra:
    def __init__(self, config: VocosConfig, run: Run) -> None:
        self._config, self._run = config, run

    def decode(self, latents: Samples, start: int, stop: int, end: int, state: Any) -> tuple[Samples, Any]:
        values = self._run("decoder", {"latents": latents})[0]
        samples = spectra.from_network(values, self._config.hop, self._config.n_fft)
        return samples[start * self._config.hop : end * self._config.hop], None


class _Source:
    def __init__(self, config: SourceFilterConfig, run: Run) -> None:
        c = config
        self._config, self._run = config, run
        self._source = SourceFilter(c.sample_rate, c.hop, c.n_fft, c.f0_min, c.f0_max, c.bands)
        self._around = -(-c.refiner.reach() // c.hop) if c.refiner else 0

    def decode(self, latents: Samples, start: int, stop: int, end: int, state: Any) -> tuple[Samples, Any]:
        values = self._run("decoder", {"latents": latents})[0]
        around = self._around + end - stop
        samples, after = self._source.decode(values, state or SourceState(), start, stop, around)
        first, last = max(0, start - around), min(len(values), stop + around)
        if self._config.refiner is not None:
            samples = self._refined(samples, latents[..., first:last])
        hop = self._config.hop
        return samples[(start - first) * hop : (end - first) * hop], after

    def _refined(self, samples: Samples, latents: Samples) -> Samples:
        refiner = self._config.refiner
        assert refiner is not None

        def network(level: Samples) -> Samples:
            values: Samples = self._run("refiner", {"level": np.ascontiguousarray(level)[None], "latents": latents})[0]
            return values

        return spectra.refine(samples, network, refiner.hop, refiner.n_fft)
