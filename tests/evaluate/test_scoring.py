"""Errors, and the texts that they are counted on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rapidfuzz", reason='needs pip install "sparktts[eval]"')
pytest.importorskip("pypinyin", reason='needs pip install "sparktts[eval]"')

from sparktts.evaluate.lists import LANGUAGES, SpokenLanguage
from sparktts.evaluate.metrics import Errors, alignment, count_errors, summarise, text_errors
from sparktts.evaluate.scoring_text import joined, pinyin, units

SENTENCES = st.text(
    st.sampled_from("abcdeghilmnorstuwy ABC 0123456789 .,!?'’-$%€<>{}[]|:;/ 你好世界我们買後龍的了三十，。！é"),
    max_size=40,
)


@pytest.mark.parametrize(
    ("asked", "heard", "language"),
    [
        ("It cost $20.", "it cost twenty dollars", "en"),
        ("In 1999, 3 people left.", "In nineteen ninety-nine, three people left.", "en"),
        ("At 3:30 PM", "at three thirty pm", "en"),
        ("Twenty-one cats!", "21 cats", "en"),
        ("I don't know; it's fine.", "I do not know. It is fine", "en"),
        ("The mayor’s dog", "the mayors dog", "en"),
        ("Cannot", "can't", "en"),
        ("Grey colours, organised in the theatre, travelled", "gray colors organized in the theater traveled", "en"),
        ("Dr. Smith's café", "Doctor Smiths cafe", "en"),
        ("OK, alright.", "Okay all right", "en"),
        ("他有3个苹果。", "他有三个苹果", "zh"),
        ("后来，他们买了干净的头发。", "後來他們買了乾淨的頭髮", "zh"),
        ("今天20%的人没来", "今天百分之二十的人没来", "zh"),
        ("我把 Headphones 落在这里", "我把headphones落在這裡", "mixed"),
    ],
)
def test_what_sounds_the_same_is_no_error(asked: str, heard: str, language: SpokenLanguage) -> None:
    assert units(asked, language) == units(heard, language)
    assert all(errors.total == 0 for errors in text_errors(asked, heard, language).values())


@pytest.mark.parametrize(
    "word",
    ["hour", "four", "your", "tour", "promise", "surprise", "acre", "more", "called", "rise", "wise"],
)
def test_spellings_that_are_the_same_everywhere_stay(word: str) -> None:
    assert units(word, "en") == (word,)


def test_errors_by_hand() -> None:
    # the [quick] brown fox [jumps->jumped] over [+ +]
    asked, heard = (
        ["the", "quick", "brown", "fox", "jumps", "over"],
        ["the", "brown", "fox", "jumped", "over", "a", "dog"],
    )
    errors = count_errors(asked, heard)
    assert (errors.substitutions, errors.deletions, errors.insertions, errors.length) == (1, 1, 2, 6)
    assert errors.rate == pytest.approx(4 / 6)
    assert count_errors((), ()).rate == 0.0
    assert count_errors((), ("a",)).rate == 1.0
    assert count_errors(("a",), ()).rate == 1.0
    assert count_errors(("a",), ("b", "c", "d")).rate == 3.0


def test_homophones_are_errors_of_characters_and_not_of_pinyin() -> None:
    errors = text_errors("他们好", "她门好呀", "zh")
    assert errors == {"cer": Errors(2, 0, 1, 3), "pinyin": Errors(0, 0, 1, 3)}


def test_a_word_among_characters_counts_as_one() -> None:
    errors = text_errors("我用 headphones 听", "我用 phones 听", "mixed")
    assert errors["cer"] == errors["pinyin"] == Errors(1, 0, 0, 4)


def test_readings_depend_on_the_phrase() -> None:
    assert pinyin(units("银行行长 is 绿色", "mixed")) == ("yin", "hang", "hang", "zhang", "is", "lv", "se")


def test_nothing_heard_is_all_deleted() -> None:
    assert text_errors("One two.", "", "en") == {"wer": Errors(0, 2, 0, 2)}


def test_an_alignment_joins_neighbouring_differences() -> None:
    edits = alignment(["a", "b", "c", "d", "e"], ["a", "x", "d", "e", "f"])
    assert [(edit.equal, " ".join(edit.asked), " ".join(edit.heard)) for edit in edits] == [
        (True, "a", "a"),
        (False, "b c", "x"),
        (True, "d e", "d e"),
        (False, "", "f"),
    ]


def test_corpus_and_mean_differ_with_lengths() -> None:
    summary = summarise([Errors(1, 0, 0, 1), Errors(0, 0, 0, 9)])
    assert summary is not None
    assert (summary.corpus, summary.mean) == (0.1, 0.5)
    assert (summary.errors, summary.length) == (1, 10)
    assert 0 <= summary.low <= 0.1 <= summary.high <= 1
    assert summary == summarise([Errors(1, 0, 0, 1), Errors(0, 0, 0, 9)])
    assert summarise([]) is None


@settings(max_examples=60, deadline=None)
@given(SENTENCES, st.sampled_from(LANGUAGES))
def test_a_text_has_no_errors_against_itself(text: str, language: SpokenLanguage) -> None:
    assert all(errors.total == 0 for errors in text_errors(text, text, language).values())


@settings(max_examples=40, deadline=None)
@given(SENTENCES, st.sampled_from(LANGUAGES))
def test_units_are_not_changed_by_being_read_again(text: str, language: SpokenLanguage) -> None:
    once = units(text, language)
    assert all(unit == unit.casefold() and " " not in unit for unit in once)
    assert units(joined(once), language) == once


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=7), st.lists(st.sampled_from("abc"), max_size=7))
def test_counts_are_those_of_the_shortest_edit(a: list[str], b: list[str]) -> None:
    errors, reverse = count_errors(a, b), count_errors(b, a)
    assert errors.total == reverse.total == distance(a, b)
    assert len(a) - errors.deletions + errors.insertions == len(b)
    assert (errors.total == 0) == (a == b)
    assert sum((edit.asked for edit in alignment(a, b)), ()) == tuple(a)
    assert sum((edit.heard for edit in alignment(a, b)), ()) == tuple(b)


def distance(a: list[str], b: list[str]) -> int:
    """Edit distance by its definition."""
    if not a or not b:
        return len(a) + len(b)
    table = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, table[0] = table[0], i
        for j, y in enumerate(b, 1):
            previous, table[j] = table[j], min(table[j] + 1, table[j - 1] + 1, previous + (x != y))
    return table[-1]
