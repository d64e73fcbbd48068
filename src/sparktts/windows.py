"""Decoding of speech in windows: of any length in bounded memory, or while its tokens still arrive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from .engine.base import Codec, Samples, Tokens
from .errors import InvalidTokens, OptionError

FADE_SECONDS = 0.005  # over which a window with little look-ahead passes into the next one


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


@dataclass(frozen=True)
class Piece:
    """What one window of a `GrowingDecode` gives; it counts when it is `accept`ed.

    samples: those of the tokens start..stop; decoded: tokens that went through the codec; state: its one at `stop`;
    beyond: samples after `stop`, computed with too little right context to be final.
    """

    samples: Samples
    start: int
    stop: int
    decoded: int
    state: Any
    beyond: Samples


class GrowingDecode:
    """One utterance, decoded in windows of the caller's choice while its tokens arrive; each sample is given once.

    A window has as much context to its right as is known and matters. With `codec.context` tokens on each side, or an
    end of the utterance, the samples are those of one decode, to float rounding. With less they are near them, and
    where two windows meet the earlier one fades into the later one.
    """

    def __init__(self, codec: Codec, speaker: Tokens, left: int | None = None) -> None:
        """speaker: (32,) codes; left: tokens of context before a window, None: all that matter."""
        self._codec, self._speaker = codec, speaker
        self._left = codec.context if left is None else min(left, codec.context)
        self._fade = round(FADE_SECONDS * codec.sample_rate)
        self._state: Any = None
        self._beyond = np.zeros(0, np.float32)
        self.start = 0  # tokens whose samples have been accepted

    def window(self, semantic: Tokens, stop: int, finished: bool) -> Piece:
        """Decodes up to token `stop`, which must be above `start`. Changes nothing.

        semantic: (T,) all tokens so far, T >= stop; finished: no more will come. Raises InvalidTokens.
        """
        context = self._codec.context
        first, last = max(0, self.start - self._left), min(len(semantic), stop + context)
        keep = (self.start - first, stop - first)
        decoded, state = self._codec.decode(semantic[first:last], self._speaker, self._state, keep)
        hop = self._codec.hop
        samples = decoded[keep[0] * hop : keep[1] * hop]
        size = min(len(self._beyond), len(samples))
        if size:
            rising = np.arange(1, size + 1, dtype=np.float32) / np.float32(size + 1)
            samples = samples.copy()
            samples[:size] = samples[:size] * rising + self._beyond[:size] * (1 - rising)
        final = self._left == context and (last - stop >= context or (finished and last == len(semantic)))
        beyond = decoded[keep[1] * hop : keep[1] * hop + (0 if final else self._fade)]
        return Piece(samples, self.start, stop, last - first, state, beyond.copy())

    def accept(self, piece: Piece) -> None:
        """The piece is used: the next window begins where it ends."""
        self.start, self._state, self._beyond = piece.stop, piece.state, piece.beyond
