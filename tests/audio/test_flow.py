"""Joining utterances that arrive in parts: silence, levels, pauses, and no clicks, whatever the parts are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparktts.audio.flow import Flow
from sparktts.audio.join import join

RATE = 16000
Array = np.ndarray


def tone(seconds: float, level: float = 0.2, hertz: float = 220.0) -> Array:
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def quiet(seconds: float, level: float = 2e-4) -> Array:
    return (level * np.random.default_rng(0).standard_normal(round(seconds * RATE))).astype(np.float32)


def flowing(pieces: list[tuple[Array, float]], cut: int = 1600) -> tuple[Array, list[Array]]:
    """All of it, and what each utterance gave."""
    flow, given = Flow(RATE), []
    for samples, pause in pieces:
        flow.begin(pause)
        parts = [flow.add(samples[at : at + cut]) for at in range(0, len(samples), cut)]
        given.append(np.concatenate([*parts, flow.end(pause)]))
    return np.concatenate(given), given


def test_outer_silence_becomes_the_pause_and_inner_silence_stays() -> None:
    speech = [quiet(0.5), tone(0.5), quiet(0.7), tone(0.5), quiet(0.9)]
    whole, _ = flowing([(np.concatenate(speech), 0.35)])
    assert len(whole) / RATE == pytest.approx(0.02 + 0.5 + 0.7 + 0.5 + 0.02 + 0.35, abs=0.011)
    assert not whole[-round(0.3 * RATE) :].any() or np.abs(whole[-round(0.3 * RATE) :]).max() < 1e-3
    inner = np.abs(whole[round(0.6 * RATE) : round(1.1 * RATE)]).max()
    assert inner < 1e-3


def test_one_utterance_is_what_join_makes_of_it() -> None:
    speech = np.concatenate([quiet(0.2), tone(0.6), quiet(0.3)])
    whole, _ = flowing([(speech, 0.0)])
    joined = join([speech], [0.0], RATE)
    assert abs(len(whole) - len(joined)) <= RATE // 100
    core = slice(400, 9000)
    assert np.array_equal(whole[core], joined[core])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9000), min_size=1, max_size=8), st.floats(0, 0.6))
def test_what_comes_out_does_not_depend_on_the_parts(cuts: list[int], pause: float) -> None:
    speech = np.concatenate([quiet(0.1), tone(0.3), quiet(0.25), tone(0.2), quiet(0.4)])
    flow, parts, at = Flow(RATE), [], 0
    flow.begin(pause)
    for size in cuts:
        parts.append(flow.add(speech[at : at + size]))
        at += size
    parts += [flow.add(speech[at:]), flow.end(pause)]
    whole = np.concatenate(parts)
    expected, _ = flowing([(speech, pause)], cut=len(speech))
    assert abs(len(whole) - len(expected)) <= 2 * RATE // 100  # silence is measured in steps of 10 ms
    core = slice(800, 10_000)
    assert np.allclose(whole[core], expected[core], atol=1e-6)


def test_nothing_clicks_at_borders() -> None:
    loud = 0.5 * np.ones(RATE // 4, np.float32)  # begins and ends at full height
    whole, _ = flowing([(loud, 0.2), (loud, 0.1), (loud, 0.0)])
    assert np.abs(np.diff(whole)).max() < 0.02
    assert abs(whole[0]) < 0.02
    assert abs(whole[-1]) < 0.02


def test_later_utterances_take_the_level_of_the_first_as_far_as_it_is_known() -> None:
    first, soft = tone(1.0, 0.2), tone(1.0, 0.12)
    flow = Flow(RATE)
    flow.begin(0.1)
    kept = np.concatenate([flow.add(first), flow.end(0.1)])
    assert np.abs(kept).max() == pytest.approx(0.2, rel=1e-3)
    flow.begin(0.1)
    known = np.concatenate([flow.add(soft, whole=True), flow.end(0.1)])
    assert np.abs(known).max() == pytest.approx(0.2, rel=0.02)
    flow.begin(0.0)
    guessed = np.concatenate([flow.add(soft[:1600]), flow.add(soft[1600:]), flow.end(0.0)])
    assert 0.12 < np.abs(guessed).max() < 0.14
    assert np.abs(guessed[400:1500]).max() == pytest.approx(np.abs(guessed[4000:9000]).max(), rel=0.02)


def test_the_gain_is_limited_and_never_clips() -> None:
    peaky = tone(1.0, 0.02)
    peaky[4000] = 0.9
    for later in (tone(1.0, 0.01), peaky):
        flow = Flow(RATE)
        flow.begin(0.0)
        flow.add(tone(1.0, 0.5))
        flow.end(0.0)
        flow.begin(0.0)
        out = np.concatenate([flow.add(later, whole=True), flow.end(0.0)])
        assert np.abs(out[6000:9000]).max() <= 2.001 * np.abs(later[6000:9000]).max()
    assert 0.99 < np.abs(out).max() <= 1.0
    assert np.sum(np.abs(out) > 0.9) == 1  # the peak itself: nothing was clipped


def test_a_silent_utterance_leaves_its_pause() -> None:
    whole, given = flowing([(quiet(0.5, 1e-5), 0.3), (tone(0.2), 0.1), (np.zeros(0, np.float32), 0.2)])
    assert [len(part) / RATE for part in given] == pytest.approx([0.3, 0.3, 0.2], abs=0.011)
    assert np.isfinite(whole).all()


def test_sound_goes_out_at_once_but_for_what_the_fade_needs() -> None:
    flow = Flow(RATE)
    flow.begin(0.3)
    assert len(flow.add(tone(0.04))) == round(0.03 * RATE)
    assert flow.started
    flow.begin(0.3)
    assert not flow.started
    assert len(flow.add(quiet(0.5, 1e-5))) == 0
    assert not flow.started
