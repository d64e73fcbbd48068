"""What every codec asks of clips and tokens before it computes anything."""

from __future__ import annotations

import numpy as np

from ..errors import AudioError, InvalidTokens
from .base import Samples, Tokens


def check_clip(audio: Samples, shortest: int) -> None:
    """Raises AudioError for what is no signal of at least `shortest` samples."""
    audio = np.asarray(audio)
    if audio.ndim != 1 or len(audio) < shortest:
        raise AudioError(f"The clip has {audio.size} samples, too few to hear anything: give a second of speech.")
    if not np.isfinite(audio).all():
        raise AudioError("The clip holds samples that are not numbers: export it again from its source.")


def check_tokens(tokens: Tokens, kind: str, limit: int, count: int | None = None) -> Tokens:
    """(n,) int64 tokens, all within 0..limit - 1. kind: semantic or global; count: how many there must be.

    Raises InvalidTokens.
    """
    array = np.asarray(tokens)
    if array.ndim != 1 or (count is None and not array.size):
        raise InvalidTokens(f"The {kind} tokens must be a flat list of at least one number, not shape {array.shape}.")
    if count is not None and len(array) != count:
        raise InvalidTokens(f"There are {len(array)} {kind} tokens, but this codec's voices have exactly {count}.")
    if not np.issubdtype(array.dtype, np.integer):
        raise InvalidTokens(f"The {kind} tokens must be whole numbers, not {array.dtype}.")
    if array.min() < 0 or array.max() >= limit:
        bad = array[(array < 0) | (array >= limit)][0]
        raise InvalidTokens(f"The {kind} token {bad} is outside 0..{limit - 1}: these tokens are of another codec.")
    return array.astype(np.int64)
