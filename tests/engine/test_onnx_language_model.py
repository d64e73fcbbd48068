"""The ONNX language model: the published numbers, and sequences that join and leave without touching each other."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparktts.checkpoint.layout import Checkpoint
from sparktts.engine.base import Handle, IdSet
from sparktts.engine.onnx.decoder import CHUNK
from sparktts.engine.onnx.language_model import OnnxLanguageModel
from sparktts.errors import GenerationError
from sparktts.export.compare import Draft
from sparktts.export.language_model import export_language_model
from sparktts.export.report import PartReport
from sparktts.prompt import Controls, PromptBuilder
from sparktts.sampling import SamplingOptions
from sparktts.tokenizer import SparkTokenizer

from .sequences import GREEDY, Anything, Golden, check_forced_ids, check_joining_and_leaving, names, run


@pytest.fixture(scope="module")
def exported(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PartReport]:
    """Folder and report of the language model of `mini` as fp32 graphs, with a full head."""
    folder = tmp_path_factory.mktemp("exported")
    return folder, export_language_model(Checkpoint.open(mini), folder, "fp32", True, lambda _: None)


@pytest.fixture(scope="module")
def model(mini: Path, exported: tuple[Path, PartReport]) -> OnnxLanguageModel:
    folder, report = exported
    return OnnxLanguageModel.open(Checkpoint.open(mini).lm, Draft(folder, [report]), threads=1)


@pytest.fixture(scope="module")
def builder(mini: Path) -> PromptBuilder:
    return PromptBuilder(SparkTokenizer.from_file(mini / "LLM" / "tokenizer.json"))


@dataclass
class Course:
    """A grammar by plan: of each part some ids are sampled, then a chunk is forced, after a wait of so many looks."""

    legal_ids: IdSet
    parts: list[tuple[int, tuple[int, ...], int]]
    taken: list[int] = field(default_factory=list)
    patient: bool = False  # waits never: the same course without its waits
    _at: int = 0
    _count: int = 0
    _owed: bool = False
    _looks: int = 0

    @property
    def done(self) -> bool:
        return self._at >= len(self.parts)

    @property
    def waiting(self) -> bool:
        if not self._owed or self.patient:
            return False
        self._looks += 1
        return self._looks <= self.parts[self._at][2]

    @property
    def closed(self) -> bool:
        return False

    def forced(self) -> tuple[int, ...]:
        if not self._owed or (not self.patient and self._looks <= self.parts[self._at][2]):
            return ()
        chunk = self.parts[self._at][1]
        self._at, self._count, self._owed, self._looks = self._at + 1, 0, False, 0
        return () if self.done else chunk

    def legal(self) -> IdSet:
        return self.legal_ids

    def accept(self, token: int) -> None:
        self.taken.append(token)
        self._count += 1
        if self._count == self.parts[self._at][0]:
            if self._at + 1 == len(self.parts):
                self._at += 1
            else:
                self._owed = True


def test_next_token_logits_equal_the_golden_ones(model: OnnxLanguageModel, golden: Golden) -> None:
    assert len(names(golden)) == 3
    for name in names(golden):
        expected = golden[f"prompt.{name}.logits"]
        logits = model.logits(golden[f"prompt.{name}.ids"][0].tolist())[-1:]
        assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()


def test_greedy_continuations_equal_the_golden_ones(model: OnnxLanguageModel, golden: Golden) -> None:
    for name in names(golden):
        expected = golden[f"prompt.{name}.greedy"][0].tolist()
        assert run(model, golden[f"prompt.{name}.ids"][0].tolist(), len(expected)) == expected


def test_a_grammar_takes_the_best_of_the_legal_logits(model: OnnxLanguageModel, builder: PromptBuilder) -> None:
    prompt = builder.clone("hello", range(32))
    fed = [*prompt.ids, builder.tokenizer.start["semantic_token"]]
    legal = builder.clone("", range(32)).grammar.steps[-1].legal.ids  # type: ignore[union-attr]
    handle = model.add(prompt.ids, GREEDY, prompt.grammar)
    for _ in range(12):
        token = model.step()[handle]
        assert token == legal[np.argmax(model.logits(fed)[-1][legal])]
        fed.append(token)
    model.cancel(handle)


def test_a_created_voice_is_sampled_from_the_scores_of_control_ids(
    model: OnnxLanguageModel, builder: PromptBuilder
) -> None:
    prompt = builder.create("hello", Controls(gender=1))
    handle = model.add(prompt.ids, GREEDY, prompt.grammar)
    fed = [*prompt.ids, builder.tokenizer.start["acoustic_token"]]
    for family in (builder.tokenizer.pitch_value, builder.tokenizer.speed_value):
        token = model.step()[handle]
        legal = np.arange(*family.span)
        assert token == legal[np.argmax(model.logits(fed)[-1][legal])]
        fed.append(token)
    for _ in range(32):
        assert model.step()[handle] in range(*builder.tokenizer.speaker.span)
    model.cancel(handle)


def test_logits_of_several_chunks_equal_those_of_the_torch_engine(mini: Path, model: OnnxLanguageModel) -> None:
    import torch

    from sparktts.engine.torch.language_model import TorchLanguageModel

    theirs = TorchLanguageModel(Checkpoint.open(mini), torch.device("cpu"), torch.float32)
    ids = np.random.default_rng(1).integers(0, model.config.vocab_size, 2 * CHUNK + 44).tolist()
    expected = theirs.logits(ids)
    assert np.abs(model.logits(ids) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_forced_ids_between_choices_count_as_prompt(model: OnnxLanguageModel, golden: Golden) -> None:
    prompt = golden["prompt.clone.ids"][0].tolist()
    check_forced_ids(model, prompt, tuple(prompt[5:25]) * 9)  # several chunks of a prompt


def test_sequences_join_and_leave_without_changing_each_other(model: OnnxLanguageModel, golden: Golden) -> None:
    check_joining_and_leaving(model, golden)


def courses(vocabulary: int) -> st.SearchStrategy[list[tuple[list[int], list[tuple[int, tuple[int, ...], int]], int]]]:
    """(prompt, parts of the course, steps before it joins) of some sequences."""
    token = st.integers(0, vocabulary - 1)
    part = st.tuples(st.integers(1, 5), st.lists(token, min_size=1, max_size=8).map(tuple), st.integers(0, 3))
    one = st.tuples(st.lists(token, min_size=1, max_size=30), st.lists(part, min_size=1, max_size=3), st.integers(0, 4))
    return st.lists(one, min_size=1, max_size=5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_company_leaves_each_sequence_as_it_is_alone(data: st.DataObject, model: OnnxLanguageModel) -> None:
    """Whoever joins, leaves, waits, is forced or cancelled beside it."""
    vocabulary = model.config.vocab_size
    everything, drawn = IdSet(((0, vocabulary),)), data.draw(courses(vocabulary))
    expected = []
    for prompt, parts, _ in drawn:
        alone = Course(everything, parts, patient=True)
        handle = model.add(prompt, GREEDY, alone)
        while not alone.done:
            model.step()
        expected.append(alone.taken)
        model.cancel(handle)
    doomed = data.draw(st.sets(st.integers(0, len(drawn) - 1), max_size=2))
    grammars: list[Course] = []
    handles: list[Handle] = []
    for index, (prompt, parts, delay) in enumerate(drawn):
        for _ in range(delay):
            model.step()
        grammars.append(Course(everything, parts))
        handles.append(model.add(prompt, GREEDY, grammars[-1]))
        if index and index - 1 in doomed:
            model.cancel(handles[index - 1])
    kept = [index for index in range(len(drawn)) if not (index in doomed and index < len(drawn) - 1)]
    for _ in range(200):
        if all(grammars[index].done for index in kept):
            break
        model.step()
    for index, grammar in enumerate(grammars):
        assert grammar.taken == (expected[index] if index in kept else expected[index][: len(grammar.taken)])
    assert model.step() == {}


def test_a_cancelled_sequence_leaves_the_others_alone(model: OnnxLanguageModel, golden: Golden) -> None:
    prompt = golden["prompt.clone.ids"][0].tolist()
    expected = run(model, prompt, 8)
    doomed = model.add(prompt[7:], GREEDY, Anything(model.config.vocab_size, 99))
    grammar = Anything(model.config.vocab_size, 8)
    kept = model.add(prompt, GREEDY, grammar)
    for _ in range(3):
        assert set(model.step()) == {doomed, kept}
    model.cancel(doomed)
    model.cancel(doomed)
    while not grammar.done:
        assert set(model.step()) == {kept}
    assert grammar.taken == expected


def test_words_that_arrive_while_they_are_spoken_give_the_same_ids(
    model: OnnxLanguageModel, builder: PromptBuilder
) -> None:
    words = ["one", "two", "three", "four", "five"]

    def speak(known: int) -> tuple[list[int], int]:
        """Its ids, and how many steps it waited. A word comes at every third step of waiting."""
        prompt = builder.clone_on_demand(words[:known], range(32), closed=known == len(words))
        company = model.add(prompt.ids[4:], GREEDY, Anything(model.config.vocab_size, 5000))
        handle = model.add(prompt.ids, SamplingOptions(seed=3), prompt.grammar)
        tokens, waited = [], 0
        while not prompt.grammar.done:
            chosen = model.step()
            assert company in chosen
            if handle in chosen:
                tokens.append(chosen[handle])
                continue
            waited += 1
            if waited % 3 == 0:
                prompt.grammar.append_words(words[known : known + 1])  # type: ignore[attr-defined]
                known += 1
                if known == len(words):
                    prompt.grammar.close()  # type: ignore[attr-defined]
        model.cancel(company)
        return tokens, waited

    at_once, waited = speak(len(words))
    assert waited == 0
    assert speak(2) == (at_once, 9)


def test_the_cache_grows_under_running_sequences(mini: Path, exported: tuple[Path, PartReport]) -> None:
    folder, report = exported
    fresh = OnnxLanguageModel.open(Checkpoint.open(mini).lm, Draft(folder, [report]), threads=1)
    random = np.random.default_rng(4)
    prompts = [random.integers(0, fresh.config.vocab_size, length).tolist() for length in (500, 40, 700, 9)]
    grammars = [Anything(fresh.config.vocab_size, 30) for _ in prompts]
    for prompt, grammar in zip(prompts, grammars, strict=True):
        fresh.add(prompt, GREEDY, grammar)
        fresh.step()
    while not all(grammar.done for grammar in grammars):
        fresh.step()
    assert [grammar.taken for grammar in grammars] == [run(fresh, prompt, 30) for prompt in prompts]


def test_the_same_seed_gives_the_same_ids(model: OnnxLanguageModel, builder: PromptBuilder) -> None:
    def speak(seed: int) -> tuple[int, ...]:
        prompt = builder.clone("hello", range(32))
        handle = model.add(prompt.ids, SamplingOptions(seed=seed), prompt.grammar)
        for _ in range(40):
            model.step()
        model.cancel(handle)
        return prompt.grammar.read(builder.tokenizer.semantic)

    first = speak(5)
    assert first
    assert first == speak(5)
    assert first != speak(6)


def test_a_sequence_longer_than_the_model_is_refused_and_may_be_dropped(
    model: OnnxLanguageModel, golden: Golden
) -> None:
    prompt = golden["prompt.clone.ids"][0].tolist()
    expected = run(model, prompt, 4)
    grammar = Anything(model.config.vocab_size, 4)
    model.add(prompt, GREEDY, grammar)
    model.step()
    handle = model.add([1] * 40_000, GREEDY, Anything(model.config.vocab_size, 1))
    with pytest.raises(GenerationError, match="shorter"):
        model.step()
    model.cancel(handle)
    while not grammar.done:
        model.step()
    assert grammar.taken == expected


def test_a_thousand_sequences_leave_nothing_behind(model: OnnxLanguageModel, golden: Golden) -> None:
    prompt = golden["prompt.clone.ids"][0].tolist()
    statm = Path("/proc/self/statm")

    def churn(count: int) -> None:
        grammars: list[Anything] = []
        for index in range(count):
            grammars.append(Anything(model.config.vocab_size, 1 + index % 3))
            handle = model.add(prompt[: 5 + index % 20], GREEDY, grammars[-1])
            if index % 7 == 0:
                model.cancel(handle)
            if index % 3 == 0:
                model.step()
        while model.step():
            pass

    churn(200)
    rows, size = model._decoder.cache.rows, statm.read_text().split()[1] if statm.exists() else "0"
    churn(800)
    assert model._decoder.cache.rows == rows
    assert not model._running
    if statm.exists():
        assert (int(statm.read_text().split()[1]) - int(size)) * 4096 < 8e6


def test_what_is_not_scored_is_refused_with_the_way_out(
    mini: Path, exported: tuple[Path, PartReport], builder: PromptBuilder
) -> None:
    folder, report = exported
    heads = {name: ids for name, ids in report.settings["heads"].items() if name != "head_full"}
    partial = PartReport(report.name, "fp32", report.files, 0.0, settings={**report.settings, "heads": heads})
    model = OnnxLanguageModel.open(Checkpoint.open(mini).lm, Draft(folder, [partial]), threads=1)
    with pytest.raises(GenerationError, match="full-head"):
        model.logits([1, 2, 3])
    handle = model.add([1, 2, 3], GREEDY, Anything(model.config.vocab_size, 1))
    with pytest.raises(GenerationError, match="full-head"):
        model.step()
    model.cancel(handle)
    prompt = builder.clone("hello", range(32))
    handle = model.add(prompt.ids, GREEDY, prompt.grammar)
    assert list(model.step()) == [handle]


def test_speech_needs_no_other_head_than_its_own(mini: Path, exported: tuple[Path, PartReport]) -> None:
    folder, report = exported
    model = OnnxLanguageModel.open(Checkpoint.open(mini).lm, Draft(folder, [report]), threads=1)
    builder = PromptBuilder(SparkTokenizer.from_file(mini / "LLM" / "tokenizer.json"))
    for prompt in (builder.clone("hi", range(32)), builder.clone_on_demand(["a", "b", "c"], range(32))):
        handle = model.add(prompt.ids, SamplingOptions(seed=1), prompt.grammar)
        for _ in range(30):
            model.step()
        model.cancel(handle)
    assert model._heads.graphs.loaded == {"head_speaking"}


@pytest.mark.parametrize(("weights", "closeness"), [("int8", 0.998), ("int4", 0.96)])
def test_rounded_weights_stay_close(
    mini: Path, tmp_path: Path, model: OnnxLanguageModel, golden: Golden, weights: str, closeness: float
) -> None:
    report = export_language_model(Checkpoint.open(mini), tmp_path, weights, True, lambda _: None)
    rounded = OnnxLanguageModel.open(model.config, Draft(tmp_path, [report]), threads=1)
    prompts = [golden[f"prompt.{name}.ids"][0].tolist() for name in names(golden)]
    # Over all positions: how the roundings of a single one fall out depends on the processor.
    pairs = [pair for ids in prompts for pair in zip(rounded.logits(ids), model.logits(ids), strict=True)]
    assert np.mean([np.corrcoef(ours, exact)[0, 1] for ours, exact in pairs]) > closeness
    assert len(run(rounded, prompts[0], 3)) == 3
    assert isinstance(rounded._decoder._table._tables[0].base, np.memmap)


def test_the_engine_needs_neither_torch_nor_onnx(mini: Path, exported: tuple[Path, PartReport]) -> None:
    folder, report = exported
    script = f"""
import sys
from pathlib import Path
from sparktts.checkpoint.config import LanguageModelConfig
from sparktts.checkpoint.fields import Section
from sparktts.engine.onnx.language_model import OnnxLanguageModel
class Files:
    def file(self, name): return Path({str(folder)!r}) / name
    def has(self, name): return self.file(name).is_file()
    def section(self, name): return Section("manifest", {dict(report.settings)!r})
model = OnnxLanguageModel.open(LanguageModelConfig.read(Path({str(mini)!r}) / "LLM" / "config.json"), Files())
assert model.logits([1, 2, 3]).shape == (3, model.config.vocab_size)
heavy = {{"torch", "onnx", "transformers"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True)
