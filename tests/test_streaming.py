"""Speech while it is written: the same speech, at once, stopped at once, and honest about what went wrong."""

from __future__ import annotations

import gc
import importlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparktts import ReadingOptions, SparkTTS, Style, Voice
from sparktts.engine.base import Handle
from sparktts.errors import GenerationError, OptionError, TextError
from sparktts.guards import STUCK_WINDOW
from sparktts.streaming import (
    GROWTH,
    HOLD,
    LARGEST_WINDOW,
    LATER_WINDOW,
    LOOK_AHEAD,
    MARGIN,
    SOUNDING,
    Chunk,
    SpeechStream,
    _Pace,
)
from sparktts.windows import decode_in_windows

from .engine.misbehaving import Script, ScriptedModel, babble, never_stop, say_nothing, speak_for, stall
from .test_on_demand import AskingModel, voice_of, with_options

UNCHECKED = ReadingOptions(checks=False)
SHORT = "Hi there."
LONGER = "This is one sentence that takes some seconds."
FOUR = "First sentence here.\n\nSecond sentence here.\n\nThird sentence here.\n\nThe fourth one."
PATIENCE = 30.0  # seconds after which a test gives up


@pytest.fixture(scope="module")
def loaded(mini: Path) -> SparkTTS:
    return SparkTTS.from_pretrained(mini, device="cpu")


@pytest.fixture
def tts(loaded: SparkTTS, monkeypatch: pytest.MonkeyPatch) -> SparkTTS:
    """Utterances of its random weights, which never stop by themselves, are cut early."""
    monkeypatch.setattr("sparktts.guards.MAX_TOKENS", 90)
    return loaded


@pytest.fixture(scope="module")
def voice(loaded: SparkTTS, clip_24k: Path) -> Voice:
    return loaded.clone(clip_24k)


@pytest.fixture(scope="module")
def another(mini: Path) -> SparkTTS:
    return SparkTTS.from_pretrained(mini, device="cpu")


@pytest.fixture
def scripted(another: SparkTTS) -> tuple[SparkTTS, ScriptedModel]:
    """The real pipeline and codec with a language model that a test scripts."""
    tts = another
    model = ScriptedModel(tts.tokenizer.semantic.first, tts.tokenizer.stop, speak_for(100))
    tts.engine.__dict__["language_model"] = model
    return tts, model


@pytest.fixture(autouse=True)
def nothing_remains() -> Iterator[None]:
    """After every test all threads of streams have ended."""
    yield
    gc.collect()
    assert wait_for(lambda: not threads()), threads()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("sparktts")]


def wait_for(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def sound(chunks: list[Chunk]) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in chunks])


def said(script: Script, number: int, tokens: int) -> np.ndarray:
    return np.array([script(number, position) for position in range(tokens)])


def holds(whole: np.ndarray, part: np.ndarray) -> bool:
    """Whether `part` stands somewhere in `whole`."""
    begins = np.flatnonzero(np.abs(whole[: len(whole) - len(part)] - part[0]) < 1e-4)
    return any(np.abs(whole[at : at + len(part)] - part).max() < 1e-4 for at in begins)


# The speech itself


@pytest.mark.parametrize("text", [SHORT, "你好，世界。"])
def test_exact_chunks_are_the_speech_of_say(tts: SparkTTS, voice: Voice, text: str) -> None:
    whole = tts.say(text, voice=voice, seed=3, reading=UNCHECKED)
    stream = tts.stream(text, voice=voice, seed=3, reading=UNCHECKED, mode="exact")
    chunks = list(stream)
    samples = sound(chunks)
    assert samples.dtype == np.float32
    assert samples.shape == whole.samples.shape
    assert np.abs(samples - whole.samples).max() <= 1e-4 * np.abs(whole.samples).max()
    assert len(chunks) > 2
    assert stream.report is not None
    assert whole.report is not None
    assert replace(stream.report, elapsed=0.0) == replace(whole.report, elapsed=0.0)
    assert stream.voice == voice


