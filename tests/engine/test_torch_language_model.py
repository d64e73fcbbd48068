"""The PyTorch language model: the published numbers, and sequences that join and leave without touching each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sparktts.checkpoint.layout import Checkpoint
from sparktts.engine.torch.devices import choose_device, choose_dtype
from sparktts.engine.torch.graphs import bucket_of
from sparktts.engine.torch.language_model import TorchLanguageModel
from sparktts.engine.torch.qwen2 import KeyValueCache
from sparktts.errors import GenerationError, OptionError
from sparktts.prompt import PromptBuilder
from sparktts.sampling import SamplingOptions
from sparktts.tokenizer import SparkTokenizer

from .sequences import GREEDY, Anything, Golden, check_forced_ids, check_joining_and_leaving, names, run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(mini: Path) -> TorchLanguageModel:
    return TorchLanguageModel(Checkpoint.open(mini), CPU, torch.float32)


@pytest.fixture(scope="module")
def builder(mini: Path) -> PromptBuilder:
    return PromptBuilder(SparkTokenizer.from_file(mini / "LLM" / "tokenizer.json"))


def test_next_token_logits_equal_the_golden_ones(model: TorchLanguageModel, golden: Golden) -> None:
    assert len(names(golden)) == 3
    for name in names(golden):
        expected = golden[f"prompt.{name}.logits"]
        logits = model.logits(golden[f"prompt.{name}.ids"][0].tolist())[-1:]
        assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()


def test_greedy_continuations_equal_the_golden_ones(model: TorchLanguageModel, golden: Golden) -> None:
    for name in names(golden):
        expected = golden[f"prompt.{name}.greedy"][0].tolist()
        assert run(model, golden[f"prompt.{name}.ids"][0].tolist(), len(expected)) == expected


def test_a_grammar_takes_the_best_of_the_legal_logits(model: TorchLanguageModel, builder: PromptBuilder) -> None:
    prompt = builder.clone("hello", range(32))
    fed = [*prompt.ids, builder.tokenizer.start["semantic_token"]]
    legal = builder.clone("", range(32)).grammar.steps[-1].legal.ids  # type: ignore[union-attr]
    handle = model.add(prompt.ids, GREEDY, prompt.grammar)
    for _ in range(12):
        token = model.step()[handle]
        assert token == legal[np.argmax(model.logits(fed)[-1][legal])]
        fed.append(token)
    model.cancel(handle)


def test_logits_equal_transformers(mini: Path, model: TorchLanguageModel) -> None:
    from transformers import Qwen2ForCausalLM

    theirs = Qwen2ForCausalLM.from_pretrained(mini / "LLM", dtype=torch.float32)
    ids = torch.randint(0, model.config.vocab_size, (1, 90), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(ids).logits[0].numpy()
    assert np.abs(model.logits(ids[0].tolist()) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_forced_ids_between_choices_count_as_prompt(model: TorchLanguageModel, golden: Golden) -> None:
    prompt = golden["prompt.clone.ids"][0].tolist()
    check_forced_ids(model, prompt, tuple(prompt[5:25]))


def test_sequences_join_and_leave_without_changing_each_other(model: TorchLanguageModel, golden: Golden) -> None:
    check_joining_and_leaving(model, golden)


def test_a_cancelled_sequence_leaves_the_others_alone(model: TorchLanguageModel, golden: Golden) -> None:
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


def test_the_same_seed_gives_the_same_ids(model: TorchLanguageModel, builder: PromptBuilder) -> None:
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


def test_decoding_in_buckets_of_fixed_shape_equals_the_exact_one(model: TorchLanguageModel, golden: Golden) -> None:
    """CUDA graphs replay such buckets; here the same shapes run without a recording."""
    prompt = torch.tensor(golden["prompt.clone.ids"][0])
    cache = KeyValueCache(model.config, CPU, torch.float32)
    cache.reserve(4, 600)
    model.model.reserve_positions(cache.capacity)
    with torch.inference_mode():
        for row in range(3):
            model.model.extend(prompt[row:], cache, row, 0)
        past = torch.tensor([len(prompt), len(prompt) - 1, len(prompt) - 2])
        ids = torch.tensor([300, 301, 302])
        exact = model.model.decode(ids, past, cache, len(prompt) + 1)
        batch, span = bucket_of(3, len(prompt) + 1, cache.capacity)
        assert batch == 4
        assert span > len(prompt) + 1
        zero = torch.zeros(1, dtype=torch.int64)
        padded = model.model.decode(torch.cat((ids, zero)), torch.cat((past, zero)), cache, span)
    assert torch.allclose(padded[:3], exact, atol=1e-5)


def test_bf16_stays_close_to_fp32(mini: Path, model: TorchLanguageModel, golden: Golden) -> None:
    ids = golden["prompt.clone.ids"][0].tolist()
    half = TorchLanguageModel(Checkpoint.open(mini), CPU, torch.bfloat16)
    assert np.corrcoef(half.logits(ids)[-1], model.logits(ids)[-1])[0, 1] > 0.995
    assert len(run(half, ids, 3)) == 3


def test_a_sequence_longer_than_the_model_is_refused(model: TorchLanguageModel) -> None:
    handle = model.add([1] * 40_000, GREEDY, Anything(model.config.vocab_size, 1))
    with pytest.raises(GenerationError, match="shorter"):
        model.step()
    model.cancel(handle)


def test_fp16_is_refused_with_the_reason() -> None:
    with pytest.raises(OptionError, match="overflow"):
        choose_dtype("fp16", CPU)


@pytest.mark.parametrize("name", ["cpu:x", "gpu", "xpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(OptionError):
        choose_device(name)
