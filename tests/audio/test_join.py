from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparktts.audio.join import exchange, join, join_timed
from sparktts.audio.silence import trim_silence
from sparktts.errors import AudioError

from .signals import silence, speechlike

RATE = 16000
piece = st.builds(
    lambda seconds, level, seed, pad: np.concatenate(
        [silence(pad), speechlike(seconds, seed=seed, level=level), silence(pad)]
    ),
    st.floats(0.2, 1.0),
    st.floats(0.05, 0.9),
    st.integers(0, 9),
    st.floats(0.0, 0.5),
)
pieces_and_pauses = st.lists(st.tuples(piece, st.floats(0.0, 0.6)), min_size=1, max_size=4)


def active_rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples[np.abs(samples) > 0.005] ** 2)))


@settings(max_examples=30, deadline=None)
@given(pieces_and_pauses)
def test_lengths_pauses_and_borders(items: list[tuple[np.ndarray, float]]) -> None:
    pieces, pauses = [p for p, _ in items], [s for _, s in items]
    joined = join(pieces, pauses, RATE)
    lengths = [trim_silence(p, RATE, keep=0.02).size for p in pieces]
    gaps = [round(s * RATE) for s in pauses]
    assert joined.dtype == np.float32
    assert joined.size == sum(lengths) + sum(gaps)
    assert np.abs(joined).max() <= 1.0
    position = 0
    for length, gap in zip(lengths, gaps, strict=True):
        position += length
        assert not joined[position : position + gap].any()
        around = joined[max(0, position - 4) : position + gap + 4]
        assert np.abs(np.diff(around)).max(initial=0.0) < 0.02
        position += gap


def test_levels_are_matched_within_six_decibels() -> None:
    quiet, middle, loud = (speechlike(1, seed=3, level=level) for level in (0.15, 0.2, 0.3))
    joined = join([quiet, middle, loud], [0.0, 0.0], RATE)
    thirds = [active_rms(part) for part in np.split(joined, 3)]
    assert max(thirds) / min(thirds) < 1.05
    faint = join([middle, middle, speechlike(1, seed=3, level=0.02)], [0, 0], RATE)[-RATE:]
    assert active_rms(faint) == pytest.approx(2 * active_rms(speechlike(1, seed=3, level=0.02)), rel=0.3)


def test_one_piece_keeps_its_level() -> None:
    only = speechlike(1)
    joined = join([only], [], RATE)
    assert joined.size == only.size
    assert np.array_equal(joined[200:-200], only[200:-200])


def test_pieces_given_are_not_changed() -> None:
    pieces = [speechlike(0.5, level=0.1), speechlike(0.5, level=0.5)]
    copies = [p.copy() for p in pieces]
    join(pieces, [0.1, 0.1], RATE)
    assert all(np.array_equal(p, c) for p, c in zip(pieces, copies, strict=True))


def test_no_pieces_give_nothing() -> None:
    assert join([], [], RATE).shape == (0,)


def test_a_silent_piece_vanishes_and_its_pause_stays() -> None:
    voice = speechlike(0.5)
    joined = join([voice, silence(1.0), voice], [0.25, 0.25, 0.0], RATE)
    assert joined.size == 2 * voice.size + RATE // 2
    assert not joined[voice.size : voice.size + RATE // 2].any()


@pytest.mark.parametrize("pauses", [[0.1, 0.1, 0.1], [], [-1.0], [float("nan")], [float("inf")]])
def test_wrong_pauses_are_refused(pauses: list[float]) -> None:
    with pytest.raises(AudioError):
        join([speechlike(0.3), speechlike(0.3)], pauses, RATE)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2), st.floats(0.05, 4.0), st.integers(4000, 12000), st.integers(0, 2000))
def test_an_exchanged_piece_is_as_loud_as_the_others_and_all_else_stays(
    place: int, level: float, length: int, quiet: int
) -> None:
    pieces = [0.2 * speechlike(seconds, 16000) for seconds in (0.5, 0.7, 0.4)]
    whole, spans = join_timed(pieces, [0.1, 0.2, 0.0], 16000)
    told = tuple(round(second, 3) for second in spans[place])
    new = np.concatenate(
        [silence(quiet / 16000), 0.2 * level * speechlike(length / 16000, 16000), silence(quiet / 16000)]
    )
    changed, (begin, end) = exchange(whole, (told[0], told[1]), new.astype(np.float32), 16000)
    first, last = round(begin * 16000), round(end * 16000)
    assert np.array_equal(changed[:first], whole[:first])
    after = whole[round(told[1] * 16000) :]
    assert np.array_equal(changed[last:], after)
    piece = changed[first:last]
    assert piece.size <= new.size
    assert abs(piece[0]) < 1e-3
    assert abs(piece[-1]) < 1e-3
    assert np.abs(np.diff(changed)).max() <= max(np.abs(np.diff(whole)).max(), np.abs(np.diff(piece)).max()) + 1e-6
    others = np.concatenate([whole[:first], after])
    if 0.6 <= level <= 1.6:  # farther than the gain may go, it stays apart
        assert loud(piece) == pytest.approx(loud(others), rel=0.3)


def loud(samples: np.ndarray) -> float:
    """RMS of what is not silence."""
    return float(np.sqrt(np.mean(np.square(samples[np.abs(samples) > 1e-3]))))


def test_a_place_outside_of_the_speech_is_refused() -> None:
    with pytest.raises(AudioError, match="no piece from 2 to 3 s"):
        exchange(speechlike(1.0, 16000), (2.0, 3.0), speechlike(0.5, 16000), 16000)