def test_chunks_follow_each_other_and_belong_to_their_utterances(tts: SparkTTS, voice: Voice) -> None:
    stream = tts.stream(FOUR, voice=voice, seed=1, reading=UNCHECKED)
    chunks = list(stream)
    at = 0.0
    for chunk in chunks:
        assert chunk.start == pytest.approx(at, abs=1e-9)
        assert chunk.sample_rate == stream.sample_rate == 16000
        at += chunk.duration
    assert [chunk.utterance for chunk in chunks] == sorted(chunk.utterance for chunk in chunks)
    assert {chunk.utterance for chunk in chunks} == {0, 1, 2, 3}
    assert stream.report is not None
    assert [u.source for u in stream.report.utterances] == FOUR.split("\n\n")
    assert stream.report.seconds == pytest.approx(at)
    assert list(stream) == []  # a stream is heard once


def test_what_is_exact_of_each_of_several_utterances_is_exact(
    scripted: tuple[SparkTTS, ScriptedModel], voice: Voice
) -> None:
    tts, model = scripted
    model.script = lambda number, position: babble(number, position) if position < 90 + 20 * number else None
    samples = sound(list(tts.stream(FOUR, voice=voice, seed=1, mode="exact")))
    first = decode_in_windows(tts.engine.codec, said(babble, 0, 90), np.array(voice.speaker))
    assert holds(samples, first[8000:12000])


def test_a_created_voice_is_streamed_too(scripted: tuple[SparkTTS, ScriptedModel]) -> None:
    tts, model = scripted
    stream = tts.stream(FOUR, style=Style("male", 120, "low"), seed=5, reading=ReadingOptions(batch_size=4))
    assert stream.voice is None
    heard = sound(list(stream))
    whole = tts.say(FOUR, style=Style("male", 120, "low"), seed=5, reading=ReadingOptions(batch_size=4))
    assert stream.voice is not None
    assert whole.voice is not None
    assert stream.voice.gender == "male"
    assert len(stream.voice.speaker) == 32
    assert stream.report is not None
    assert stream.report.style == "pitch 120 Hz, moderate; speed low"
    assert len(heard) / 16000 == pytest.approx(4 * 2 + 3 * 0.6, abs=0.5)
    create, *clones = model.prompts[:4]
    assert create[0] == tts.tokenizer.task_create
    assert all(prompt[0] == tts.tokenizer.task_tts for prompt in clones)


def test_metadata_says_that_it_is_synthetic(tts: SparkTTS, voice: Voice) -> None:
    comment = tts.stream(SHORT, voice=voice, seed=4).metadata["comment"]
    assert "Synthetic" in comment
    assert "seed 4" in comment
    assert voice.id in comment


# While the model writes


def test_the_first_sound_comes_after_the_look_ahead_and_two_tokens(
    scripted: tuple[SparkTTS, ScriptedModel], voice: Voice
) -> None:
    """The model writes no further until somebody has heard the beginning."""
    tts, model = scripted
    heard = threading.Event()

    def script(number: int, position: int) -> int | None:
        if position == LOOK_AHEAD + 2:
            assert heard.wait(PATIENCE)
        return babble(number, position) if position < 120 else None

    model.script = script
    with tts.stream(LONGER, voice=voice) as stream:
        first = next(stream)
        assert 0 < first.duration <= 0.04
        heard.set()
        rest = list(stream)
    assert sum(chunk.duration for chunk in [first, *rest]) == pytest.approx(2.4, abs=0.3)


