"""What holds for every text."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparktts.errors import TextError
from sparktts.text import TextOptions, estimate_seconds, language_spans, prepare, split_utterance
from sparktts.text.split import _borders

LATIN = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZéüñ", min_size=1, max_size=12)
HAN = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=1, max_size=30)
MARKS = st.sampled_from(
    [
        " ",
        " ",
        " ",
        ", ",
        ". ",
        "! ",
        "? ",
        "; ",
        " — ",
        "，",
        "。",
        "！",
        "？",
        "…",
        "\n",
        "\n\n",
        " (",
        ") ",
    ]
)
PLAIN = st.lists(st.tuples(st.one_of(LATIN, HAN), MARKS), min_size=1, max_size=40).map(
    lambda pairs: "".join(word + mark for word, mark in pairs)
)
MARKUP = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(
            [
                "<break time='1s'/>",
                "<verbatim>",
                "</verbatim>",
                "**",
                "`",
                "[a](b)",
                "http://a.com/b",
                "$3.50",
                "10:30",
                "2024-05-01",
                "&amp;",
                "&#0;",
                "\ud800",
                "😀",
                "中文",
                "第3",
                "-5",
                "1/2",
                "#",
                "\n\n",
                "|",
                "U.S. ",
                "Dr. ",
                "1",
                "²",
                "½",
                "①",
                "%",
                "\ue000",
            ]
        ),
    ),
    max_size=12,
).map("".join)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ABBREVIATED = re.compile(
    r"(?i)\b(?:dr|mrs?|ms|prof|st|jr|sr|vs|etc|cf|inc|ltd|corp|dept|est|ave|gen|sen|rep|gov|capt|lt|col|sgt|rev|mt|ft|approx|blvd)\."
)


def letters(texts: Iterable[str]) -> str:
    return "".join(char for text in texts for char in text if char.isalpha())


@QUICK
@given(PLAIN.filter(lambda text: not ABBREVIATED.search(text)))
def test_no_letter_of_plain_text_is_lost_or_moved(text: str) -> None:
    assert letters(u.text for u in prepare(text).utterances) == letters([text])


@QUICK
@given(PLAIN, st.sampled_from([2.0, 4.0, 12.0]))
def test_no_utterance_is_too_long_unless_it_is_one_word(text: str, maximum: float) -> None:
    for utterance in prepare(text, TextOptions(max_seconds=maximum, target_seconds=maximum / 2)).utterances:
        assert utterance.seconds <= maximum or not _borders(utterance.text.rstrip(" ,.，。)"))


@QUICK
@given(MARKUP)
def test_any_text_is_prepared_or_refused_in_a_sentence(text: str) -> None:
    sentence = ""
    try:
        prepared = prepare(text)
    except TextError as error:
        sentence = str(error)
        prepared = None
    if prepared is None:
        assert sentence.endswith(".")
        return
    for utterance in prepared.utterances:
        assert utterance.text == utterance.text.strip()
        assert re.search(r"\w", utterance.text)
        assert utterance.source
        assert utterance.source in text
        utterance.text.encode()
    assert prepared.utterances[-1].pause == 0


@QUICK
@given(st.text())
def test_the_language_spans_make_up_the_text(text: str) -> None:
    spans = language_spans(text)
    assert "".join(piece for _, piece in spans) == text
    assert all(language in ("zh", "en") for language, _ in spans)
    assert estimate_seconds(text) >= 0


@QUICK
@given(PLAIN)
def test_halves_hold_every_letter(text: str) -> None:
    for utterance in prepare(text).utterances:
        halves = split_utterance(utterance, 3.0)
        assert letters(half.text for half in halves) == letters([utterance.text])
        assert halves[-1].pause == utterance.pause
