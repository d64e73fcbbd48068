"""Long text survives a language model that stalls, says nothing, or never stops, and accounts for every sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparktts.errors import GenerationError, OptionError
from sparktts.guards import MAX_TOKENS, Guard, Problem
from sparktts.longform import Reader, ReadingOptions, Spoken, derived_seed
from sparktts.prompt import PromptBuilder
from sparktts.sampling import SamplingOptions
from sparktts.text import Utterance, prepare
from sparktts.tokenizer import SparkTokenizer

from .engine.misbehaving import Script, ScriptedModel, babble, never_stop, say_nothing, speak_for, stall

MIXED = Path(__file__).parent / "data" / "mixed.txt"
Read = Callable[..., tuple[list[Spoken], ScriptedModel]]
ONE = "One sentence, which is long enough, can be split in two parts when it must be."


@pytest.fixture(scope="module")
def read(mini: Path) -> Read:
    tokenizer = SparkTokenizer.from_file(mini / "LLM" / "tokenizer.json")
    builder = PromptBuilder(tokenizer)

    def run(text: str, script: Script, **options: object) -> tuple[list[Spoken], ScriptedModel]:
        model = ScriptedModel(tokenizer.semantic.first, tokenizer.stop, script)
        reader = Reader(
            model,
            lambda utterance: builder.clone(utterance.text, range(32)),
            tokenizer,
            SamplingOptions(),
            7,
            ReadingOptions(**options),  # type: ignore[arg-type]
        )
        return list(reader.read(prepare(text).utterances)), model

    return run


class Rivals:
    """Three takes of each utterance, of lengths that tell them apart, and a listener that likes one length."""

    def __init__(self, mini: Path, script: Script, liked: int, **options: object) -> None:
        tokenizer = SparkTokenizer.from_file(mini / "LLM" / "tokenizer.json")
        builder = PromptBuilder(tokenizer)
        self.heard: list[int] = []
        self.model = ScriptedModel(tokenizer.semantic.first, tokenizer.stop, script)
        self.reader = Reader(
            self.model,
            lambda utterance: builder.clone(utterance.text, range(32)),
            tokenizer,
            SamplingOptions(),
            7,
            ReadingOptions(**{"takes": 3, **options}),  # type: ignore[arg-type]
            fault=self.fault,
        )
        self.liked = liked

    def fault(self, spoken: Spoken) -> float:
        self.heard.append(len(spoken.semantic))
        return abs(len(spoken.semantic) - self.liked)

    def read(self, text: str) -> list[Spoken]:
        return list(self.reader.read(prepare(text).utterances))


def by_number(*lengths: int) -> Script:
    """The n-th sequence of the model says lengths[n] tokens; the lengths repeat."""
    return lambda number, position: speak_for(lengths[number % len(lengths)])(number, position)


def test_of_several_takes_the_one_that_is_understood_best_is_kept(mini: Path) -> None:
    rivals = Rivals(mini, by_number(180, 200, 220), liked=200)
    spoken = rivals.read(ONE)
    assert [len(one.semantic) for one in spoken] == [200] * len(spoken)
    assert rivals.model.started == 3 * len(spoken)
    assert sorted(rivals.heard[:3]) == [180, 200, 220]
    assert [one.retries for one in spoken] == [0] * len(spoken)
    assert spoken[0].seed == derived_seed(7, (0,), 1)


def test_takes_that_go_wrong_are_left_out_and_only_if_all_do_it_is_tried_again(mini: Path) -> None:
    one_good = Rivals(mini, by_number(0, 190, 5), liked=0)
    spoken = one_good.read(ONE)
    assert [(len(one.semantic), one.retries) for one in spoken] == [(190, 0)] * len(spoken)
    assert one_good.heard == []  # nothing to choose from

    def bad_at_first(number: int, position: int) -> int | None:
        return speak_for(5 if number < 3 else 190)(number, position)

    again = Rivals(mini, bad_at_first, liked=190)
    first = again.read(ONE)[0]
    assert (len(first.semantic), first.retries, first.problems) == (190, 1, (Problem.OVERSHORT,))


def test_several_sentences_with_several_takes_keep_their_order(mini: Path) -> None:
    alone = Rivals(mini, by_number(180, 200, 220), liked=220).read(ONE + " " + ONE + " " + ONE)
    together = Rivals(mini, by_number(180, 200, 220), liked=220, batch_size=2).read(ONE + " " + ONE + " " + ONE)
    assert [one.utterance for one in together] == [one.utterance for one in alone]
    assert {len(one.semantic) for one in together} == {220}


def letters(text: str) -> str:
    return "".join(character for character in text if character.isalnum())


def fair(utterance: Utterance) -> int:
    return round(utterance.seconds * 50)


def test_a_model_that_behaves_is_asked_once_an_utterance(read: Read) -> None:
    spoken, model = read(ONE, speak_for(200))
    assert model.started == len(spoken) == len(prepare(ONE).utterances)
    assert [(s.retries, s.problems) for s in spoken] == [(0, ())] * len(spoken)
    assert spoken[0].seed == 7


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (say_nothing, Problem.SILENT),
        (never_stop, Problem.OVERLONG),
        (stall, Problem.STUCK),
        (speak_for(5), Problem.OVERSHORT),
    ],
)
def test_a_bad_attempt_is_tried_again_with_another_seed(read: Read, bad: Script, problem: Problem) -> None:
    good = speak_for(200)
    spoken, model = read(ONE, lambda number, position: (bad if number < 2 else good)(number, position))
    assert len(spoken) == 1
    assert (spoken[0].retries, spoken[0].problems) == (2, (problem, problem))
    assert len(set(model.seeds)) == 3
    assert spoken[0].seed == model.seeds[-1]
    assert not model.running


def test_after_the_retries_the_utterance_is_split(read: Read) -> None:
    good = speak_for(100)
    spoken, _ = read(ONE, lambda number, position: (never_stop if number < 3 else good)(number, position))
    assert len(spoken) >= 2
    assert letters("".join(s.utterance.text for s in spoken)) == letters(ONE)
    assert spoken[0].problems == (Problem.OVERLONG,) * 3
    assert spoken[-1].utterance.pause == prepare(ONE).utterances[-1].pause


@pytest.mark.parametrize("bad", [say_nothing, never_stop, stall])
def test_a_hopeless_model_ends_in_an_error_that_names_the_sentence(read: Read, bad: Script) -> None:
    with pytest.raises(GenerationError, match="One sentence"):
        read(ONE, bad)


def test_without_checks_an_endless_utterance_is_cut_and_reported(read: Read) -> None:
    spoken, model = read(ONE, stall, checks=False)
    assert model.started == 1
    assert spoken[0].problems == (Problem.OVERLONG,)
    assert len(spoken[0].semantic) == Guard(prepare(ONE).utterances[0].seconds).budget


def test_without_checks_silence_is_kept_and_reported(read: Read) -> None:
    spoken, _ = read(ONE, say_nothing, checks=False)
    assert (spoken[0].semantic, spoken[0].problems) == ((), (Problem.SILENT,))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_long_mixed_text_with_injected_failures_loses_nothing(read: Read, batch_size: int) -> None:
    """Every third attempt stalls, says nothing or never stops; every sentence is still said, in order."""
    text = MIXED.read_text(encoding="utf-8")
    assert len(text) >= 2000
    failures = (stall, say_nothing, never_stop)

    def script(number: int, position: int) -> int | None:
        if number % 3 == 0:
            return failures[number // 3 % 3](number, position)
        return babble(number, position) if position < 170 else None

    spoken, model = read(text, script, batch_size=batch_size, retries=3)
    prepared = prepare(text).utterances
    assert letters("".join(s.utterance.text for s in spoken)) == letters("".join(u.text for u in prepared))
    assert len(spoken) >= len(prepared) > 15
    assert {problem for s in spoken for problem in s.problems} == {
        Problem.STUCK,
        Problem.SILENT,
        Problem.OVERLONG,
    }
    assert model.most_at_once == batch_size
    assert not model.running


@pytest.mark.parametrize("batch_size", [2, 5])
def test_results_come_in_order_even_when_they_finish_out_of_order(read: Read, batch_size: int) -> None:
    text = "\n\n".join(f"This is sentence number {word}." for word in ("one", "two", "three", "four", "five", "six"))
    spoken, _ = read(
        text,
        lambda number, position: babble(number, position) if position < 150 - 12 * number else None,
        batch_size=batch_size,
    )
    assert [s.utterance.text for s in spoken] == [u.text for u in prepare(text).utterances]


def test_leaving_early_cancels_what_runs(mini: Path) -> None:
    tokenizer = SparkTokenizer.from_file(mini / "LLM" / "tokenizer.json")
    builder = PromptBuilder(tokenizer)
    model = ScriptedModel(
        tokenizer.semantic.first, tokenizer.stop, lambda n, p: babble(n, p) if p < 100 + 30 * n else None
    )
    utterances = prepare("First sentence here.\n\nSecond sentence here.\n\nThird sentence here.").utterances
    reader = Reader(
        model,
        lambda u: builder.clone(u.text, range(32)),
        tokenizer,
        SamplingOptions(),
        1,
        ReadingOptions(batch_size=3),
    )
    results = reader.read(utterances)
    next(results)
    assert model.running
    results.close()
    assert not model.running


def test_every_attempt_has_its_own_seed_and_the_first_has_the_texts_own() -> None:
    seeds = {derived_seed(7, order, attempt) for order in [(0,), (1,), (0, 0), (0, 1), (1, 0)] for attempt in range(3)}
    assert len(seeds) == 15
    assert derived_seed(7, (0,), 0) == 7


@given(st.floats(0, 1000))
def test_a_budget_exceeds_the_expected_length_and_is_bounded(seconds: float) -> None:
    budget = Guard(seconds).budget
    assert min(MAX_TOKENS, 50 * seconds) <= budget <= MAX_TOKENS


@settings(max_examples=50)
@given(st.integers(1, 4), st.integers(0, 200))
def test_repetition_of_a_few_tokens_is_noticed_within_two_seconds(period: int, lead: int) -> None:
    guard = Guard(20.0)
    tokens = [1000 + index for index in range(lead)]
    for index in range(101):
        tokens.append(index % period)
        if guard.while_speaking(tokens) is Problem.STUCK:
            return
    raise AssertionError("not noticed")


def test_speech_with_a_natural_pause_is_not_stuck() -> None:
    tokens = [babble(0, position) for position in range(100)]
    pause = [5] * 50
    for end in range(1, 250):
        assert Guard(20.0).while_speaking((tokens + pause + tokens)[:end]) is None


@pytest.mark.parametrize("bad", [{"retries": -1}, {"batch_size": 0}, {"batch_size": 1000}, {"retries": 99}])
def test_senseless_reading_options_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        replace(ReadingOptions(), **bad)  # type: ignore[arg-type]
