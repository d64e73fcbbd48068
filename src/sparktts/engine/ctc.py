"""Connectionist temporal classification (CTC) on numpy: forced alignment, reading off, edit distance.

Output 0 is the blank. Source: Graves et al., ICML 2006.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
BLANK = 0


@dataclass(frozen=True)
class Path:
    """The likeliest way through one clip. Frames are half open: symbol i sounds in starts[i]:ends[i].

    starts, ends: (L,); log_probs: (T,) log-probability of the output taken at each frame.
    """

    starts: Integers
    ends: Integers
    log_probs: Floats


def viterbi(log_probs: Sequence[Floats], targets: Sequence[Sequence[int]]) -> list[Path | None]:
    """The likeliest alignment of each clip; None where the frames are too few for the symbols.

    log_probs: (T, outputs) of each clip; targets: symbols of each clip, none of them the blank. The clips are aligned
    together, so a batch of clips of like length costs little more than one clip.
    """
    if not log_probs:
        return []
    lengths = np.array([len(clip) for clip in log_probs])
    counts = np.array([len(symbols) for symbols in targets])
    states, skips = _states(targets, int(counts.max()))
    scores = _emissions(log_probs, states, int(lengths.max()))
    choices, finals = _forward(scores, skips, lengths, counts)
    ways = _backward(choices, finals, lengths)
    found: list[Path | None] = []
    for clip, (length, count) in enumerate(zip(lengths, counts, strict=True)):
        way = ways[clip, :length]
        if length == 0 or finals[clip] < 0:
            found.append(None)
            continue
        wanted = 2 * np.arange(count) + 1
        taken = scores[np.arange(length), clip, way]
        found.append(Path(np.searchsorted(way, wanted), np.searchsorted(way, wanted, "right"), taken))
    return found


def collapse(outputs: npt.NDArray[Any]) -> list[int]:
    """The symbols that a sequence of outputs, one per frame, stands for: repetitions merged, then blanks dropped."""
    if not len(outputs):
        return []
    changed = np.concatenate([[True], outputs[1:] != outputs[:-1]])
    return [int(output) for output in outputs[changed] if output != BLANK]


def edit_distance(first: Sequence[Any], second: Sequence[Any]) -> int:
    """Fewest insertions, deletions and substitutions that make one sequence of the other."""
    row = list(range(len(second) + 1))
    for i, one in enumerate(first, start=1):
        corner, row[0] = row[0], i
        for j, other in enumerate(second, start=1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (one != other))
    return row[-1]


def _states(targets: Sequence[Sequence[int]], longest: int) -> tuple[Integers, Floats]:
    """(B, S) output of each state: blanks around every symbol; (B, S) 0 where the blank before may be skipped."""
    states = np.full((len(targets), 2 * longest + 1), BLANK, np.int64)
    for row, symbols in zip(states, targets, strict=True):
        row[1 : 2 * len(symbols) : 2] = symbols
    skips = np.full(states.shape, -np.inf, np.float32)
    skips[:, 3::2] = np.where(states[:, 3::2] != states[:, 1:-2:2], 0.0, -np.inf)
    return states, skips


def _emissions(log_probs: Sequence[Floats], states: Integers, longest: int) -> Floats:
    """(T, B, S) log-probability of every state's output at every frame; what lies behind a clip's end is 0."""
    scores = np.zeros((longest, *states.shape), np.float32)
    for clip, values in enumerate(log_probs):
        scores[: len(values), clip] = values[:, states[clip]]
    return scores


def _forward(
    scores: Floats, skips: Floats, lengths: npt.NDArray[Any], counts: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int8], Integers]:
    """(T, B, S) states gone forward to arrive in each state, and (B,) last states, -1 where none can be reached."""
    frames, clips, states = scores.shape
    choices = np.zeros(scores.shape, np.int8)
    padded = np.full((clips, states + 2), -np.inf, np.float32)  # two columns that nothing comes from
    padded[:, 2:4] = 0.0
    finals = np.full(clips, -1, np.int64)
    rows = np.arange(clips)
    last = 2 * counts  # the blank behind the last symbol
    for frame in range(frames):
        if frame:
            stay, step, skip = padded[:, 2:], padded[:, 1:-1], padded[:, :-2] + skips
            best = np.maximum(stay, step)
            choices[frame] = step > stay
            choices[frame][skip > best] = 2
            padded[:, 2:] = np.maximum(best, skip)
        padded[:, 2:] += scores[frame]
        if frame == 0:
            padded[:, 4:] = -np.inf
        ending = lengths == frame + 1
        if ending.any():
            blank, symbol = padded[rows, 2 + last], padded[rows, 1 + last]  # with no symbols: the empty column
            end = np.where(symbol > blank, last - 1, last)
            reached = np.maximum(blank, symbol) > -np.inf
            finals = np.where(ending & reached, end, finals)
    return choices, finals


def _backward(choices: npt.NDArray[np.int8], finals: Integers, lengths: npt.NDArray[Any]) -> Integers:
    """(B, T) the state of each frame."""
    frames, clips, _ = choices.shape
    ways = np.zeros((clips, frames), np.int64)
    rows, state = np.arange(clips), np.maximum(finals, 0)
    for frame in range(frames - 1, -1, -1):
        ways[:, frame] = state
        state = np.where(frame < lengths, state - choices[frame, rows, state], state)
    return ways
