"""The sentences of recipes/ember: all can be said, none is there twice or evaluated on, every sound is frequent."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sparktts.evaluate.lists import read_lists
from sparktts.text.phonemes import MARKS, PHONEMES, TONES, phonemize

for package in ("gruut", "jieba", "pypinyin", "anyascii"):
    pytest.importorskip(package)

RECIPE = Path(__file__).parent.parent / "recipes" / "ember"
LANGUAGES = ("en", "zh", "mix")
LISTS = [RECIPE / "eval" / f"eval_{language}.lst" for language in LANGUAGES]
LONGEST_SHARED = {"en": 6, "zh": 10, "mix": 6}  # words, or characters in Chinese, that two sentences share in a row
SHARED_WITH_EVALUATION = {"en": 4, "zh": 6, "mix": 6}

Texts = dict[str, list[str]]


@pytest.fixture(scope="module")
def texts() -> Texts:
    return {
        language: [
            line
            for path in sorted((RECIPE / "text").glob(f"{language}_*.txt"))
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        for language in LANGUAGES
    }


@pytest.fixture(scope="module")
def spoken(texts: Texts) -> dict[str, list[tuple[str, ...]]]:
    """The phonemes of every sentence."""
    return {
        language: [phonemize(line, "en" if language == "en" else "zh") for line in lines]
        for language, lines in texts.items()
    }


def units(text: str) -> list[str]:
    """Words, and Chinese characters one by one."""
    return re.findall(r"[a-z']+|\d+|[\u4e00-\u9fff]", text.lower().replace("’", "'"))


def runs(lines: Sequence[str], length: int) -> dict[tuple[str, ...], set[int]]:
    """Every run of so many units, and the lines that hold it."""
    found: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for number, line in enumerate(lines):
        parts = units(line)
        for at in range(len(parts) - length + 1):
            found[tuple(parts[at : at + length])].add(number)
    return found


def near_duplicates(lines: Sequence[str], share: float = 0.8) -> Iterator[tuple[str, str]]:
    """Pairs that have most of their pairs of neighbouring units in common."""
    parts = [units(line) for line in lines]
    pairs = [set(itertools.pairwise(part)) or {(part[0],)} for part in parts]
    owners: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, own in enumerate(pairs):
        for pair in own:
            owners[pair].append(number)
    for number, own in enumerate(pairs):
        common = Counter(other for pair in own for other in owners[pair] if other > number)
        for other, count in common.items():
            if count >= share * len(own | pairs[other]):
                yield lines[number], lines[other]


def test_there_are_thousands_of_sentences_a_line_each(texts: Texts) -> None:
    assert [len(texts[language]) > least for language, least in zip(LANGUAGES, (3600, 3800, 590), strict=True)]
    for lines in texts.values():
        assert all(line == " ".join(line.split()) and line for line in lines)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_goes_through_the_phoneme_front_end(
    language: str, texts: Texts, spoken: dict[str, list[tuple[str, ...]]]
) -> None:
    for text, words in zip(texts[language], spoken[language], strict=True):
        sounds = [set(word) - set(MARKS) for word in words]
        assert all(sounds), text
        assert set().union(*sounds) <= set(PHONEMES), text
        assert len(" ".join(words)) < 500, text  # the longest that the teacher reads in one breath
        # One group at least for each English word; Chinese words are a few characters each.
        assert len(words) * 8 >= len(units(text)), text


def test_every_phoneme_of_both_languages_is_frequent(spoken: dict[str, list[tuple[str, ...]]]) -> None:
    english = Counter("".join(word for words in spoken["en"] for word in words))
    mandarin = Counter("".join(word for words in spoken["zh"] for word in words))
    assert all(english[phoneme] >= 100 for phoneme in "ˈˌbdfhijklmnpstuvwzæðŋɑɔəɛɡɪɹʃʊʌʒʤʧθAIOWY")
    assert all(mandarin[phoneme] >= 500 for phoneme in TONES + "aefijklmnopstuwxyŋɕəɚɛɤɥɨɻʂʊʦʨꭧʰ")


def test_syllables_with_their_tones_are_many(texts: Texts) -> None:
    from pypinyin import Style, lazy_pinyin

    seen = Counter(
        syllable
        for line in texts["zh"]
        for syllable in lazy_pinyin(line, style=Style.TONE3, neutral_tone_with_five=True, errors="ignore")
    )
    assert len(seen) > 1200
    assert sum(count >= 3 for count in seen.values()) > 1050


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_sentences_are_nearly_the_same(language: str, texts: Texts) -> None:
    shared = runs(texts[language], LONGEST_SHARED[language] + 1)
    assert not [run for run, lines in shared.items() if len(lines) > 1]
    assert not list(near_duplicates(texts[language]))


def test_near_duplicates_are_seen() -> None:
    lines = ["The cat sat on the old mat today.", "The cat sat on the old mat.", "A dog ran off with a hat."]
    assert list(near_duplicates(lines)) == [(lines[0], lines[1])]


def test_no_sentence_is_near_one_of_the_evaluation(texts: Texts) -> None:
    for language, one in zip(LANGUAGES, read_lists(LISTS), strict=True):
        length = SHARED_WITH_EVALUATION[language] + 1
        asked = {item.text for item in one.items} | {item.prompt_text for item in one.items if item.prompt_text}
        held = runs(sorted(asked), length)
        for training, lines in texts.items():
            shared = held.keys() & runs(lines, length).keys()
            assert not shared, (language, training)
            assert not asked & set(lines)


def test_the_evaluation_lists_are_whole() -> None:
    lists = read_lists(LISTS)
    assert [len(one.items) for one in lists] == [60, 60, 20]
    languages = {one.name: {item.language for item in one.items} for one in lists}
    assert languages == {"eval_en": {"en"}, "eval_zh": {"zh"}, "eval_mix": {"mixed"}}
    prompts = {item.prompt_audio for one in lists for item in one.items}
    assert len(prompts) == 12
    assert all(prompt is not None and prompt.stat().st_size > 10_000 for prompt in prompts)
    held_out = {item.prompt_audio.stem[:-2] for one in lists for item in one.items if item.prompt_audio}
    assert held_out == {"af_nova", "am_puck", "bf_emma", "bm_lewis", "zf_xiaoyi", "zm_yunxia"}
