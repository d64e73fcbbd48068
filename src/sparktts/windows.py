"""Decoding of speech of any length in windows: bounded memory, the same samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from .engine.base import Codec, Samples, Tokens
from .errors import InvalidTokens, OptionError


@dataclass(frozen=True)
class Window:
    """Frames start..stop are computed from frames first..last, which include the context on each side."""

    start: int
    stop: int
    first: int
    last: int

    def keep(self, samples: Any, hop: int = 1) -> Any:
        """The part of (..., hop * (last - first)) samples that belongs to start..stop."""
        return samples[..., (self.start - self.first) * hop : (self.stop - self.first) * hop]


def windows(length: int, size: int, context: int) -> Iterator[Window]:
    """Covers 0..length by windows of at most `size` frames, equal to within one, `context` on each side."""
    count = -(-length // size)
    edges = [length * i // count for i in range(count + 1)]
    for start, stop in pairwise(edges):
        yield Window(start, stop, max(0, start - context), min(length, stop + context))


def decode_in_windows(codec: Codec, semantic: Tokens, speaker: Tokens, window: int = 600) -> Samples:
    """Waveform of an utterance of any length; the samples equal those of one decode to float rounding.

    semantic: (T,), speaker: (32,), window: tokens decoded at a time, not counting codec.context on each side.
    Returns (codec.hop * T,) float32. Raises InvalidTokens, OptionError.
    """
    if window < 1:
        raise OptionError(f"A decoding window must be at least 1 token, not {window}.")
    semantic = np.asarray(semantic)
    if semantic.ndim != 1 or not semantic.size:
        raise InvalidTokens("There are no semantic tokens to decode: pass at least one.")
    samples = np.empty(codec.hop * len(semantic), np.float32)
    state: Any = None
    for part in windows(len(semantic), window, codec.context):
        keep = (part.start - part.first, part.stop - part.first)
        decoded, state = codec.decode(semantic[part.first : part.last], speaker, state, keep)
        samples[part.start * codec.hop : part.stop * codec.hop] = part.keep(decoded, codec.hop)
    return samples
