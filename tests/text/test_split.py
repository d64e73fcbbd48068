"""Where a text is cut, what is joined, and how long each part is."""

from __future__ import annotations

import re

import pytest

from sparktts.text import (
    TextOptions,
    Utterance,
    count_syllables,
    estimate_seconds,
    language_spans,
    prepare,
    split_utterance,
)

SHORT = TextOptions(target_seconds=1.0, max_seconds=4.0)


def texts(text: str, options: TextOptions = SHORT) -> list[str]:
    return [utterance.text for utterance in prepare(text, options).utterances]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "今天的天气真好。我们出去走走吧！你想去哪里呢？",
            ["今天的天气真好。", "我们出去走走吧！", "你想去哪里呢？"],
        ),
        ("他说：“我们现在走吧。”大家都站了起来。", ["他说：“我们现在走吧。”", "大家都站了起来。"]),
        ('He said "let us all go." Everybody stood up.', ['He said "let us all go."', "Everybody stood up."]),
        ('他昨天晚上离开了。"你们快点回来吧。"', ["他昨天晚上离开了。", '"你们快点回来吧。"']),
        (
            "Doctor No. 3 met Mr. J. K. Rowling. They all went home.",
            ["Doctor number three met Mister J. K. Rowling.", "They all went home."],
        ),
        (
            "We will wait and see what happens… Nobody came along.",
            ["We will wait and see what happens…", "Nobody came along."],
        ),
    ],
)
def test_sentences_are_cut_at_their_ends_with_their_quotes(text: str, parts: list[str]) -> None:
    assert texts(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "It is 3.14 today.",
        "Use v1.2.3 today.",
        "I met Dr. Who.",
        "Bring fruit, e.g. plums.",
        "Mr. T. Smith left.",
    ],
)
def test_a_dot_inside_is_no_end(text: str) -> None:
    options = TextOptions(target_seconds=0.1, max_seconds=60, normalize=False)
    assert texts(text, options) == [text]


def test_a_long_sentence_is_cut_at_clauses() -> None:
    parts = prepare("我们先去北京看长城和故宫，然后坐火车去上海，最后从广州飞回家里休息。", SHORT).utterances
    assert [part.text[-1] for part in parts] == ["，", "，", "。"]
    assert next((part.end, part.pause) for part in parts) == ("clause", 0.18)


def test_a_sentence_without_marks_is_cut_between_words() -> None:
    parts = prepare("the quick brown fox jumps over the lazy dog " * 4, SHORT).utterances
    assert {part.end for part in parts[:-1]} == {"forced"}
    assert {part.pause for part in parts[:-1]} == {0.08}
    assert (
        " ".join(part.text.rstrip(",.") for part in parts).split()
        == ("the quick brown fox jumps over the lazy dog " * 4).split()
    )


def test_short_sentences_are_joined_and_one_word_joins_its_neighbour() -> None:
    assert texts("Yes. No. Maybe.", TextOptions()) == ["Yes. No. Maybe."]
    long = "This sentence alone fills the whole of the target length and more."
    assert texts(f"{long} Right.", TextOptions(target_seconds=4, max_seconds=12)) == [f"{long} Right."]


def test_paragraphs_are_not_joined() -> None:
    assert texts("Yes.\n\nNo.", TextOptions()) == ["Yes.", "No."]


@pytest.mark.parametrize(
    ("text", "end"), [("你好", "你好。"), ("Hello", "Hello."), ('"Hi"', '"Hi".'), ("Really?", "Really?")]
)
def test_every_text_ends_with_a_mark(text: str, end: str) -> None:
    assert texts(text) == [end]


def test_pauses_follow_the_marks() -> None:
    pauses = [
        u.pause for u in prepare("今天的天气真好。你想去哪里呢？我们出去走走吧！好的我们走吧。", SHORT).utterances
    ]
    assert pauses == [0.35, 0.4, 0.4, 0.0]


def whole(text: str, source: str | None = None) -> Utterance:
    return Utterance(text, source or text, "en", 0.6, estimate_seconds(text), "paragraph")


@pytest.mark.parametrize(
    ("text", "left", "right"),
    [
        ("We went home. They did not.", "We went home.", "They did not."),
        ("When it rained, we went home.", "When it rained,", "we went home."),
        ("one two three four", "one two,", "three four"),
        ("我们今天去公园玩", "我们今天，", "去公园玩"),
    ],
)
def test_an_utterance_is_halved_at_the_best_place(text: str, left: str, right: str) -> None:
    first, second = split_utterance(whole(text), 12.0)
    assert (first.text, second.text) == (left, right)
    assert (second.pause, second.end) == (0.6, "paragraph")
    assert (first.pause < 0.5 and first.source + " " + second.source == text) or first.source + second.source == text


@pytest.mark.parametrize("text", ["Unsplittable.", "好。", "Wow", "3.14"])
def test_one_word_is_not_split(text: str) -> None:
    assert split_utterance(whole(text), 0.1) == (whole(text),)


def test_halves_that_are_still_too_long_are_split_again() -> None:
    parts = split_utterance(whole("one two three four five six seven eight"), 0.8)
    assert len(parts) > 2
    assert all(part.seconds <= 0.8 for part in parts)


@pytest.mark.parametrize(
    ("word", "syllables"),
    [
        ("cat", 1),
        ("table", 2),
        ("beautiful", 3),
        ("the", 1),
        ("make", 1),
        ("makes", 1),
        ("wanted", 2),
        ("walked", 1),
        ("banana", 3),
        ("idea", 3),
        ("going", 2),
        ("FBI", 3),
        ("rhythm", 2),
        ("created", 3),
        ("boxes", 2),
        ("don't", 1),
        ("didn't", 2),
        ("people", 2),
        ("nation", 2),
        ("computer", 3),
        ("question", 2),
        ("radio", 3),
        ("中文", 2),
        ("我有apple", 4),
    ],
)
def test_syllables(word: str, syllables: int) -> None:
    assert count_syllables(word) == syllables


def test_estimates_grow_with_the_text_and_its_pauses() -> None:
    assert estimate_seconds("你" * 44) == pytest.approx(10.0)
    assert estimate_seconds("你好，你好") > estimate_seconds("你好你好")
    assert estimate_seconds("") == 0
    assert estimate_seconds("12345", "en") > estimate_seconds("12345", "zh") > 1


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("", []),
        ("123", [("en", "123")]),
        ("我有3个apple。", [("zh", "我有3个"), ("en", "apple。")]),
        ("Hello, 你好! Привет", [("en", "Hello, "), ("zh", "你好! "), ("en", "Привет")]),
        ("「ひらがな漢字」", [("en", "「ひらがな"), ("zh", "漢字」")]),
    ],
)
def test_language_spans(text: str, spans: list[tuple[str, str]]) -> None:
    assert language_spans(text) == spans


def test_a_word_is_never_cut() -> None:
    text = "我们使用PyTorch和TensorFlow训练模型" * 6
    words = {"PyTorch", "TensorFlow"}
    for part in prepare(text, SHORT).utterances:
        assert set(re.findall("[A-Za-z]+", part.text)) <= words