def test_windows_grow_so_that_little_is_decoded_twice(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    tts, model = scripted
    model.script = speak_for(400)
    text = "A long sentence, " * 5 + "which is spoken as one."
    for mode, most in (("low-latency", 2.0), ("exact", 2.2)):
        stream = tts.stream(text, voice=voice, mode=mode)  # type: ignore[arg-type]
        list(stream)
        figures = stream.figures
        assert figures.emitted_tokens == 400 * len(stream.report.utterances)  # type: ignore[union-attr]
        assert figures.windows >= 2
        assert 1.0 <= figures.overhead <= most


def test_the_rest_of_a_long_text_is_prepared_while_the_first_of_it_is_spoken(
    scripted: tuple[SparkTTS, ScriptedModel], voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    preparing = importlib.import_module("sparktts.text.prepare")
    prepared: list[str] = []
    really = preparing.speakable

    def counted(*arguments: object) -> object:
        prepared.append("")
        return really(*arguments)

    monkeypatch.setattr(preparing, "speakable", counted)
    tts, _ = scripted
    text = "\n\n".join(f"This is paragraph number {number} of a book." for number in range(2000))
    with tts.stream(text, voice=voice) as stream:
        next(stream)
    assert len(prepared) < 100


def test_a_listener_who_pauses_lets_others_use_the_model(
    scripted: tuple[SparkTTS, ScriptedModel], voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparktts.streaming.MOST_AHEAD", 1.0)
    tts, model = scripted
    with tts.stream("\n\n".join([FOUR] * 5), voice=voice, seed=1) as stream:
        next(stream)
        other = tts.say(SHORT, voice=voice, seed=1)  # from the same thread, in the middle
        assert other.duration > 1
        assert model.started < 20
        rest = list(stream)
    assert stream.report is not None
    assert len(stream.report.utterances) == 20
    assert rest[-1].utterance == 19


def test_seeds_do_not_depend_on_who_listens_when(tts: SparkTTS, voice: Voice) -> None:
    text = "One here.\n\nTwo here."
    quick = list(tts.stream(text, voice=voice, seed=2, reading=UNCHECKED, mode="exact"))
    slow = []
    for chunk in tts.stream(text, voice=voice, seed=2, reading=UNCHECKED, mode="exact"):
        time.sleep(0.05)
        slow.append(chunk)
    # The gain of the second one is fixed by what is known when it begins: compare the first.
    first = [sound([c for c in chunks if c.utterance == 0]) for chunks in (quick, slow)]
    assert np.allclose(first[0], first[1], atol=1e-4)


# Stopping


def stopped(tts: SparkTTS, model: ScriptedModel, leave: Callable[[SpeechStream], None], voice: Voice) -> None:
    def slowly(number: int, position: int) -> int:
        time.sleep(0.005)
        return babble(number, position)

    model.script = slowly
    stream = tts.stream(LONGER, voice=voice, reading=UNCHECKED)
    next(stream)
    assert len(threads()) == 2
    assert model.running
    leave(stream)
    assert not threads()
    assert not model.running
    assert list(stream) == []
    assert stream.report is None
    model.script = speak_for(60)
    assert tts.say(SHORT, voice=voice).duration > 0  # the model is free again


def test_closing_stops_both_threads_and_the_sequence(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    stopped(*scripted, SpeechStream.close, voice)


def test_leaving_a_with_block_stops(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    def leave(stream: SpeechStream) -> None:
        with pytest.raises(ZeroDivisionError), stream:
            raise ZeroDivisionError

    stopped(*scripted, leave, voice)


def test_ctrl_c_while_waiting_stops(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    tts, model = scripted
    reached = threading.Event()

    def script(number: int, position: int) -> int:
        if position > 60:
            reached.set()
            time.sleep(0.05)
        return babble(number, position)

    model.script = script
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt() -> None:
        reached.wait(PATIENCE)
        signal.raise_signal(signal.SIGINT)

    try:
        stream = tts.stream(LONGER, voice=voice, reading=UNCHECKED)
        threading.Thread(target=lambda: interrupt()).start()
        with pytest.raises(KeyboardInterrupt):
            list(stream)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert not model.running
    assert not threads()


def test_a_stream_that_nobody_holds_any_more_stops(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    tts, model = scripted
    model.script = never_stop
    for _ in tts.stream(LONGER, voice=voice, reading=UNCHECKED):
        break
    gc.collect()
    assert wait_for(lambda: not threads() and not model.running)


def test_a_stream_that_is_never_heard_starts_nothing(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    tts, model = scripted
    stream = tts.stream(LONGER, voice=voice)
    assert not threads()
    stream.close()
    assert list(stream) == []
    assert model.started == 0


def test_the_real_model_has_no_sequence_left(tts: SparkTTS, voice: Voice) -> None:
    with tts.stream(LONGER, voice=voice, reading=UNCHECKED) as stream:
        next(stream)
    assert not tts.engine.language_model._running  # type: ignore[attr-defined]


# What goes wrong


def test_before_the_first_sample_everything_is_tried_again(
    scripted: tuple[SparkTTS, ScriptedModel], voice: Voice
) -> None:
    tts, model = scripted
    model.script = lambda number, position: (say_nothing, speak_for(LOOK_AHEAD), speak_for(150))[number](
        number, position
    )
    stream = tts.stream(LONGER, voice=voice, mode="exact")
    samples = sound(list(stream))
    assert stream.report is not None
    (utterance,) = stream.report.utterances
    assert utterance.retries == 2
    assert utterance.problems == ("wrote no speech", "stopped far too early")
    assert not stream.report.notes
    expected = decode_in_windows(tts.engine.codec, said(babble, 2, 150), np.array(voice.speaker))
    assert np.abs(samples[400:-400] - expected[400:-400]).max() < 1e-4


def test_a_cut_is_made_where_it_went_wrong(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    tts, model = scripted
    heard = threading.Event()

    def script(number: int, position: int) -> int:
        if position == 105:
            assert heard.wait(PATIENCE)
        return babble(number, position) if position < 100 else 7 + position % 2

    model.script = script
    stream = tts.stream(LONGER, voice=voice, seed=1)
    chunks = [next(stream)]
    heard.set()
    chunks += list(stream)
    assert stream.report is not None
    (utterance,) = stream.report.utterances
    assert utterance.problems == ("repeated itself",)
    assert 2.0 <= utterance.seconds <= (100 + STUCK_WINDOW) / 50
    assert model.started == 1
    assert any("had been heard: it was cut after" in note for note in stream.report.notes)
    assert sum(chunk.duration for chunk in chunks) == pytest.approx(utterance.seconds, abs=0.1)


def test_an_utterance_that_stopped_at_once_is_begun_again(
    scripted: tuple[SparkTTS, ScriptedModel], voice: Voice
) -> None:
    tts, model = scripted
    heard = threading.Event()

    def script(number: int, position: int) -> int | None:
        if number == 0 and position == 25:
            assert heard.wait(PATIENCE)
            return None
        return babble(number, position) if position < 130 else None

    model.script = script
    stream = tts.stream(LONGER, voice=voice, seed=1, mode="low-latency", look_ahead=2)
    chunks = [next(stream)]
    heard.set()
    chunks += list(stream)
    assert stream.report is not None
    first, second = stream.report.utterances
    assert first.problems == ("stopped far too early",)
    assert first.seconds == 0.5
    assert second.problems == ()
    assert second.seconds == 2.6
    assert first.source == second.source == LONGER
    assert second.seed == model.seeds[1] != first.seed
    assert any("cut after 0.5 s and said again" in note for note in stream.report.notes)
    assert {chunk.utterance for chunk in chunks} == {0, 1}


def test_a_later_utterance_is_complete_before_it_is_heard_if_there_is_time(
    scripted: tuple[SparkTTS, ScriptedModel], voice: Voice
) -> None:
    """The first one gives the listener four seconds; the second one fails after two and nobody hears of it."""
    tts, model = scripted

    def script(number: int, position: int) -> int | None:
        if number == 0:
            return babble(number, position) if position < 200 else None
        return stall(number, position) if number == 1 else (babble(number, position) if position < 100 else None)

    model.script = script
    stream = tts.stream("This is a first sentence here of four seconds.\n\nSecond sentence here.", voice=voice, seed=1)
    list(stream)
    assert stream.report is not None
    assert [utterance.retries for utterance in stream.report.utterances] == [0, 1]
    assert not stream.report.notes


def test_a_hopeless_sentence_is_named_after_what_came_before_it_was_heard(
    scripted: tuple[SparkTTS, ScriptedModel], voice: Voice
) -> None:
    tts, model = scripted
    model.script = lambda number, position: (speak_for(100) if number == 0 else say_nothing)(number, position)
    heard = []
    with pytest.raises(GenerationError, match="Oh no"):
        heard.extend(tts.stream("This sentence works well.\n\nOh no.", voice=voice))
    assert sum(chunk.duration for chunk in heard) == pytest.approx(2.0 + 0.6, abs=0.2)
    assert not model.running


def test_without_checks_everything_is_kept(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    tts, model = scripted
    model.script = never_stop
    stream = tts.stream(SHORT, voice=voice, reading=UNCHECKED)
    heard = sound(list(stream))
    whole = tts.say(SHORT, voice=voice, reading=UNCHECKED)
    assert len(heard) == len(whole.samples)
    model.script = say_nothing
    assert list(tts.stream(SHORT, voice=voice, reading=UNCHECKED)) == []


def test_a_failing_decoder_ends_the_stream_with_its_error(
    scripted: tuple[SparkTTS, ScriptedModel], voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    tts, model = scripted
    model.script = never_stop
    monkeypatch.setattr(tts.engine.codec, "decode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(tts.stream(LONGER, voice=voice))
    assert not model.running


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "quick"},
        {"look_ahead": -1},
        {"look_ahead": 2.5},
        {"look_ahead": True},
        {"mode": "exact", "look_ahead": 5},
    ],
)
def test_senseless_options_are_refused_at_once(tts: SparkTTS, voice: Voice, options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        tts.stream(SHORT, voice=voice, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "  \n", "🎉"])
def test_a_text_without_words_is_an_error_at_once(tts: SparkTTS, voice: Voice, text: str) -> None:
    with pytest.raises(TextError):
        tts.stream(text, voice=voice)


# When windows are decoded


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_windows_grow_up_to_a_limit() -> None:
    pace = _Pace(10, 2, Clock())
    pace.begin()
    start, sizes = 0, []
    for known in range(3000):
        if (stop := pace.stop(start, known, finished=False)) is not None:
            assert known - stop >= 10
            sizes.append(stop - start)
            start = stop
            pace.decoded(sizes[-1], 0.0)
            if len(sizes) > 1:
                pace.sent(0.1)  # the first one was silence, and there is little sound in the next one
    assert sizes[:4] == [SOUNDING, SOUNDING, SOUNDING, GROWTH * SOUNDING]
    assert set(sizes[4:]) == {LARGEST_WINDOW}


@pytest.mark.parametrize(("each", "first"), [(0.001, SOUNDING), (0.02, 2)])
def test_only_a_fast_model_is_waited_for_until_a_window_is_likely_to_sound(each: float, first: int) -> None:
    clock = Clock()
    pace = _Pace(10, 2, clock)
    pace.begin()
    known = 0
    while (stop := pace.stop(0, known, finished=False)) is None:
        known += 1
        clock.now += each
    assert (stop, known) == (first, first + 10)


def test_the_first_window_does_not_wait_long_for_a_model_that_pauses() -> None:
    clock = Clock()
    pace = _Pace(10, 2, clock)
    pace.begin()
    assert pace.stop(0, 10 + 5, finished=False) is None
    patience = pace.patience(10 + 5)
    assert patience is not None
    clock.now += patience
    assert pace.stop(0, 10 + 5, finished=False) == 5
    assert pace.patience(10 + 5) is None


def test_a_window_is_decoded_early_when_the_listener_would_run_out() -> None:
    clock = Clock()
    pace = _Pace(10, 2, clock)
    pace.begin()
    pace.decoded(40, 0.1)
    pace.sent(1.0)
    assert pace.stop(40, 40 + 10 + 60, finished=False) is None  # 120 would be full
    patience = pace.patience(100)
    assert patience is not None
    assert 0 < patience < 1.0 - MARGIN
    clock.now += patience
    assert pace.stop(40, 40 + 10 + 70, finished=False) == 110
    assert pace.stop(40, 40 + 10 + 30, finished=False) is None  # too few to be worth it
    clock.now += 5  # too late anyway: full windows cost least
    assert pace.stop(40, 40 + 10 + 60, finished=False) is None
    assert pace.patience(100) is None
    pace.sent(0.5)
    assert pace.late == pytest.approx(5 - (1.0 - patience))
    assert pace.ahead == pytest.approx(0.5)


@given(
    st.lists(st.tuples(st.integers(1, 300), st.floats(0.001, 0.5)), max_size=5),
    st.floats(0.0, 3.0),
    st.integers(0, 40),
    st.integers(0, 100),
    st.booleans(),
)
def test_fewer_tokens_than_enough_are_never_decoded(
    windows: list[tuple[int, float]], later: float, start: int, more: int, anew: bool
) -> None:
    clock = Clock()
    pace = _Pace(10, 2, clock)
    for tokens, cost in windows:
        pace.decoded(tokens, cost)
        pace.sent(tokens / 50)
    clock.now += later
    if anew:
        pace.begin()
    known = start + more
    waits = pace.stop(start, known, finished=False) is None
    enough = min(pace.enough(start, known), 1000)
    if waits:
        assert all(pace.stop(start, number, finished=False) is None for number in range(known, enough))
    assert enough == 1000 or pace.stop(start, max(enough, start + 10 + SOUNDING), finished=False) is not None


def test_a_later_utterance_waits_while_there_is_much_to_hear() -> None:
    clock = Clock()
    pace = _Pace(10, 2, clock)
    pace.begin()
    pace.decoded(200, 0.2)
    pace.sent(4.0)
    pace.begin()
    assert pace.stop(0, 150, finished=False) is None
    assert pace.stop(0, 150, finished=True) == 150
    patience = pace.patience(100)
    assert patience == pytest.approx(4.0 - HOLD - 0.2, abs=0.01)
    clock.now += patience
    assert pace.stop(0, 150, finished=False) == 140
    assert pace.stop(0, 10 + LATER_WINDOW - 1, finished=False) is None


# Text that is still arriving


def test_arriving_text_is_spoken_before_it_has_ended(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    tts, model = scripted
    heard = threading.Event()

    def pieces() -> Iterator[str]:
        yield from ("This is", " the first sentence. ", "And here", " it goes")
        assert heard.wait(PATIENCE)
        yield from (" on, for a while. ", "The end.")

    with tts.stream(pieces(), voice=voice, seed=1) as stream:
        first = next(stream)
        heard.set()
        chunks = [first, *stream]
    assert stream.report is not None
    text = " ".join(utterance.source for utterance in stream.report.utterances)
    assert text == "This is the first sentence. And here it goes on, for a while. The end."
    assert model.started == len(stream.report.utterances) == max(chunk.utterance for chunk in chunks) + 1


def test_a_clause_is_spoken_as_soon_as_it_is_complete(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    tts, _ = scripted
    heard = threading.Event()

    def pieces() -> Iterator[str]:
        yield "Although it had been raining for days, "
        assert heard.wait(PATIENCE)
        yield "we went out."

    with tts.stream(pieces(), voice=voice) as stream:
        next(stream)
        heard.set()
        list(stream)
    assert stream.report is not None
    assert [utterance.text for utterance in stream.report.utterances] == [
        "Although it had been raining for days,",
        "we went out.",
    ]
    assert stream.report.utterances[0].pause < 0.3


def test_a_text_that_breaks_off_is_spoken_and_then_its_error_raised(
    scripted: tuple[SparkTTS, ScriptedModel], voice: Voice
) -> None:
    def pieces() -> Iterator[str]:
        yield "This was all that"
        raise ConnectionError("gone")

    heard = []
    with pytest.raises(ConnectionError, match="gone"):
        heard.extend(scripted[0].stream(pieces(), voice=voice))
    assert sum(chunk.duration for chunk in heard) > 1.5


def test_wrong_pieces_and_no_pieces_are_errors(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    tts, _ = scripted
    for pieces in ([], ["", "  "], [b"bytes"], ["🎉"]):
        with pytest.raises(TextError):
            list(tts.stream(pieces, voice=voice))  # type: ignore[arg-type]


def test_closing_lets_go_of_a_text_that_has_not_ended(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    tts, model = scripted
    told, ended = threading.Event(), threading.Event()

    def pieces() -> Iterator[str]:
        try:
            yield "This is the first sentence. "
            told.wait(PATIENCE)
            while True:
                yield "More. "
        finally:
            ended.set()

    stream = tts.stream(pieces(), voice=voice)
    next(stream)
    stream.close()
    assert set(threads()) <= {"sparktts-text"}  # it waits inside the text
    told.set()
    assert ended.wait(PATIENCE)
    assert not model.running


# The same where the model asks for its words


class ListeningModel(AskingModel):
    """A scripted model that asks for words, and waits for those that have not come."""

    def step(self) -> dict[object, int]:  # type: ignore[override]
        waiting = {h: s for h, s in self.running.items() if s[0].waiting}
        for handle in waiting:
            del self.running[handle]
        for grammar, _, _ in self.running.values():
            grammar.forced()
        chosen = super().step()
        self.running.update(waiting)
        return chosen


@pytest.fixture
def asking(mini: Path, tmp_path: Path) -> tuple[SparkTTS, ListeningModel]:
    path = with_options(mini, tmp_path / "m", text_order="on_demand")
    tts = SparkTTS.from_pretrained(path, device="cpu", voices=tmp_path / "voices")
    model = ListeningModel(tts.tokenizer.semantic.first, tts.tokenizer.stop, speak_for(0))
    tts.engine.__dict__["language_model"] = model
    return tts, model


def test_words_are_taken_as_they_come(asking: tuple[SparkTTS, ListeningModel]) -> None:
    tts, model = asking
    heard = threading.Event()

    def pieces() -> Iterator[str]:
        yield from ("the qu", "ick brown", " fox ju", "mps ")
        assert heard.wait(PATIENCE)
        yield from ("over the ", "lazy dog", ". It sle", "eps.")

    with tts.stream(pieces(), voice=voice_of(tts), seed=1, look_ahead=2) as stream:
        next(stream)
        heard.set()
        list(stream)
    assert stream.report is not None
    text = " ".join(utterance.text for utterance in stream.report.utterances)
    assert text == "the quick brown fox jumps over the lazy dog. It sleeps."
    content = model.prompts[0][2 : model.prompts[0].index(tts.tokenizer.end["content"])]
    assert list(content) == tts.tokenizer.encode("the quick")


def test_the_real_model_speaks_words_as_they_come(mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparktts.guards.MAX_TOKENS", 150)
    tts = SparkTTS.from_pretrained(with_options(mini, tmp_path / "m", text_order="on_demand"), device="cpu")
    text = "yes it is what we thought. And it is not at all bad."
    stream = tts.stream((word + " " for word in text.split(" ")), voice=voice_of(tts), seed=1, reading=UNCHECKED)
    assert sound(list(stream)).size > 16000
    assert stream.report is not None
    assert " ".join(utterance.source for utterance in stream.report.utterances) == text


def test_a_cut_where_words_have_times_says_the_rest(asking: tuple[SparkTTS, ListeningModel]) -> None:
    tts, model = asking
    heard = threading.Event()
    words = "one two three four five six"

    class Stalling(ListeningModel):
        """In the fourth word of its first sequence it stalls."""

        def step(self) -> dict[Handle, int]:  # type: ignore[override]
            handle = next(iter(self.running))
            grammar, _, spoken = self.running[handle]
            if handle == 0 and grammar.asked == 3 and len(spoken) >= 4:  # type: ignore[attr-defined]
                heard.wait(PATIENCE)
                token = self.semantic_first + 5
                spoken.append(token)
                if token not in grammar.legal():
                    return super().step()  # type: ignore[return-value]
                grammar.accept(token)
                return {handle: token}
            return super().step()  # type: ignore[return-value]

    model.__class__ = Stalling
    with tts.stream(words, voice=voice_of(tts), seed=1, look_ahead=2) as stream:
        next(stream)
        heard.set()
        list(stream)
    assert stream.report is not None
    first, rest = stream.report.utterances
    assert first.problems == ("repeated itself",)
    assert any("and the rest of it said next" in note for note in stream.report.notes)
    content = list(model.prompts[1][2 : model.prompts[1].index(tts.tokenizer.end["content"])])
    assert content in [
        tts.tokenizer.encode(" ".join(pair)) for pair in (("three", "four"), ("four", "five."), ("four", "five"))
    ]
    assert rest.problems == ()
