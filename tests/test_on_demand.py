"""Text on demand: the model asks for its words; what it is trained on is what it is fed and says later."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparktts import ReadingOptions, SparkTTS, Style, Voice
from sparktts.checkpoint.layout import Checkpoint
from sparktts.engine.base import Samples
from sparktts.engine.torch.language_model import TorchLanguageModel
from sparktts.errors import CheckpointError, InvalidTokens, OptionError, TextError
from sparktts.on_demand import OnDemandGrammar, plain_words, word_bounds, word_ends
from sparktts.prompt import Controls, Prompt, PromptBuilder, SpokenText
from sparktts.sampling import SamplingOptions
from sparktts.tokenizer import SparkTokenizer
from sparktts.voice import Provenance, Word

from .engine.misbehaving import ScriptedModel, babble, speak_for

SPEAKER = tuple(range(100, 132))
WORDS = ("ðə", "kwˈɪk", "bɹˈWn", "fˈɑks.")


@pytest.fixture(scope="module")
def tokenizer(mini: Path) -> SparkTokenizer:
    return SparkTokenizer.from_file(mini / "LLM" / "tokenizer.json")


@pytest.fixture(scope="module")
def builder(tokenizer: SparkTokenizer) -> PromptBuilder:
    return PromptBuilder(tokenizer)


def with_options(mini: Path, target: Path, **options: str) -> Path:
    """The mini checkpoint with other options."""
    shutil.copytree(mini, target)
    config = target / "config.yaml"
    config.write_text(config.read_text() + "".join(f"\n{key}: {value}" for key, value in options.items()) + "\n")
    return target


def grammar_of(prompt: Prompt) -> OnDemandGrammar:
    assert isinstance(prompt.grammar, OnDemandGrammar)
    return prompt.grammar


def speak(grammar: OnDemandGrammar, builder: PromptBuilder, tokens: int) -> None:
    for _ in range(tokens):
        grammar.accept(builder.tokenizer.semantic.id(7))


def test_words_are_asked_for_and_the_last_one_ends_with_the_stop(builder: PromptBuilder) -> None:
    t = builder.tokenizer
    prompt = builder.clone_on_demand(WORDS, SPEAKER)
    grammar, ask, answered = grammar_of(prompt), t.start["content"], t.end["content"]
    assert list(prompt.ids[1 : prompt.ids.index(answered)]) == [ask, *t.encode("ðə kwˈɪk")]
    assert grammar.forced() == (t.start["semantic_token"],)
    expected = [(*t.encode("bɹˈWn"), answered), (*t.encode("fˈɑks."), answered), (answered,)]
    for number, answer in enumerate(expected):
        assert t.stop not in grammar.legal()
        with pytest.raises(InvalidTokens):
            grammar.accept(t.stop)
        speak(grammar, builder, 5)
        assert grammar.legal().ranges == (t.semantic.span, (ask, ask + 1))
        grammar.accept(ask)
        with pytest.raises(InvalidTokens):
            grammar.legal()  # the answer is not fed yet
        assert not grammar.waiting
        assert grammar.forced() == answer
        assert grammar.forced() == ()
        assert grammar.asked == number + 1
    speak(grammar, builder, 4)
    assert grammar.legal().ranges == ((t.stop, t.stop + 1), t.semantic.span)
    grammar.accept(t.stop)
    assert grammar.done
    assert grammar.word_ends == [5, 10, 15, 19]
    assert grammar.read(t.semantic) == (7,) * 19


def test_a_word_is_neither_skipped_nor_held_for_ever(builder: PromptBuilder) -> None:
    t = builder.tokenizer
    grammar = grammar_of(builder.clone_on_demand(WORDS, SPEAKER))
    grammar.forced()
    for index, word in enumerate(WORDS):
        bounds = word_bounds(word)
        end = t.stop if index == len(WORDS) - 1 else t.start["content"]
        assert 1 <= bounds.least < bounds.most
        speak(grammar, builder, bounds.least - 1)
        assert grammar.legal().ranges == (t.semantic.span,)
        with pytest.raises(InvalidTokens):
            grammar.accept(end)
        speak(grammar, builder, 1)
        assert end in grammar.legal()
        speak(grammar, builder, bounds.most - bounds.least)
        assert grammar.legal().ranges == ((end, end + 1),)
        with pytest.raises(InvalidTokens):
            speak(grammar, builder, 1)
        grammar.accept(end)
        grammar.forced()
    assert grammar.done
    assert word_bounds("ˈˌ").least == 1
    assert word_bounds("kwˈɪkli").least > word_bounds("ðə").least
    assert word_bounds("你好。") == word_bounds("abcdef。")


def test_a_word_may_take_longer_in_slow_speech_and_less_in_fast(builder: PromptBuilder) -> None:
    def bounds(**controls: int) -> tuple[int, int]:
        grammar = grammar_of(builder.clone_on_demand(["kwˈɪkli", "ðə"], SPEAKER, controls=Controls(**controls)))
        grammar.forced()
        count = 0
        while builder.marks.ask not in grammar.legal():
            speak(grammar, builder, 1)
            count += 1
        least = count
        while builder.tokenizer.semantic.id(7) in grammar.legal():
            speak(grammar, builder, 1)
            count += 1
        return least, count

    usual = bounds()
    assert usual == bounds(speed_label=2) == (word_bounds("kwˈɪkli").least, word_bounds("kwˈɪkli").most)
    slowest, slow, fast = (bounds(speed_label=level) for level in (0, 1, 4))
    assert slowest[0] == slow[0] == usual[0] > fast[0]
    assert slowest[1] > slow[1] > usual[1] == fast[1]
    assert bounds(speed_label=0, speed_value=1)[1] > slowest[1]
    assert grammar_of(builder.create_on_demand(WORDS, Controls(gender=0, speed_label=4))).pace < 1


def test_one_word_may_stop_at_once_and_none_is_an_error(builder: PromptBuilder) -> None:
    t = builder.tokenizer
    grammar = grammar_of(builder.clone_on_demand(["ðə"], SPEAKER))
    grammar.forced()
    speak(grammar, builder, 1)
    assert t.stop in grammar.legal()
    assert t.start["content"] not in grammar.legal()
    with pytest.raises(TextError):
        builder.clone_on_demand([], SPEAKER)


def test_words_may_arrive_while_they_are_spoken(builder: PromptBuilder) -> None:
    t = builder.tokenizer
    ask, answered = t.start["content"], t.end["content"]
    with pytest.raises(TextError, match="2 words"):
        builder.clone_on_demand(WORDS[:1], SPEAKER, closed=False)
    grammar = grammar_of(builder.clone_on_demand(WORDS[:2], SPEAKER, closed=False))
    grammar.forced()
    speak(grammar, builder, 5)
    grammar.accept(ask)
    assert grammar.waiting
    assert grammar.forced() == ()
    grammar.append_words(WORDS[2:3])
    assert not grammar.waiting
    assert grammar.forced() == (*t.encode(WORDS[2]), answered)
    speak(grammar, builder, 5)
    grammar.accept(ask)
    assert grammar.waiting
    grammar.close()
    assert not grammar.waiting
    assert grammar.forced() == (answered,)
    speak(grammar, builder, 5)
    assert t.stop in grammar.legal()
    with pytest.raises(TextError):
        grammar.append_words(["x"])


def replayed(prompt: Prompt, ids: Sequence[int]) -> tuple[list[int], list[bool]]:
    """What generation feeds and samples, when the model says exactly the ids that are targets."""
    grammar, fed, sampled = prompt.grammar, list(prompt.ids), [False] * len(prompt.ids)
    says = iter(ids)
    while True:
        forced = grammar.forced()
        fed += forced
        sampled += [False] * len(forced)
        if grammar.done:
            return fed, sampled
        token = next(says)
        grammar.accept(token)
        fed.append(token)
        sampled.append(True)


def spoken(draw: st.DataObject, words: Sequence[str]) -> SpokenText:
    """Words with ends within their bounds, and random tokens."""
    sizes = [draw.draw(st.integers(bounds.least, bounds.least + 9)) for bounds in (word_bounds(word) for word in words)]
    codes = draw.draw(st.lists(st.integers(0, 8191), min_size=sum(sizes), max_size=sum(sizes)))
    return SpokenText(codes, words=words, word_ends=[int(end) for end in np.cumsum(sizes)])


PHONEME_WORDS = st.lists(st.sampled_from([*WORDS, "ni↓xau↓,", "lɤ."]), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.data(), PHONEME_WORDS, PHONEME_WORDS, st.booleans())
def test_training_on_demand_equals_generation(
    builder: PromptBuilder, data: st.DataObject, words: list[str], before: list[str], with_transcript: bool
) -> None:
    text = spoken(data, words)
    clip = spoken(data, before) if with_transcript else SpokenText(())
    controls = Controls(pitch_label=3)
    ids, targets = builder.training_clone(text, SPEAKER, clip, controls)
    said = [token for token, target in zip(ids, targets, strict=True) if target]
    prompt = builder.clone_on_demand(words, SPEAKER, clip, controls)
    assert replayed(prompt, said) == (ids, targets)
    assert grammar_of(prompt).word_ends == list(text.word_ends)
    assert said.count(builder.tokenizer.start["content"]) == len(words) - 1

    controls = Controls(gender=0, speed_label=1)
    ids, targets = builder.training_create(text, SPEAKER, controls, pitch_value=250, speed_value=4)
    said = [token for token, target in zip(ids, targets, strict=True) if target]
    assert replayed(builder.create_on_demand(words, controls), said) == (ids, targets)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 8191), min_size=1, max_size=20), st.lists(st.integers(0, 8191), max_size=20))
def test_training_text_first_equals_generation(builder: PromptBuilder, codes: list[int], clip: list[int]) -> None:
    before = SpokenText(clip, "The words. " if clip else "")
    ids, targets = builder.training_clone(SpokenText(codes, "hello, 世界"), SPEAKER, before)
    said = [token for token, target in zip(ids, targets, strict=True) if target]
    assert replayed(builder.clone("hello, 世界", SPEAKER, before.text, clip), said) == (ids, targets)
    assert said == [*(builder.tokenizer.semantic.id(code) for code in codes), builder.tokenizer.stop]
    controls = Controls(gender=1)
    ids, targets = builder.training_create(SpokenText(codes, "hi"), SPEAKER, controls, 100, 5)
    said = [token for token, target in zip(ids, targets, strict=True) if target]
    assert replayed(builder.create("hi", controls), said) == (ids, targets)
    assert len(said) == 2 + 32 + len(codes) + 1


@pytest.mark.parametrize("ends", [[3, 2], [1, 9], [-1, 4]])
def test_ends_of_words_out_of_order_are_refused(builder: PromptBuilder, ends: list[int]) -> None:
    with pytest.raises(InvalidTokens):
        builder.training_clone(SpokenText([1, 2, 3, 4], words=["a", "b"], word_ends=ends), SPEAKER)
    with pytest.raises(InvalidTokens):
        SpokenText([1, 2], words=["a"], word_ends=[])


def test_word_times_become_ends_in_tokens() -> None:
    assert word_ends([(0.1, 0.3), (0.4, 0.5), (0.38, 9.0)], 40) == [20, 20, 40]
    assert word_ends([(0.0, 1.0)], 7) == [7]


def test_words_without_phonemes_are_between_spaces_and_chinese_characters() -> None:
    assert plain_words("Hello, wide-open 世界！don't （你）go… 3.14 —") == (
        *("Hello,", "wide-open", "世", "界！", "don't", "（你）", "go…", "3.14"),
    )


@pytest.fixture(scope="module")
def model(mini: Path) -> TorchLanguageModel:
    return TorchLanguageModel(Checkpoint.open(mini), torch.device("cpu"), torch.float32)


def said_by(model: TorchLanguageModel, prompt: Prompt, steps: int = 10**6) -> list[int]:
    handle = model.add(prompt.ids, SamplingOptions(temperature=0.0), prompt.grammar)
    said = []
    while not prompt.grammar.done and len(said) < steps:
        said.append(model.step()[handle])
    model.cancel(handle)
    return said


def test_the_model_is_fed_what_the_layout_says(model: TorchLanguageModel, builder: PromptBuilder) -> None:
    """Greedy generation picks at each position the best legal id of one pass over the whole sequence."""
    prompt = builder.clone_on_demand(WORDS, SPEAKER)
    said = said_by(model, prompt)
    grammar = grammar_of(prompt)
    codes = grammar.read(builder.tokenizer.semantic)
    whole = SpokenText(codes, words=WORDS, word_ends=grammar.word_ends)
    ids, targets = builder.training_clone(whole, SPEAKER)
    assert [token for token, target in zip(ids, targets, strict=True) if target] == said
    scores = model.logits(ids)
    follow = grammar_of(builder.clone_on_demand(WORDS, SPEAKER))
    follow.forced()
    for at in np.flatnonzero(targets):
        legal = follow.legal().ids
        assert legal[np.argmax(scores[at - 1][legal])] == ids[at]
        follow.accept(ids[at])
        follow.forced()


def test_a_waiting_sequence_is_left_alone_and_goes_on_as_if_it_had_not_waited(
    model: TorchLanguageModel, builder: PromptBuilder
) -> None:
    expected = said_by(model, builder.clone_on_demand(WORDS, SPEAKER))
    waiting = builder.clone_on_demand(WORDS[:2], SPEAKER, closed=False)
    greedy = SamplingOptions(temperature=0.0)
    first = model.add(waiting.ids, greedy, waiting.grammar)
    said = []
    while not waiting.grammar.waiting:
        said.append(model.step()[first])
    assert model.step() == {}
    beside = builder.clone("hi", SPEAKER)
    other = model.add(beside.ids, greedy, beside.grammar)
    for _ in range(5):
        assert model.step().keys() == {other}
    grammar_of(waiting).append_words(WORDS[2:])
    grammar_of(waiting).close()
    while not waiting.grammar.done:
        said.append(model.step()[first])
    model.cancel(other)
    assert said == expected


@dataclass
class AskingModel(ScriptedModel):
    """A scripted model that also asks for words: each word of the n-th sequence gets `paces[n]` tokens (repeating), or
    what its bounds want."""

    paces: tuple[int, ...] = (8,)

    def step(self) -> dict[object, int]:  # type: ignore[override]
        chosen: dict[object, int] = {}
        for handle, (grammar, number, spoken) in list(self.running.items()):
            legal = grammar.legal()
            ends = [token for token in legal.ids if not self._is_semantic(int(token))]
            if self.semantic_first not in legal and len(ends) > 1:
                token = int(legal.ids[0])
            elif ends and (len(spoken) >= self.paces[number % len(self.paces)] or self.semantic_first not in legal):
                token = int(ends[0])
                spoken.clear()
            else:
                token = self.semantic_first + babble(number, len(spoken))
                spoken.append(token)
            grammar.accept(token)
            grammar.forced()
            chosen[handle] = token
            if grammar.done:
                del self.running[handle]
        return chosen

    def _is_semantic(self, token: int) -> bool:
        return self.semantic_first <= token < self.semantic_first + 8192


Make = Callable[[str], tuple[SparkTTS, AskingModel]]


@pytest.fixture
def asking(mini: Path, tmp_path: Path) -> Make:
    """The real pipeline and codec on an on-demand checkpoint with a scripted language model."""

    def make(frontend: str) -> tuple[SparkTTS, AskingModel]:
        path = with_options(mini, tmp_path / frontend, text_frontend=frontend, text_order="on_demand")
        tts = SparkTTS.from_pretrained(path, device="cpu", voices=tmp_path / "voices")
        model = AskingModel(tts.tokenizer.semantic.first, tts.tokenizer.stop, speak_for(0))
        tts.engine.__dict__["language_model"] = model
        return tts, model

    return make


def voice_of(tts: SparkTTS, transcript: str | None = None, words: tuple[Word, ...] = ()) -> Voice:
    semantic = tuple(range(50)) if transcript else ()
    provenance = Provenance("cloned", "2025-01-01")
    return Voice(SPEAKER, tts.engine.codec.fingerprint, provenance, transcript, semantic, words)


@pytest.mark.parametrize("frontend", ["text", "phonemes"])
def test_the_pipeline_speaks_on_demand(asking: Make, frontend: str) -> None:
    pytest.importorskip("gruut") if frontend == "phonemes" else None
    tts, model = asking(frontend)
    audio = tts.say("Hello there, 我的朋友。 This is the end.", voice=voice_of(tts), seed=1)
    assert audio.report is not None
    assert audio.duration > 1
    asked = model.prompts[0]
    content = asked[2 : asked.index(tts.tokenizer.end["content"])]
    first = {"text": "Hello there,", "phonemes": "hɛlˈO ðˈɛɹ,"}[frontend]
    assert list(content) == tts.tokenizer.encode(first)
    created = tts.say("One two three four.", style=Style(gender="male"), seed=2)
    assert created.voice is not None
    assert model.prompts[-1][0] == tts.tokenizer.task_create


@pytest.mark.parametrize("frontend", ["text", "phonemes"])
def test_phonemes_may_come_first_as_a_whole(mini: Path, tmp_path: Path, frontend: str) -> None:
    pytest.importorskip("gruut") if frontend == "phonemes" else None
    tts = SparkTTS.from_pretrained(with_options(mini, tmp_path / "m", text_frontend=frontend), device="cpu")
    model = ScriptedModel(tts.tokenizer.semantic.first, tts.tokenizer.stop, speak_for(60))
    tts.engine.__dict__["language_model"] = model
    tts.say("Ask [Xu](/ʃuː/) now.", voice=voice_of(tts, "Hi there"), seed=1)
    content = {"text": "Hi there. Ask Xu now.", "phonemes": "hˈI ðˈɛɹ ˈæsk ʃu nˈW."}[frontend]
    at = model.prompts[0].index(tts.tokenizer.end["content"])
    assert list(model.prompts[0][2:at]) == tts.tokenizer.encode(content)


def test_a_transcript_goes_on_by_its_word_times(asking: Make) -> None:
    tts, model = asking("text")
    t = tts.tokenizer
    words = (Word("Hi", 0.0, 0.4), Word("there", 0.5, 0.9))
    audio = tts.say("My good friend.", voice=voice_of(tts, "Hi there", words), seed=1)
    assert audio.report is not None
    assert not any("transcript" in note for note in audio.report.notes)
    stream = list(model.prompts[0][model.prompts[0].index(t.start["semantic_token"]) + 1 :])
    code = t.semantic.first
    ask, answered = t.start["content"], t.end["content"]
    first = [*range(code, code + 25), ask, *t.encode("My"), answered]
    assert stream == [*first, *range(code + 25, code + 50), ask, *t.encode("good"), answered]


def test_a_transcript_without_its_word_times_is_left_out_with_a_note(asking: Make) -> None:
    tts, model = asking("text")
    others = (Word("Other", 0.0, 0.4), Word("words", 0.5, 0.9))
    for voice in (voice_of(tts, "Hi there"), voice_of(tts, "Hi there", others)):
        audio = tts.say("My good friend.", voice=voice, seed=1)
        assert audio.report is not None
        assert any("transcript" in note for note in audio.report.notes)
        assert tts.tokenizer.start["semantic_token"] not in model.prompts[-1]
        assert audio.voice == voice


def test_cloning_finds_the_words_of_the_transcript(asking: Make, clip_24k: Path) -> None:
    tts, _ = asking("text")
    assert tts.clone(clip_24k, "Some words here.").words == ()  # this checkpoint has no recogniser

    class Even:
        def word_times(self, audio: Samples, words: Sequence[str]) -> list[tuple[float, float]]:
            step = len(audio) / 16000 / len(words)
            return [(step * index, step * (index + 1)) for index in range(len(words))]

    tts.engine.__dict__["aligner"] = Even()
    voice = tts.clone(clip_24k, "Some words here.")
    assert [word.text for word in voice.words] == ["Some", "words", "here."]
    assert Voice.from_json(voice.to_json()) == voice
    said = tts.say("And more.", voice=voice, seed=1)
    assert said.report is not None
    assert not said.report.notes or not any("transcript" in note for note in said.report.notes)


def test_the_real_model_speaks_on_demand(mini: Path, tmp_path: Path) -> None:
    path = with_options(mini, tmp_path / "m", text_order="on_demand")
    tts = SparkTTS.from_pretrained(path, device="cpu")
    unchecked = ReadingOptions(checks=False, batch_size=2)
    audio = tts.say("Yes it is.\n\nNo it is not.", voice=voice_of(tts), seed=3, reading=unchecked)
    assert audio.report is not None
    assert len(audio.report.utterances) == 2
    assert np.isfinite(audio.samples).all()


def test_the_recogniser_of_a_model_chooses_among_takes(asking: Make) -> None:
    tts, model = asking("text")
    voice = voice_of(tts)
    with pytest.raises(OptionError, match="need a model with a recogniser"):
        tts.say("My good friend.", voice=voice, seed=1, reading=ReadingOptions(takes=2))
    heard: list[tuple[int, tuple[str, ...]]] = []

    class Listener:
        def error_rate(self, audio: Samples, words: Sequence[str]) -> float:
            heard.append((len(audio), tuple(words)))
            return 0.5

    tts.engine.__dict__["aligner"] = Listener()
    before = len(model.prompts)
    audio = tts.say("My good friend.", voice=voice, seed=1, reading=ReadingOptions(takes=3))
    assert len(model.prompts) - before == 3
    assert [words for _, words in heard] == [("My", "good", "friend.")] * len(heard)
    assert len(audio.samples) in {samples for samples, _ in heard} or len(heard) < 2
    with tts.stream("My good friend.", voice=voice, seed=1, reading=ReadingOptions(takes=3)) as stream:
        assert len(list(stream)) > 0
    assert len(model.prompts) - before == 4  # a stream says it once


class Impartial:
    """A recogniser that hears everything equally well."""

    def error_rate(self, audio: Samples, words: Sequence[str]) -> float:
        return 0.1


@pytest.mark.parametrize(("speed", "kept"), [(2.0, 24), (4.5, 12), (9.0, 6)])
def test_of_takes_that_are_read_equally_well_the_one_at_the_asked_pace_is_kept(
    asking: Make, speed: float, kept: int
) -> None:
    tts, model = asking("text")
    model.paces = (12, 24, 6)
    tts.engine.__dict__["aligner"] = Impartial()
    text = "Now they all know where we go then."
    three = ReadingOptions(takes=3)

    def tokens_a_word(voice: Voice | None, style: Style) -> int:
        audio = tts.say(text, voice=voice, style=style, seed=1, reading=three)
        return round(audio.duration * tts.sample_rate / tts.engine.codec.hop / len(text.split()))

    assert tokens_a_word(voice_of(tts), Style(speed=speed)) == kept
    assert tokens_a_word(None, Style(gender="male", speed=speed)) == kept
    assert tokens_a_word(voice_of(tts), Style()) == 6  # nothing tells them apart: the first that ended


def test_the_first_utterance_of_a_created_voice_is_chosen_with_its_voice(asking: Make) -> None:
    tts, model = asking("text")
    tts.engine.__dict__["aligner"] = Impartial()
    audio = tts.say("My good friend.", style=Style(gender="female"), seed=1, reading=ReadingOptions(takes=3))
    assert len(model.prompts) == 3
    assert audio.voice is not None
    assert audio.report is not None
    assert audio.voice.provenance.seed == audio.report.utterances[0].seed


@pytest.mark.parametrize(
    ("key", "value"),
    [("text_frontend", "letters"), ("text_order", "3"), ("aligner", "../x"), ("takes", "0"), ("temperature", "-1")],
)
def test_unknown_options_are_refused(mini: Path, tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text((mini / "config.yaml").read_text() + f"\n{key}: {value}\n")
    from sparktts.checkpoint.config import CodecOptions

    with pytest.raises(CheckpointError, match=key):
        CodecOptions.read(path)
