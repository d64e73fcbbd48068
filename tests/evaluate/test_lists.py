"""Lists in the form of seed-tts-eval."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparktts.errors import TextError
from sparktts.evaluate.lists import Item, read_list, read_lists


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a.wav").write_bytes(b"RIFF")
    return tmp_path


def written(folder: Path, text: str, name: str = "list.lst") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_both_forms_blank_lines_and_a_fifth_column(folder: Path) -> None:
    text = "\ufeffa-1| Hi there. |prompts/a.wav|Good day.\n\nb|你好。\r\nc||prompts/a.wav|Hm.|c.wav\n"
    one = read_list(written(folder, text))
    audio = folder / "prompts/a.wav"
    assert one.items == (
        Item("a-1", "Good day.", "Hi there.", audio),
        Item("b", "你好。"),
        Item("c", "Hm.", None, audio),
    )
    assert one.name == "list"
    assert len(one.sha256) == 64


@pytest.mark.parametrize(
    ("text", "language"),
    [("Hello.", "en"), ("你好。", "zh"), ("我用 iPhone 打电话。", "mixed"), ("他得了A。", "zh"), ("Привет", "en")],
)
def test_the_language_is_that_of_the_text(text: str, language: str) -> None:
    assert Item("a", text).language == language


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("only", "has 1 field"),
        ("a|b|c", "has 3 fields"),
        ("a|b|c|d|e|f", "has 6 fields"),
        ("|Hi.", "id ''"),
        ("a/b|Hi.", "no file name"),
        ("..|Hi.", "no file name"),
        ("a|...", "no text that can be spoken"),
        ("a|Hi.||Ho.", "names no prompt audio"),
        ("a|Hi.|prompts/b.wav|Ho.", "names the prompt audio prompts/b.wav"),
        ("A1|Hi.", "has the id A1 of line 1"),
    ],
)
def test_a_bad_line_is_named_by_its_number(folder: Path, line: str, words: str) -> None:
    with pytest.raises(TextError, match=r"^Line 3 of .*list.lst ") as caught:
        read_list(written(folder, f"a1|Fine.\n\n{line}\n"))
    assert words in str(caught.value)
    assert str(caught.value).endswith(".")


def test_lists_that_cannot_be_read(folder: Path) -> None:
    with pytest.raises(TextError, match="is empty"):
        read_list(written(folder, "\n \n"))
    with pytest.raises(TextError, match="cannot be read"):
        read_list(folder / "missing.lst")
    (folder / "latin.lst").write_bytes(b"a|caf\xe9")
    with pytest.raises(TextError, match="not UTF-8"):
        read_list(folder / "latin.lst")


def test_ids_of_several_lists_must_differ(folder: Path) -> None:
    first, second = written(folder, "a|Hi.\n", "1.lst"), written(folder, "A|Ho.\n", "2.lst")
    with pytest.raises(TextError, match="The id A is in"):
        read_lists([first, second])
