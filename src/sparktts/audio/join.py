"""Joining utterances into one speech: equal loudness, real pauses, no clicks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import AudioError
from .samples import Samples
from .silence import active_frames, frame_size, trim_silence

KEEP = 0.02  # seconds of its own silence that a piece keeps on each side
FADE = 0.005  # seconds
ROUNDING = 0.001  # seconds, of the places in a report
MOST_GAIN = 2.0  # 6 dB up or down: more would be heard as a change of voice


def join(pieces: Sequence[Samples], pauses: Sequence[float], sample_rate: int) -> Samples:
    """One signal of several pieces.

    pieces: (N_i,) float32 each at sample_rate Hz, whose outer silence is trimmed and whose level is matched;
    pauses: seconds of silence after each piece; the one after the last piece may be left out. Silent pieces
    vanish, their pauses stay. Returns (N,) float32. Raises AudioError for another number of pauses or a
    negative one.
    """
    return join_timed(pieces, pauses, sample_rate)[0]


def join_timed(
    pieces: Sequence[Samples], pauses: Sequence[float], sample_rate: int
) -> tuple[Samples, list[tuple[float, float]]]:
    """The same, and where each piece begins and ends in it, in seconds."""
    if len(pauses) not in (len(pieces), max(0, len(pieces) - 1)):
        raise AudioError(f"{len(pieces)} pieces have {len(pauses)} pauses; give one pause after each piece.")
    if any(not 0.0 <= pause < float("inf") for pause in pauses):
        raise AudioError("A pause is negative or not a number; give seconds of 0 or more.")
    trimmed = [trim_silence(piece, sample_rate, KEEP) for piece in pieces]
    gains = _gains(trimmed, sample_rate)
    parts: list[Samples] = []
    spans: list[tuple[float, float]] = []
    at = 0
    for index, (piece, gain) in enumerate(zip(trimmed, gains, strict=True)):
        silence = round(pauses[index] * sample_rate) if index < len(pauses) else 0
        parts += [_faded(piece * np.float32(gain), sample_rate), np.zeros(silence, np.float32)]
        spans.append((at / sample_rate, (at + piece.size) / sample_rate))
        at += piece.size + silence
    return np.concatenate(parts) if parts else np.zeros(0, np.float32), spans


def exchange(
    whole: Samples, span: tuple[float, float], piece: Samples, sample_rate: int
) -> tuple[Samples, tuple[float, float]]:
    """A joined speech with another piece in the place of one of its own, and where that now begins and ends.

    whole: (N,); span: the old piece, in seconds, as exact as a report tells it; piece: (M,), whose outer silence is
    trimmed and whose level is matched to that of all else. The pauses around it stay. Raises AudioError for a span
    outside of the speech.
    """
    begin, end = (round(second * sample_rate) for second in span)
    if not 0 <= begin <= end <= whole.size + ROUNDING * sample_rate:
        raise AudioError(f"There is no piece from {span[0]:g} to {span[1]:g} s in {whole.size / sample_rate:g} s.")
    rest = np.concatenate([whole[:begin], whole[end:]])
    trimmed = trim_silence(piece, sample_rate, KEEP)
    usual = _active_rms(rest, sample_rate) or _active_rms(whole[begin:end], sample_rate)
    if usual:
        trimmed = trimmed * np.float32(_gain(trimmed, _active_rms(trimmed, sample_rate), usual))
    new = _faded(trimmed, sample_rate)
    return np.concatenate([whole[:begin], new, whole[end:]]), (begin / sample_rate, (begin + new.size) / sample_rate)


def _gains(pieces: Sequence[Samples], sample_rate: int) -> list[float]:
    """Factor for each piece that brings its speech to the median level, limited and without clipping."""
    levels = [_active_rms(piece, sample_rate) for piece in pieces]
    audible = [level for level in levels if level > 0.0]
    if not audible:
        return [1.0] * len(pieces)
    median = float(np.median(audible))
    return [_gain(piece, level, median) for piece, level in zip(pieces, levels, strict=True)]


def _gain(piece: Samples, level: float, median: float) -> float:
    if level == 0.0:
        return 1.0
    gain = min(max(median / level, 1.0 / MOST_GAIN), MOST_GAIN)
    headroom = 1.0 / float(np.abs(piece).max())
    return min(gain, max(1.0, headroom))  # louder only as far as the peak allows


def _active_rms(piece: Samples, sample_rate: int) -> float:
    """RMS of the frames with sound; 0 without any."""
    active = np.repeat(active_frames(piece, sample_rate), frame_size(sample_rate))[: piece.size]
    return float(np.sqrt(np.mean(np.square(piece[active], dtype=np.float64)))) if active.any() else 0.0


def _faded(piece: Samples, sample_rate: int) -> Samples:
    """The piece rising from zero and falling to zero within some milliseconds."""
    length = min(round(FADE * sample_rate), piece.size // 2)
    if length == 0:
        return piece
    ramp = (0.5 - 0.5 * np.cos(np.pi * np.arange(length) / length)).astype(np.float32)
    faded = piece.copy()
    faded[:length] *= ramp
    faded[-length:] *= ramp[::-1]
    return faded
