"""Cleaning, markup, lexicon, options and reports."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from sparktts.errors import OptionError, TextError
from sparktts.text import MAX_CHARACTERS, PreparedText, TextOptions, load_lexicon, prepare


def said(text: str, **options: object) -> str:
    return " ".join(utterance.text for utterance in prepare(text, TextOptions(**options)).utterances)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("# A title", "A title."),
        ("This is **bold**, *it* and `code`.", "This is bold, it and code."),
        ("这是**重点**和*强调*。", "这是重点和强调。"),
        ("See [the docs](https://x.io/a_(b)) now.", "See the docs now."),
        ("- one\n- two\n", "one. two."),
        ("1. wash\n2. dry", "one, wash. two, dry."),
        ("| a | b |\n|---|---|\n| c | d |", "a, b. c, d."),
        ("> quoted\n> text", "quoted, text."),
        ("~~gone~~ __here__ snake_case", "gone here snake case."),
        ("Visit https://www.example.com/docs/ now.", "Visit example dot com slash docs now."),
        ("访问www.example.com吧。", "访问example点com吧。"),
        ("Mail foo.bar@example.com.", "Mail foo dot bar at example dot com."),
        ("Tom &amp; Jerry &lt;3", "Tom and Jerry three."),
        ("“Fancy” ‘quotes’ don’t matter.", "\"Fancy\" 'quotes' don't matter."),
        ("What?!! No!!!", "What? No!"),
        ("好,走吧.", "好，走吧。"),
        ("zero\u200bwidth \u202eand\x07 control.", "zerowidth and control."),
        ("ＡＢＣ１２３", "ABC one two three."),
        ("2½ cups", "two and a half cups."),
        ("苹果①香蕉", "苹果一、香蕉。"),
        ("#hashtag and C#", "hashtag and C#."),
        ("a<b and c>d", "a b and c d."),
        ("wrapped line that goes on for rather more than fifty columns\nand on", None),
    ],
)
def test_marks_and_odd_characters_become_speakable(written: str, spoken: str | None) -> None:
    assert said(written) == (spoken or written.replace("\n", " ") + ".")


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("hello 😀👩‍👩‍👧", "Dropped 2 emoji: 😀 👩‍👩‍👧"),
        ("see https://example.com", "Read https://example.com as “example dot com”"),
        ("**bold**", "Markdown"),
        ("a <foo>b</foo>", "Dropped 2 unknown tags: <foo> </foo>"),
        ("a → b", "no reading: →"),
        ("a\x00b", "1 control character"),
        ('a<break time="99s"/>b', "Shortened"),
        ('a<break time="soon"/>b', "not like 500ms"),
        ("<break/>a", "Left out the break before"),
        ("a<break/>", "Left out the break after"),
    ],
)
def test_what_is_dropped_or_changed_is_noted(written: str, part: str) -> None:
    assert part in " ".join(prepare(written).notes)


def test_plain_text_has_no_notes() -> None:
    assert prepare("Hello there. 你好，3个。").notes == ()


def test_breaks_and_blank_lines_become_pauses() -> None:
    prepared = prepare('One.<break time="500ms"/>Two.<break time="1.5s"/>Three.\n\nFour!\n\n\n<break time="1s"/>Five.')
    assert [(u.text, u.pause, u.end) for u in prepared.utterances] == [
        ("One.", 0.5, "break"),
        ("Two.", 1.5, "break"),
        ("Three.", 0.6, "paragraph"),
        ("Four!", 1.0, "break"),
        ("Five.", 0.0, "sentence"),
    ]


def test_a_break_inside_a_sentence_keeps_the_voice_up() -> None:
    assert said("I have <break time='300ms'/> a dream") == "I have, a dream."


def test_verbatim_text_is_untouched() -> None:
    text = "Say <verbatim>3.14 **SQL** &amp; 😀</verbatim> and 3 SQL."
    assert said(text, lexicon={"SQL": "sequel"}) == "Say 3.14 **SQL** &amp; 😀 and three sequel."


def test_the_lexicon_takes_whole_words_in_any_case_and_the_longest_first() -> None:
    lexicon = {
        "SQL": "sequel",
        "sql server": "the server",
        "重庆": "崇庆",
        "5G": "five gee",
        "C++": "see plus plus",
    }
    text = "sql, MySQL, SQL Server, 5G and C++, 去重庆, https://sql.com"
    assert said(text, lexicon=lexicon) == ("sequel, MySQL, the server, five gee and see plus plus, 去崇庆, sql点com.")


def test_a_lexicon_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# comment\n\nSQL = sequel\nGIF,jif\nC=C\tbond\n重庆=崇庆\n", encoding="utf-8-sig")
    assert load_lexicon(path) == {"SQL": "sequel", "GIF": "jif", "C=C": "bond", "重庆": "崇庆"}


@pytest.mark.parametrize("content", [b"ok=fine\nbroken\n", b"ok=fine\nx =\n", b"ok=fine\n\xff\xfe=a\n"])
def test_a_bad_lexicon_names_the_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(TextError, match="ine 2"):
        load_lexicon(path)


def test_a_missing_lexicon_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="cannot be read"):
        load_lexicon(tmp_path / "none.txt")


@pytest.mark.parametrize(
    "text", ["", "  \n\n ", "😀😀", "\x00\x07", "。！？", "<break/>", "**", "---", "<p></p>", "\u200b"]
)
def test_text_without_words_is_refused(text: str) -> None:
    with pytest.raises(TextError, match="give some words"):
        prepare(text)


def test_too_long_a_text_is_refused() -> None:
    with pytest.raises(TextError, match="split it"):
        prepare("a" * (MAX_CHARACTERS + 1))


@pytest.mark.parametrize(
    "options",
    [
        {"language": "fr"},
        {"target_seconds": 0},
        {"target_seconds": 13.0},
        {"max_seconds": 0.1},
        {"max_seconds": float("nan")},
        {"max_seconds": "12"},
        {"lexicon": {"": "x"}},
        {"lexicon": [("a", "b")]},
    ],
)
def test_senseless_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        TextOptions(**options)  # type: ignore[arg-type]


def test_each_utterance_names_the_text_it_came_from() -> None:
    prepared: PreparedText = prepare(
        "It costs **$3.50** today, as it did before; we all pay. 今天是2024-05-01，天气很好，我们去公园走走吧。"
    )
    assert [u.source for u in prepared.utterances] == [
        "It costs **$3.50** today, as it did before; we all pay.",
        "今天是2024-05-01，天气很好，我们去公园走走吧。",
    ]
    assert [u.language for u in prepared.utterances] == ["en", "zh"]


def test_importing_loads_no_grammar() -> None:
    code = "import sys, sparktts.text; sys.exit('wetext' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "piece",
    ["**a ", "<!--", "<verbatim>", "[a](", "1,", "1 ", "1:", "$", " ", "\t", "&#", "(", "~~a ", "a.", "\n "],
)
def test_hostile_repetition_takes_no_time(piece: str) -> None:
    with contextlib.suppress(TextError):
        prepare((piece * 20_000)[:20_000])
