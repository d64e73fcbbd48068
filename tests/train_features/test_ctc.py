"""Forced alignment against trying every path, and reading off."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparktts.engine import ctc


def clip(rng: np.random.Generator, frames: int, outputs: int) -> np.ndarray:
    logits = rng.normal(size=(frames, outputs)).astype(np.float32)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def best_by_trying(log_probs: np.ndarray, symbols: list[int]) -> float | None:
    """The highest score of all sequences of outputs that are read off as the symbols."""
    frames, outputs = log_probs.shape
    scores = [
        float(log_probs[np.arange(frames), way].sum())
        for way in itertools.product(range(outputs), repeat=frames)
        if ctc.collapse(np.array(way)) == symbols
    ]
    return max(scores, default=None)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    clips=st.lists(
        st.tuples(st.integers(1, 6), st.lists(st.integers(1, 2), max_size=4)),
        min_size=1,
        max_size=4,
    ),
)
def test_viterbi_finds_the_best_of_all_paths(seed: int, clips: list[tuple[int, list[int]]]) -> None:
    rng = np.random.default_rng(seed)
    log_probs = [clip(rng, frames, 3) for frames, _ in clips]
    targets = [symbols for _, symbols in clips]
    for values, symbols, path in zip(log_probs, targets, ctc.viterbi(log_probs, targets), strict=True):
        expected = best_by_trying(values, symbols)
        if expected is None:
            assert path is None
            continue
        assert path is not None
        np.testing.assert_allclose(path.log_probs.sum(), expected, rtol=1e-5)
        outputs = np.zeros(len(values), np.int64)
        for symbol, start, end in zip(symbols, path.starts, path.ends, strict=True):
            assert start < end
            outputs[start:end] = symbol
        assert ctc.collapse(outputs) == symbols
        np.testing.assert_allclose(path.log_probs, values[np.arange(len(values)), outputs])


def test_a_batch_aligns_each_clip_as_if_alone() -> None:
    rng = np.random.default_rng(0)
    log_probs = [clip(rng, frames, 20) for frames in (40, 7, 90, 3)]
    targets = [list(rng.integers(1, 20, count)) for count in (12, 0, 30, 5)]
    together = ctc.viterbi(log_probs, targets)
    assert together[3] is None
    for values, symbols, path in zip(log_probs[:3], targets[:3], together[:3], strict=True):
        (alone,) = ctc.viterbi([values], [symbols])
        assert alone is not None
        assert path is not None
        np.testing.assert_array_equal(alone.starts, path.starts)
        np.testing.assert_array_equal(alone.ends, path.ends)


def test_no_clips_no_paths() -> None:
    assert ctc.viterbi([], []) == []


def test_collapse_merges_then_drops_blanks() -> None:
    assert ctc.collapse(np.array([0, 1, 1, 0, 1, 2, 2, 0])) == [1, 1, 2]
    assert ctc.collapse(np.array([])) == []


@given(st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_edit_distance_is_a_distance(first: str, second: str) -> None:
    distance = ctc.edit_distance(first, second)
    assert distance == ctc.edit_distance(second, first)
    assert (distance == 0) == (first == second)
    assert abs(len(first) - len(second)) <= distance <= max(len(first), len(second))


def test_edit_distance_counts_each_kind_of_change() -> None:
    assert ctc.edit_distance("kitten", "sitting") == 3
