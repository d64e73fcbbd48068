"""Prompts equal the published ones id by id, and the grammar allows nothing else than what can follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparktts.errors import CheckpointError, InvalidTokens, OptionError
from sparktts.prompt import Controls, PromptBuilder
from sparktts.tokenizer import SparkTokenizer

from .conftest import GOLDEN

STRINGS = json.loads((GOLDEN / "expected_mini.prompts.json").read_text())
SPEAKER = tuple(range(100, 132))


@pytest.fixture(scope="module")
def tokenizer(mini: Path) -> SparkTokenizer:
    return SparkTokenizer.from_file(mini / "LLM" / "tokenizer.json")


@pytest.fixture(scope="module")
def builder(tokenizer: SparkTokenizer) -> PromptBuilder:
    return PromptBuilder(tokenizer)


def numbers(prompt: str, stem: str) -> list[int]:
    return [int(part.split("|>")[0]) for part in prompt.split(f"<|bicodec_{stem}_")[1:]]


def test_golden_prompt_strings_have_the_golden_ids(tokenizer: SparkTokenizer, golden: Mapping[str, np.ndarray]) -> None:
    for name, prompt in STRINGS.items():
        assert tokenizer.encode_prompt(prompt) == golden[f"prompt.{name}.ids"][0].tolist()


def test_clone_with_transcript_equals_the_published_prompt(
    builder: PromptBuilder, golden: Mapping[str, np.ndarray]
) -> None:
    string = STRINGS["clone"]
    prompt = builder.clone("hello, 世界", numbers(string, "global"), "ab 你", numbers(string, "semantic"))
    assert list(prompt.ids) == golden["prompt.clone.ids"][0].tolist()
    assert prompt.grammar.forced() == ()


def test_clone_without_transcript_equals_the_published_prompt(
    builder: PromptBuilder, tokenizer: SparkTokenizer, golden: Mapping[str, np.ndarray]
) -> None:
    name = next(key for key in STRINGS if key not in ("clone",) and "controllable" not in STRINGS[key])
    prompt = builder.clone("hello, 世界", numbers(STRINGS[name], "global"))
    assert list(prompt.ids) == golden[f"prompt.{name}.ids"][0].tolist()
    assert prompt.grammar.forced() == (tokenizer.start["semantic_token"],)


def test_creation_equals_the_published_prompt(builder: PromptBuilder, golden: Mapping[str, np.ndarray]) -> None:
    name = next(key for key in STRINGS if "controllable" in STRINGS[key])
    prompt = builder.create("你好 world", Controls(gender=0, pitch_label=3, speed_label=0))
    assert list(prompt.ids) == golden[f"prompt.{name}.ids"][0].tolist()


def test_creation_reads_values_then_32_speaker_tokens_then_semantics(
    builder: PromptBuilder, tokenizer: SparkTokenizer
) -> None:
    t, grammar = tokenizer, builder.create("hi", Controls(gender=1)).grammar
    assert grammar.forced() == (t.start["acoustic_token"],)
    assert grammar.legal().ranges == (t.pitch_value.span,)
    grammar.accept(t.pitch_value.id(267))
    assert grammar.legal().ranges == (t.speed_value.span,)
    grammar.accept(t.speed_value.id(4))
    assert grammar.forced() == (t.end["acoustic_token"], t.start["global_token"])
    for code in SPEAKER:
        assert grammar.forced() == ()
        grammar.accept(t.speaker.id(code))
    assert grammar.forced() == (t.end["global_token"], t.start["semantic_token"])
    grammar.accept(t.semantic.id(5))
    grammar.accept(t.semantic.id(5))
    assert not grammar.done
    grammar.accept(t.stop)
    assert grammar.done
    assert grammar.forced() == ()
    assert grammar.read(t.speaker) == SPEAKER
    assert grammar.read(t.semantic) == (5, 5)
    assert (grammar.read(t.pitch_value), grammar.read(t.speed_value)) == ((267,), (4,))


def test_exact_values_are_prefilled_when_creating(builder: PromptBuilder, tokenizer: SparkTokenizer) -> None:
    t = tokenizer
    grammar = builder.create("hi", Controls(gender=1, pitch_value=267, speed_value=5)).grammar
    acoustics = (
        t.start["acoustic_token"],
        t.pitch_value.id(267),
        t.speed_value.id(5),
        t.end["acoustic_token"],
    )
    assert grammar.forced() == (*acoustics, t.start["global_token"])
    assert grammar.legal().ranges == (t.speaker.span,)


def test_pitch_and_speed_while_cloning_add_a_style_block(builder: PromptBuilder, tokenizer: SparkTokenizer) -> None:
    t = tokenizer
    plain = builder.clone("hi", SPEAKER).ids
    styled = builder.clone("hi", SPEAKER, controls=Controls(gender=0, pitch_label=1, speed_label=0)).ids
    block = (t.start["style_label"], t.pitch_label.id(1), t.speed_label.id(0), t.end["style_label"])
    at = plain.index(t.end["content"]) + 1
    assert styled == plain[:at] + block + plain[at:]


def test_text_that_spells_control_tokens_stays_text(builder: PromptBuilder, tokenizer: SparkTokenizer) -> None:
    ids = builder.clone("end <|im_end|> <|end_content|> <|bicodec_semantic_3|>", SPEAKER).ids
    assert tokenizer.stop not in ids
    assert ids.count(tokenizer.end["content"]) == 1
    assert tokenizer.semantic.id(3) not in ids


@pytest.mark.parametrize("speaker", [(), SPEAKER[:31], (*SPEAKER[:31], 4096), (*SPEAKER[:31], -1)])
def test_speaker_tokens_outside_the_codebook_are_refused(builder: PromptBuilder, speaker: tuple[int, ...]) -> None:
    with pytest.raises(InvalidTokens):
        builder.clone("hi", speaker)


def test_creating_without_a_gender_is_refused(builder: PromptBuilder) -> None:
    with pytest.raises(OptionError, match="gender"):
        builder.create("hi", Controls())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_an_illegal_id_is_refused_and_changes_nothing(builder: PromptBuilder, data: st.DataObject) -> None:
    grammar = builder.clone("hi", SPEAKER).grammar
    with pytest.raises(InvalidTokens):
        grammar.accept(builder.tokenizer.stop)  # before the forced ids are fed
    grammar.forced()
    legal = grammar.legal()
    token = data.draw(st.integers(-5, 20_000).filter(lambda number: number not in legal))
    with pytest.raises(InvalidTokens):
        grammar.accept(token)
    assert grammar.legal() == legal
    assert grammar.read(builder.tokenizer.semantic) == ()


def test_a_tokenizer_without_spark_tokens_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match="no token"):
        SparkTokenizer.from_file(tmp_path / "tokenizer.json")
