"""Phonemes: both languages in one notation, and whatever a user types comes out inside the inventory."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sparktts.errors import TextError
from sparktts.text import count_syllables, prepare
from sparktts.text.exact import EXACT, without_exact
from sparktts.text.phonemes_zh import syllable

pytest.importorskip("gruut")
pytest.importorskip("jieba")

from sparktts.text.phonemes import MARKS, PHONEMES, phoneme_words, phonemize

INVENTORY = frozenset(PHONEMES)


def test_english_is_in_the_notation_of_the_inventory() -> None:
    words = phonemize("Dry thunder crackled above the savannah, yet no rain fell.")
    assert " ".join(words) == "dɹˈI θˈʌndəɹ kɹˈækəld əbˈʌv ðə səvˈænə, jˈɛt nˈO ɹˈAn fˈɛl."


def test_chinese_has_words_and_tones() -> None:
    assert " ".join(phonemize("打印机坏了，雕的花鸟活灵活现。")) == (
        "ta↓i↘nʨi→ xwai↘ lɤ, tjau→ tɤ xwa→njau↓ xwo↗li↗ŋxwo↗ɕjɛ↘n."
    )


def test_both_languages_stand_in_one_sentence() -> None:
    assert " ".join(phonemize("这个 chapter 结束了，下一个 adventure 正在门口等着。")) == (
        "ꭧɤ↘kɤ ʧˈæptəɹ ʨje↗ʂu↘ lɤ, ɕja↘ i↗kɤ↘ ædvˈɛnʧəɹ ꭧə↘ŋʦai↘ mə↗nkʰou↓ tə↓ŋ ꭧɤ."
    )


@pytest.mark.parametrize(
    ("pinyin", "expected"),
    [
        ("zhi1", "ꭧɨ→"),
        ("xue2", "ɕɥe↗"),
        ("lv4", "ly↘"),
        ("lve4", "lɥe↘"),
        ("yuan2", "ɥɛ↗n"),
        ("wei4", "wei↘"),
        ("gui4", "kwei↘"),
        ("liu2", "ljou↗"),
        ("jun1", "ʨy→n"),
        ("dun4", "twə↘n"),
        ("bo1", "pwo→"),
        ("er2", "ɚ↗"),
        ("weng1", "wə→ŋ"),
        ("xiong2", "ɕjʊ↗ŋ"),
        ("de5", "tɤ"),
        ("qqq1", None),
        ("a", None),
    ],
)
def test_syllables_of_pinyin(pinyin: str, expected: str | None) -> None:
    assert syllable(pinyin) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The FBI's report.", "ðə ˈɛf bˈi ˈIz ɹɪpˈɔɹt."),  # spelled, with its s
        ("two PCs", "tˈu pˈi sˈiz"),
        ("plan A", "plˈæn ˈA"),
        ("A plan", "ə plˈæn"),
        ("STOP IT NOW", "stˈɑp ɪt nˈW"),  # shouted, not spelled
        ("OpenAI", "ˈOpən ˈA ˈI"),
        ("a café", "ə kæfˈA"),
        ("They read it yesterday.", "ðA ɹˈɛd ɪt jˈɛstəɹdˌA."),  # by the part of speech
        ("3.14", "θɹˈi pˈYnt wˈʌn fˈɔɹ"),
        ("What?! Well…", "wˈʌt? wˈɛl."),
    ],
)
def test_words_that_no_lexicon_has_in_this_form(text: str, expected: str) -> None:
    assert " ".join(phonemize(text)) == expected


def test_letters_of_any_script_are_said() -> None:
    for text in ("Привет", "こんにちは", "안녕하세요", "العربية", "龘𪚥", "½", "Ⅷ", "②", "zyxgrbl", "xkcd"):
        assert phonemize(text), text


def test_exact_phonemes_are_said_as_they_stand() -> None:
    assert phonemize("Ask [Xu](/ʃuː/) now.") == ("ˈæsk", "ʃu", "nˈW.")
    assert phonemize("[长](/ꭧa↓ŋ/)大了") == ("ꭧa↓ŋ", "ta↘", "lɤ")
    assert phonemize("[New York](/nu jˈɔɹk/),") == ("nu", "jˈɔɹk,")
    assert phonemize("[word](/ˈˌ/)") == phonemize("word")  # nothing that can be said


def test_exact_phonemes_pass_through_preparing_untouched() -> None:
    mark = "[St. 5](/fəʊniːmz tˈu/)"
    prepared = prepare(f"A **bold** {mark} costs $5, see [a page](/docs/) and [a b](https://example.com/).")
    text = " ".join(utterance.text for utterance in prepared.utterances)
    assert mark in text
    assert "five dollars" in text
    assert "/docs/" not in text
    assert without_exact("Ask [Xu](/ʃuː/).") == "Ask Xu."
    assert count_syllables("Ask [Xu](/ʃuːʃuːʃuːʃuː/).") == count_syllables("Ask Xu.")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.floats(1.0, 6.0))
def test_exact_phonemes_are_never_cut(count: int, seconds: float) -> None:
    from sparktts.text import TextOptions

    mark = "[一个，很长的。词 a b](/fəʊ niːmz tˈu/)"
    options = TextOptions(target_seconds=seconds, max_seconds=seconds)
    utterances = prepare(f"很长{mark}" * count, options).utterances
    assert sum(len(EXACT.findall(utterance.text)) for utterance in utterances) == count


def test_phonemes_of_another_program_are_read_as_words() -> None:
    assert phoneme_words("ʨi↘ʂu↘ slˈipi , tɤ ↗ x❓") == ("ʨi↘ʂu↘", "slˈipi,", "tɤ", "x")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="aA.1'’-我的 é?!，[](/)IÖя%", max_size=40))
@example("[a](/ʃ/)")
@example("'")
@example("A.B.C.D.E.F.G.")
@example("𓀀")
@example("1" * 60)
@example("ﬃ ŉ ⅓ ㍿ 〇")
def test_any_text_comes_out_inside_the_inventory(text: str) -> None:
    try:
        words = phonemize(text)
    except TextError:
        assert not any(char.isalnum() for char in text)
        return
    assert words
    for word in words:
        assert set(word) <= INVENTORY
        assert set(word) - set(MARKS + "ˈˌʰ→↗↘↓")
        assert sum(char in MARKS for char in word) <= 1


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=40).filter(lambda text: any(char.isalnum() for char in text)))
def test_phonemes_are_words_again(text: str) -> None:
    words = phonemize(text)
    assert phoneme_words(" ".join(words)) == words


def test_a_missing_package_is_one_sentence() -> None:
    code = (
        "import sys; sys.modules.update({'gruut': None, 'gruut_lang_en': None, 'jieba': None, 'anyascii': None})\n"
        "from sparktts.text.phonemes import phonemize\n"
        "from sparktts.errors import OptionError\n"
        "for text in ('hello', '你好', 'я'):\n"
        "    try: phonemize(text)\n"
        "    except OptionError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("pip install --force-reinstall sparktts" in line for line in lines)
