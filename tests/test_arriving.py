"""Text that arrives in pieces: cut where it can be spoken, the same words whatever the pieces are."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparktts.arriving import ArrivingText
from sparktts.errors import TextError
from sparktts.frontend import Frontend
from sparktts.longform import Growing
from sparktts.text import TextOptions, Utterance, prepare
from sparktts.text.split import CLAUSE_PAUSE

TEXT = (
    "Dr. Smith paid $3.50 on 3 May 2021, didn't he? “Yes,” said Anna (who knew). 他花了38.5元，买了一本书。真的！ "
    "See https://example.org/a?b=c. Then, e.g. at 10 a.m., we left...\n\n- one thing\n- another thing\n\nThe end"
)


def taken(pieces: Iterable[str], on_demand: bool = False, **options: object) -> list[Utterance]:
    """All utterances, taken as fast as they come."""
    source = ArrivingText(pieces, TextOptions(**options), Frontend(on_demand=on_demand))  # type: ignore[arg-type]
    utterances: list[Utterance] = []
    growing: list[tuple[int, Growing]] = []
    while True:
        try:
            given = source.next()
        except StopIteration:
            break
        for at, grown in growing:
            grown.update()
            utterances[at] = grown.utterance
        if given is None:
            source.wait(idle=True)
        elif isinstance(given, Utterance):
            utterances.append(given)
        else:
            growing.append((len(utterances), given))
            utterances.append(given.utterance)
    return [dict(growing)[at].utterance if at in dict(growing) else u for at, u in enumerate(utterances)]


def words(utterances: Iterable[Utterance]) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in " ".join(u.text for u in utterances)).split())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=40), st.booleans())
def test_any_pieces_give_the_words_of_the_whole(sizes: list[int], on_demand: bool) -> None:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(TEXT[at : at + size])
        at += size
    utterances = taken([*pieces, TEXT[at:]], on_demand)
    assert words(utterances) == words(prepare(TEXT).utterances)
    assert all(utterance.seconds <= 14 for utterance in utterances)


def gated(first: str) -> tuple[Iterator[str], threading.Event]:
    """`first`, and nothing more until the event."""
    gate = threading.Event()

    def pieces() -> Iterator[str]:
        yield first
        gate.wait(30)

    return pieces(), gate


def spoken_of(first: str, on_demand: bool = False) -> str | None:
    """What can be spoken when only `first` has come."""
    pieces, gate = gated(first)
    source = ArrivingText(pieces, TextOptions(), Frontend(on_demand=on_demand))
    assert source.next() is None or source._seen == first
    while source._seen != first:
        source.wait(idle=True)
        source.advance()
    given = source.next()
    gate.set()
    source.close()
    return None if given is None else given.text if isinstance(given, Utterance) else given.utterance.text


@pytest.mark.parametrize(
    ("first", "spoken"),
    [
        ("Hello there. And", "Hello there."),
        ("Hello there.", None),  # it may be the first part of a number or a name
        ("Hello there.\n", "Hello there."),
        ("It costs 3.", None),
        ("Good morning, Dr. ", None),
        ("Well, ", None),  # too short to stand alone
        ("Although it had rained for days, we", "Although it had rained for days,"),
        ("你好。我", "你好。"),
        ("今天的天气真的非常好，我们", "今天的天气真的非常好，"),
        ("He said [word](/wɜːd/", None),
        ('Wait <break time="1s', None),
        ("A heading\n\nText", "A heading."),
        ("1. ", None),
        ("- first\n- sec", "first."),
        ("one two three", None),
    ],
)
def test_a_text_is_cut_where_nothing_that_follows_can_change_it(first: str, spoken: str | None) -> None:
    assert spoken_of(first) == spoken


@pytest.mark.parametrize(
    ("first", "spoken"),
    [
        ("the quick brown fox ju", "the quick brown fox"),
        ("the quick ", None),
        ("on May 3", None),
        ("it was the month of May 3", "it was the month"),
        ("and then he paid 20 dollars", "and then he"),
        ("Although it had rained for days, 3", "Although it had rained for days,"),
    ],
)
def test_words_that_cannot_change_any_more_are_spoken_where_the_model_asks_for_them(
    first: str, spoken: str | None
) -> None:
    assert spoken_of(first, on_demand=True) == spoken


def test_a_text_without_marks_is_cut_all_the_same() -> None:
    utterances = taken(["word " * 3000])
    assert len(utterances) > 50
    assert all(utterance.seconds <= 14 for utterance in utterances)
    assert words(utterances).split() == ["word"] * 3000


def test_notes_are_collected_and_said_once() -> None:
    source = ArrivingText(["Hi 🎉 there. ", "Hi 🎉 there. ", "Bye."], TextOptions(), Frontend())
    while True:
        try:
            if source.next() is None:
                source.wait(idle=True)
        except StopIteration:
            break
    assert len(source.notes) == 1
    assert "🎉" in source.notes[0]


def test_numbers_are_read_in_the_language_of_the_text() -> None:
    chinese = taken(["今天的天气真的非常好。", "12", "。再见。"])
    assert "十二" in "".join(utterance.text for utterance in chinese)


def test_pauses_are_those_of_the_marks_and_the_last_one_is_none() -> None:
    first, last = taken(["One here.\n\n", "Although it was raining very hard, ", "two."])
    assert (first.pause, last.pause) == (0.6, 0.0)
    pieces, gate = gated("Although it was raining very hard, we")
    source = ArrivingText(pieces, TextOptions(), Frontend())
    while (clause := source.next()) is None:
        source.wait(idle=True)
    gate.set()
    assert isinstance(clause, Utterance)
    assert clause.pause == CLAUSE_PAUSE


@pytest.mark.parametrize("pieces", [[], [""], [" \n "], ["🎉"], ["**", "**"]])
def test_nothing_to_say_is_an_error(pieces: list[str]) -> None:
    with pytest.raises(TextError):
        taken(pieces)
