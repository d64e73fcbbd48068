"""Faster and slower sound at the same pitch, part by part."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import OptionError
from .samples import Samples

SLOWEST, FASTEST = 0.25, 4.0
_LEAST = 0.5  # of one filter; slower takes two


class Stretch:
    """Time-stretching by FFmpeg's atempo filter (overlapping windows of the waveform)."""

    def __init__(self, sample_rate: int, speed: float) -> None:
        """speed: 2 is twice as fast. Raises OptionError."""
        import av.filter

        if not SLOWEST <= speed <= FASTEST:
            raise OptionError(f"The speed is from {SLOWEST:g} to {FASTEST:g}, not {speed:g}.")
        self._rate, self._written = sample_rate, 0
        self._graph = graph = av.filter.Graph()  # its filters do not keep it alive
        self._source = graph.add_abuffer(sample_rate=sample_rate, format="flt", layout="mono")
        chain = [self._source, *(graph.add("atempo", f"{factor:.6f}") for factor in _factors(speed))]
        self._sink = graph.add("abuffersink")
        graph.link_nodes(*chain, self._sink).configure()

    def add(self, samples: Samples) -> Samples:
        """What the next (N,) samples let out; some of it may come later."""
        import av

        if samples.size:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32)[None], "flt", "mono")
            frame.sample_rate, frame.pts = self._rate, self._written
            self._written += samples.size
            self._source.push(frame)
        return self._taken()

    def end(self) -> Samples:
        """The rest."""
        if self._written:
            self._source.push(None)
        return self._taken()

    def _taken(self) -> Samples:
        parts = list(self._frames())
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _frames(self) -> Iterator[Samples]:
        import av

        while True:
            try:
                frame = self._sink.pull()
                assert isinstance(frame, av.AudioFrame)
                yield frame.to_ndarray()[0].astype(np.float32)
            except (av.error.BlockingIOError, av.error.EOFError):
                return


def _factors(speed: float) -> tuple[float, ...]:
    return (speed,) if speed >= _LEAST else (_LEAST, speed / _LEAST)
