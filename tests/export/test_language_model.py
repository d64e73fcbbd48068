"""The language model as graphs and back: nothing is lost in fp32, and rounded weights come back as rounded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sparktts.checkpoint.convert import convert_checkpoint
from sparktts.checkpoint.exported import Exported
from sparktts.checkpoint.fields import Section
from sparktts.checkpoint.layout import Checkpoint
from sparktts.checkpoint.shapes import qwen2_shapes
from sparktts.engine.onnx.language_model import OnnxLanguageModel
from sparktts.engine.onnx.tables import PART
from sparktts.errors import CheckpointError
from sparktts.export import language_model
from sparktts.export.compare import Draft
from sparktts.export.language_model import export_language_model, spoken_ids
from sparktts.export.report import PartReport
from sparktts.export.restore_language_model import language_model_tensors
from sparktts.on_demand import plain_words
from sparktts.prompt import Choose, Controls, PromptBuilder
from sparktts.tokenizer import SparkTokenizer

from ..checkpoint.copies import Tensors, copy_checkpoint, edit_json, edit_tensors


class Model(Exported):
    """An exported directory whose language model alone was exported."""

    def section(self, name: str) -> Section:
        return Section("manifest", self.part(name))


def export(source: Path, target: Path, weights: str, full_head: bool = True) -> tuple[PartReport, Model]:
    (target / "onnx").mkdir(parents=True)
    report = export_language_model(Checkpoint.open(source), target / "onnx", weights, full_head, lambda _: None)
    (target / "LLM").mkdir()
    (target / "LLM" / "config.json").write_bytes((source / "LLM" / "config.json").read_bytes())
    files = dict.fromkeys(report.files)
    model = Model(target, weights, "0" * 16, "mini", {}, {PART: report.settings}, files, ())  # type: ignore[arg-type]
    return report, model


def opened(source: Path, target: Path, report: PartReport) -> OnnxLanguageModel:
    return OnnxLanguageModel.open(Checkpoint.open(source).lm, Draft(target / "onnx", [report]), threads=1)


@pytest.fixture
def copy(mini: Path, tmp_path: Path) -> Path:
    return copy_checkpoint(mini, tmp_path)


def test_fp32_graphs_equal_the_torch_engine_and_come_back_bit_for_bit(mini: Path, tmp_path: Path) -> None:
    report, model = export(mini, tmp_path / "out", "fp32")
    assert report.max_difference < 1e-5
    assert report.agreement == 1.0
    restored = dict(language_model_tensors(model))
    expected = dict(Checkpoint.open(mini).lm_tensors())
    assert restored.keys() == expected.keys()
    for name, values in expected.items():
        assert restored[name].dtype == np.float32
        assert np.array_equal(restored[name], values), name


@pytest.mark.parametrize(("weights", "most"), [("int8", 0.01), ("int4", 0.1)])
def test_rounded_weights_come_back_as_the_graphs_use_them(
    mini: Path, tmp_path: Path, weights: str, most: float
) -> None:
    report, model = export(mini, tmp_path / "out", weights)
    checkpoint = Checkpoint.open(mini)
    restored = {}
    for name, values in language_model_tensors(model):
        assert values.shape == qwen2_shapes(checkpoint.lm)[name]
        original = dict(checkpoint.lm_tensors(set(qwen2_shapes(checkpoint.lm)) - {name}))[name]
        assert np.linalg.norm(values - original) <= most * np.linalg.norm(original), name
        restored[name] = values
    back = copy_checkpoint(mini, tmp_path)
    edit_tensors(back / "LLM" / "model.safetensors", lambda tensors: tensors.update(restored))
    (tmp_path / "again").mkdir()
    again = export_language_model(Checkpoint.open(back), tmp_path / "again", "fp32", True, lambda _: None)
    ids = np.random.default_rng(2).integers(0, checkpoint.lm.vocab_size, 50).tolist()
    rounded = opened(mini, tmp_path / "out", report).logits(ids)
    same = OnnxLanguageModel.open(checkpoint.lm, Draft(tmp_path / "again", [again]), threads=1).logits(ids)
    # What is left is the rounding of activations alone.
    assert np.corrcoef(rounded.ravel(), same.ravel())[0, 1] > 0.999


def test_an_untied_head_and_bf16_weights_are_exported_too(copy: Path, tmp_path: Path) -> None:
    head = np.random.default_rng(5).standard_normal((13760, 64)).astype(np.float32)
    edit_json(copy / "LLM" / "config.json", tie_word_embeddings=False)
    edit_tensors(copy / "LLM" / "model.safetensors", lambda tensors: tensors.update({"lm_head.weight": head}))
    half = convert_checkpoint(copy, tmp_path / "half", "bf16")
    report, model = export(half, tmp_path / "out", "fp32")
    assert report.max_difference < 1e-5
    expected = dict(Checkpoint.open(half).lm_tensors())
    restored = dict(language_model_tensors(model))
    assert restored.keys() == expected.keys()
    assert np.array_equal(restored["lm_head.weight"], expected["lm_head.weight"])
    report, model = export(half, tmp_path / "rounded", "int8")
    assert report.agreement is not None
    assert report.agreement > 0.8
    assert "lm_head.weight" in dict(language_model_tensors(model))


def test_sizes_that_no_block_divides_are_exported(copy: Path, tmp_path: Path) -> None:
    """Rows of 80 and 200 values in blocks of 64."""
    edit_json(copy / "LLM" / "config.json", hidden_size=80, num_attention_heads=5, num_key_value_heads=1, head_dim=16)
    edit_json(copy / "LLM" / "config.json", intermediate_size=200)
    random = np.random.default_rng(6)
    config = json.loads((copy / "LLM" / "config.json").read_text())
    assert config["hidden_size"] == 80

    def reshaped(tensors: Tensors) -> None:
        from sparktts.checkpoint.config import LanguageModelConfig

        tensors.clear()
        for name, shape in qwen2_shapes(LanguageModelConfig.read(copy / "LLM" / "config.json")).items():
            values = random.standard_normal(shape) / np.sqrt(shape[-1])
            tensors[name] = np.ones(shape, np.float32) if "norm" in name else values.astype(np.float32)

    edit_tensors(copy / "LLM" / "model.safetensors", reshaped)
    exact, _ = export(copy, tmp_path / "fp32", "fp32")
    assert exact.max_difference < 1e-5
    report, model = export(copy, tmp_path / "int4", "int4")
    assert report.max_difference < 0.5
    for name, values in language_model_tensors(model):
        assert values.shape == qwen2_shapes(Checkpoint.open(copy).lm)[name]


def test_heads_of_an_odd_size_are_refused(copy: Path, tmp_path: Path) -> None:
    edit_json(copy / "LLM" / "config.json", head_dim=8, num_attention_heads=8, num_key_value_heads=4)
    with pytest.raises(CheckpointError, match="multiple of 16"):
        export(copy, tmp_path / "out", "int4")


def test_weights_that_are_not_finite_are_refused_by_name(copy: Path, tmp_path: Path) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors["model.layers.1.mlp.down_proj.weight"][3, 4] = np.inf

    edit_tensors(copy / "LLM" / "model.safetensors", spoil)
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.down_proj"):
        export(copy, tmp_path / "out", "int4")


def test_the_full_head_is_written_on_demand_and_costs_no_disk(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language_model, "CONTROL_SHARE", 1.0)  # as if the vocabulary were large
    with_it, _ = export(mini, tmp_path / "with", "int4")
    without, _ = export(mini, tmp_path / "without", "int4", full_head=False)
    assert set(with_it.files) - set(without.files) == {"head_full.onnx"}
    sizes = [sum(f.stat().st_size for f in (tmp_path / name / "onnx").iterdir()) for name in ("with", "without")]
    assert sizes[0] - sizes[1] < 2000


def test_where_nearly_all_ids_can_be_asked_for_the_full_head_is_the_only_large_one(mini: Path, tmp_path: Path) -> None:
    report, _ = export(mini, tmp_path / "out", "int8", full_head=False)
    assert {name for name in report.files if name.startswith("head")} == {"head_speaking.onnx", "head_full.onnx"}
    assert opened(mini, tmp_path / "out", report).logits([1, 2]).shape == (2, Checkpoint.open(mini).lm.vocab_size)


def test_every_grammar_finds_its_ids_in_a_head(mini: Path) -> None:
    tokenizer = SparkTokenizer.from_file(mini / "LLM" / "tokenizer.json")
    heads, builder = spoken_ids(tokenizer), PromptBuilder(tokenizer)
    words = plain_words("one two three")
    speaking = [builder.clone("hi", range(32)), builder.clone_on_demand(words, range(32))]
    creating = [builder.create("hi", Controls(gender=0)), builder.create_on_demand(words, Controls(gender=1))]
    asked = set(heads["head_control"].ids)
    for prompt in speaking + creating:
        for step in prompt.grammar.steps:
            if isinstance(step, Choose):
                assert asked >= set(step.legal.ids)
    assert set(heads["head_speaking"].ids) == {
        tokenizer.stop,
        tokenizer.start["content"],
        *range(*tokenizer.semantic.span),
    }
    assert asked >= set(heads["head_speaking"].ids)
