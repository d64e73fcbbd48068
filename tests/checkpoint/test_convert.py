"""Converted checkpoints are complete, equal, and never half there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sparktts.checkpoint.convert import convert_bin_to_safetensors, convert_checkpoint
from sparktts.checkpoint.layout import Checkpoint, check
from sparktts.checkpoint.tensors import TensorFile
from sparktts.errors import CheckpointError, OptionError

from .copies import copy_checkpoint, edit_tensors

WAV2VEC2 = "wav2vec2-large-xlsr-53"


def test_a_torch_file_becomes_equal_safetensors(mini: Path, tmp_path: Path) -> None:
    source = mini / WAV2VEC2 / "pytorch_model.bin"
    convert_bin_to_safetensors(source, tmp_path / "out.safetensors")
    expected, read = torch.load(source), load_file(tmp_path / "out.safetensors")
    assert set(read) == set(expected)
    for name, tensor in expected.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)
    assert [path.name for path in tmp_path.iterdir()] == ["out.safetensors"]


def test_every_type_and_view_survives(tmp_path: Path) -> None:
    base = torch.randn(4, 6)
    table = {
        "bf16": base.bfloat16(), "half": base.half(), "double": base.double(), "turned": base.t(),
        "cut": base.bfloat16()[:, ::2], "ints": torch.arange(7), "flags": torch.tensor([True, False]),
        "scalar": torch.tensor(3.0), "empty": torch.zeros(0, 2),
    }  # fmt: skip
    torch.save(table, tmp_path / "a.bin")
    convert_bin_to_safetensors(tmp_path / "a.bin", tmp_path / "a.safetensors")
    read = load_file(tmp_path / "a.safetensors")
    assert set(read) == set(table)
    for name, tensor in table.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


@pytest.mark.parametrize(("dtype", "stored"), [("keep", "F32"), ("fp32", "F32"), ("bf16", "BF16")])
def test_a_converted_checkpoint_is_complete_and_equal(dtype: str, stored: str, mini: Path, tmp_path: Path) -> None:
    target = convert_checkpoint(mini, tmp_path / "out", dtype)
    report = check(target)
    assert report.ok
    assert report.parts[1].dtypes == (stored,)
    assert report.parts[0].dtypes == ("F32",)
    assert (target / WAV2VEC2 / "model.safetensors").exists()
    assert not list(target.rglob("*.bin"))
    for relative in ("config.yaml", "BiCodec/config.yaml", "LLM/tokenizer.json", f"{WAV2VEC2}/config.json"):
        assert (target / relative).read_bytes() == (mini / relative).read_bytes()
    old, new = Checkpoint.open(mini), Checkpoint.open(target)
    assert new.codec_fingerprint == old.codec_fingerprint
    for before, after in (
        (old.bicodec_tensors(), new.bicodec_tensors()),
        (old.wav2vec2_tensors(), new.wav2vec2_tensors()),
    ):
        assert set(before) == set(after)
        assert all(np.array_equal(before[name], after[name]) for name in before)
    after = dict(new.lm_tensors())
    for name, values in old.lm_tensors():
        expected = torch.from_numpy(values).bfloat16().float().numpy() if dtype == "bf16" else values
        np.testing.assert_array_equal(after[name], expected)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_bf16_and_back_loses_nothing_more(mini: Path, tmp_path: Path) -> None:
    convert_checkpoint(mini, tmp_path / "half", "bf16")
    convert_checkpoint(tmp_path / "half", tmp_path / "whole", "fp32")
    half, whole = (dict(Checkpoint.open(tmp_path / name).lm_tensors()) for name in ("half", "whole"))
    assert all(np.array_equal(half[name], whole[name]) for name in half)
    assert TensorFile.open(tmp_path / "whole/LLM/model.safetensors").dtype("model.norm.weight") == "F32"


def test_transformers_loads_what_was_converted(mini: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    target = convert_checkpoint(mini, tmp_path / "out", "bf16")
    model = transformers.AutoModelForCausalLM.from_pretrained(target / "LLM", dtype="auto")
    assert model.dtype == torch.bfloat16
    before = transformers.Wav2Vec2Model.from_pretrained(mini / WAV2VEC2).state_dict()
    after = transformers.Wav2Vec2Model.from_pretrained(target / WAV2VEC2).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_bad_requests_leave_nothing_behind(mini: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(OptionError, match="exists already"):
        convert_checkpoint(mini, tmp_path / "there")
    with pytest.raises(OptionError, match="overflows"):
        convert_checkpoint(mini, tmp_path / "out", "fp16")
    with pytest.raises(OptionError, match="cannot be written"):
        convert_checkpoint(mini, tmp_path / "no" / "out")
    with pytest.raises(CheckpointError):
        convert_checkpoint(tmp_path, tmp_path / "out")
    with pytest.raises(CheckpointError):
        convert_bin_to_safetensors(tmp_path / "no.bin", tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_source_that_breaks_half_way_leaves_nothing_behind(mini: Path, tmp_path: Path) -> None:
    copy = copy_checkpoint(mini, tmp_path)
    (copy / WAV2VEC2 / "pytorch_model.bin").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="pytorch_model"):
        convert_checkpoint(copy, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_repeated_tied_head_is_not_written(mini: Path, tmp_path: Path) -> None:
    copy = copy_checkpoint(mini, tmp_path)
    lm = copy / "LLM/model.safetensors"
    edit_tensors(lm, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].copy()}))
    convert_checkpoint(copy, tmp_path / "out")
    assert "lm_head.weight" not in TensorFile.open(tmp_path / "out/LLM/model.safetensors").names
