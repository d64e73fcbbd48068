"""Sampling: the options mean what they say, and a seed repeats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparktts.errors import OptionError
from sparktts.sampling import Sampler, SamplingOptions, _largest

IDS = np.arange(500, 520, dtype=np.int64)
SCORES = np.random.default_rng(0).normal(size=20).astype(np.float32) * 2


def draws(options: SamplingOptions, count: int = 4000) -> np.ndarray:
    sampler = Sampler(options)
    return np.array([sampler.sample(SCORES, IDS) for _ in range(count)])


def test_temperature_zero_takes_the_best() -> None:
    assert set(draws(SamplingOptions(temperature=0.0), 5)) == {IDS[SCORES.argmax()]}


@pytest.mark.filterwarnings("error")
def test_the_smallest_temperature_takes_the_best() -> None:
    assert set(draws(SamplingOptions(temperature=1e-300), 5)) == {IDS[SCORES.argmax()]}


def test_a_seed_repeats_and_another_differs() -> None:
    first, again, other = (draws(SamplingOptions(seed=seed), 50) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_top_k_keeps_the_k_best() -> None:
    best = set(IDS[np.argsort(-SCORES)[:3]])
    assert set(draws(SamplingOptions(temperature=3.0, top_k=3, top_p=1.0, seed=0))) == best


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    weights = np.exp(SCORES - SCORES.max())
    order = np.argsort(-SCORES)
    count = int(np.searchsorted(np.cumsum(weights[order]) / weights.sum(), 0.7)) + 1
    assert set(draws(SamplingOptions(temperature=1.0, top_k=0, top_p=0.7, seed=0))) == set(IDS[order[:count]])


def test_frequencies_follow_the_softmax() -> None:
    chosen = draws(SamplingOptions(temperature=1.0, top_k=0, top_p=1.0, seed=3), 20_000)
    expected = np.exp(SCORES - SCORES.max())
    expected /= expected.sum()
    counted = np.array([(chosen == token).mean() for token in IDS])
    assert np.abs(counted - expected).max() < 0.02


def test_repetition_penalty_lowers_what_was_said() -> None:
    sampler = Sampler(SamplingOptions(temperature=0.0, repetition_penalty=5.0))
    scores = np.array([2.0, 1.9, -1.0], dtype=np.float32)
    ids = np.array([7, 8, 9])
    assert [sampler.sample(scores, ids) for _ in range(3)] == [7, 8, 7]


@settings(deadline=None)
@given(
    st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=60),
    st.integers(0, 70),
    st.floats(0.01, 1.0),
    st.floats(0.0, 5.0),
)
def test_only_given_ids_come_out(scores: list[float], top_k: int, top_p: float, temperature: float) -> None:
    ids = np.arange(len(scores), dtype=np.int64) * 3
    sampler = Sampler(SamplingOptions(temperature=temperature, top_k=top_k, top_p=top_p, seed=0))
    for _ in range(5):
        assert sampler.sample(np.array(scores, dtype=np.float32), ids) in ids


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0},
        {"top_p": 1.5},
        {"seed": -1},
        {"seed": "7"},
        {"seed": 1.5},
    ],
)
def test_senseless_options_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        SamplingOptions(**bad)  # type: ignore[arg-type]


@given(
    st.lists(st.floats(-60, 60, width=32), min_size=1, max_size=300),
    st.integers(0, 320),
)
def test_the_largest_are_found_as_by_sorting_all(scores: list[float], count: int) -> None:
    logits = np.array(scores, np.float32)
    expected = np.argsort(-logits, kind="stable")[: count or None]
    assert np.array_equal(_largest(logits, count), expected)
