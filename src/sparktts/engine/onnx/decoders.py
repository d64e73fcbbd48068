"""Frame vectors to samples: a network, and for decoders at the token rate numpy behind it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ...audio import spectra
from ...audio.source_filter import SourceFilter, SourceState
from ...checkpoint.config import Decoder, DecoderConfig, SourceFilterConfig, VocosConfig
from ..base import Samples
from .graphs import Graphs
from .wave import WaveDecoder


class FrameDecoder(Protocol):
    """One kind of decoder."""

    def decode(self, latents: Samples, start: int, stop: int, end: int, state: Any) -> tuple[Samples, Any]:
        """Samples (hop * (end - start),) of frames start..end, unbounded, and the state at frame `stop`.

        latents: (1, channels, T), start..end and the frames around them that influence them; state: at `start`, None
        at the beginning.
        """


def open_decoder(config: Decoder, graphs: Graphs) -> FrameDecoder:
    """The decoder that the configuration names."""
    if isinstance(config, DecoderConfig):
        return _Waves(config, graphs)
    if isinstance(config, VocosConfig):
        return _Spectra(config, graphs)
    return _Source(config, graphs)


class _Waves:
    def __init__(self, config: DecoderConfig, graphs: Graphs) -> None:
        self._decoder = WaveDecoder(config, graphs)

    def decode(self, latents: Samples, start: int, stop: int, end: int, state: Any) -> tuple[Samples, Any]:
        return self._decoder(latents, start, end), None


class _Spectra:
    def __init__(self, config: VocosConfig, graphs: Graphs) -> None:
        self._config, self._graphs = config, graphs

    def decode(self, latents: Samples, start: int, stop: int, end: int, state: Any) -> tuple[Samples, Any]:
        values = self._graphs.run("decoder", latents=latents)[0]
        samples = spectra.from_network(values, self._config.hop, self._config.n_fft)
        return samples[start * self._config.hop : end * self._config.hop], None


class _Source:
    def __init__(self, config: SourceFilterConfig, graphs: Graphs) -> None:
        c = config
        self._config, self._graphs = config, graphs
        self._source = SourceFilter(c.sample_rate, c.hop, c.n_fft, c.f0_min, c.f0_max, c.bands)
        self._around = -(-c.refiner.reach() // c.hop) if c.refiner else 0

    def decode(self, latents: Samples, start: int, stop: int, end: int, state: Any) -> tuple[Samples, Any]:
        values = self._graphs.run("decoder", latents=latents)[0]
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
            values: Samples = self._graphs.run("refiner", level=np.ascontiguousarray(level)[None], latents=latents)[0]
            return values

        return spectra.refine(samples, network, refiner.hop, refiner.n_fft)
