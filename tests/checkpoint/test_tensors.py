"""Reading and writing safetensors, weight norm and bfloat16."""

from __future__ import annotations

import json
from pathlib import Path

import hypothesis.extra.numpy as npst
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from sparktts.checkpoint.stored import to_bfloat16_bits
from sparktts.checkpoint.tensors import (
    FoldedTensors,
    ShardedTensors,
    TensorFile,
    TensorPlan,
    fold_weight_norm,
    write_safetensors,
)
from sparktts.errors import CheckpointError, OptionError

from .copies import raw_safetensors

RELAXED = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16",
    "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
ARRAYS = st.sampled_from(sorted(TYPES)).flatmap(
    lambda kind: npst.arrays(kind, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
TABLES = st.dictionaries(st.from_regex(r"[a-z.0-9]{1,12}", fullmatch=True), ARRAYS, max_size=5)


@RELAXED
@given(TABLES)
def test_reads_what_the_safetensors_library_writes(tmp_path: Path, table: dict[str, np.ndarray]) -> None:
    path = tmp_path / "a.safetensors"
    save_file(table, path)
    file = TensorFile.open(path)
    assert set(file.names) == set(table)
    for name, array in table.items():
        assert file.shape(name) == array.shape
        np.testing.assert_array_equal(file.read_stored(name), array)
        values = file.read(name)
        assert values.dtype == (np.float32 if array.dtype.kind == "f" else array.dtype)
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(values, array.astype(values.dtype))


@RELAXED
@given(TABLES)
def test_the_safetensors_library_reads_what_we_write(tmp_path: Path, table: dict[str, np.ndarray]) -> None:
    path = tmp_path / "b.safetensors"
    plans = [TensorPlan(n, TYPES[a.dtype.name], a.shape, lambda a=a: a) for n, a in table.items()]
    write_safetensors(path, plans)
    read = load_file(path)
    assert set(read) == set(table)
    for name, array in table.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


@given(npst.arrays(np.float32, st.integers(0, 50), elements=st.floats(width=32)))
def test_bfloat16_rounds_as_torch_does(values: np.ndarray) -> None:
    ours = (to_bfloat16_bits(values).astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(ours, torch.from_numpy(values).bfloat16().float().numpy())


def test_bfloat16_files_read_as_float32(tmp_path: Path) -> None:
    from safetensors.torch import save_file as save_torch

    values = torch.randn(3000, 700).bfloat16()  # more than one chunk
    save_torch({"a": values}, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(TensorFile.open(tmp_path / "a.safetensors").read("a"), values.float().numpy())


def good_file() -> bytes:
    header = {
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
    }
    return raw_safetensors(header, bytes(range(32)))


@RELAXED
@given(st.integers(0, len(good_file()) - 1))
def test_every_truncation_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "t.safetensors"
    path.write_bytes(good_file()[:length])
    with pytest.raises(CheckpointError, match=r"t\.safetensors"):
        TensorFile.open(path)


@RELAXED
@given(st.lists(st.tuples(st.integers(0, len(good_file()) - 33), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_header_reads_or_raises_checkpoint_error(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(good_file())
    for position, value in changes:
        data[position] = value
    path = tmp_path / "d.safetensors"
    path.write_bytes(data)
    try:
        file = TensorFile.open(path)
        for name in file.names:
            assert file.read(name).shape == file.shape(name)
    except CheckpointError as error:
        str(error).encode()


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("header", "data", "says"),
    [
        ({"a": ENTRY, "b": ENTRY}, bytes(4), "overlaps"),
        ({"a": {**ENTRY, "data_offsets": [4, 8]}}, bytes(8), "gap"),
        ({"a": ENTRY}, bytes(9), "9 bytes"),
        ({"a": ENTRY}, b"", "0 bytes"),
        ({"a": {**ENTRY, "shape": [1 << 40]}}, bytes(4), "4 bytes"),
        ({"a": {**ENTRY, "shape": [-1]}}, bytes(4), "shape"),
        ({"a": {**ENTRY, "shape": [True]}}, bytes(4), "shape"),
        ({"a": {**ENTRY, "shape": [1] * 99}}, bytes(4), "shape"),
        ({"a": {**ENTRY, "data_offsets": [4, 0]}}, bytes(4), "`a`"),
        ({"a": {**ENTRY, "data_offsets": [0]}}, bytes(4), "offsets"),
        ({"a": {**ENTRY, "dtype": "F8_E4M3"}}, bytes(4), "F8_E4M3"),
        ({"a": {**ENTRY, "dtype": []}}, bytes(4), "type"),
        ({"a": 3}, b"", "description"),
        ({"\ud800": ENTRY}, bytes(4), "printable"),
        ([], b"", "mapping"),
        (
            b'{"a":' + json.dumps(ENTRY).encode() + b',"a":' + json.dumps(ENTRY).encode() + b"}",
            bytes(4),
            "json",
        ),
        (b"[" * 100_000, b"", "json"),
        (b"\xff\xff", b"", "json"),
    ],
)
def test_a_lying_header_is_refused_with_the_reason(header: object, data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "l.safetensors"
    path.write_bytes(raw_safetensors(header, data))
    with pytest.raises(CheckpointError, match=says):
        TensorFile.open(path)


def test_a_header_longer_than_the_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "l.safetensors"
    path.write_bytes(b"\xff" * 8 + b"{}")
    with pytest.raises(CheckpointError, match="cut off"):
        TensorFile.open(path)


def test_a_file_that_shrinks_after_opening_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    path.write_bytes(good_file())
    file = TensorFile.open(path)
    path.write_bytes(good_file()[:-12])
    with pytest.raises(CheckpointError, match="shorter"):
        file.read("a")
    with pytest.raises(CheckpointError, match="shorter"):
        file.read("b")


@pytest.mark.parametrize("name", ["a.txt", "missing.safetensors", "missing.bin", ""])
def test_other_paths_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        TensorFile.open(tmp_path / name)


@pytest.mark.parametrize(
    ("make", "axes"),
    [
        (lambda: torch.nn.Conv1d(6, 5, 3), 0),
        (lambda: torch.nn.ConvTranspose1d(6, 5, 4), 0),
        (lambda: torch.nn.Conv1d(6, 4, 8, groups=2), 2),
        (lambda: torch.nn.Conv1d(6, 1, 3), 0),
    ],
)
def test_folding_equals_torch(make: object, axes: int, tmp_path: Path) -> None:
    layer = torch.nn.utils.parametrizations.weight_norm(make(), dim=axes)  # type: ignore[operator]
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(1.7)
    state = {name: value.detach().numpy() for name, value in layer.state_dict().items()}
    old = {
        "x.weight_g": state["parametrizations.weight.original0"],
        "x.weight_v": state["parametrizations.weight.original1"],
        "x.bias": state["bias"],
    }
    new = {f"x.{name}": value for name, value in state.items()}
    for table in (old, new):
        save_file(table, tmp_path / "w.safetensors")
        folded = FoldedTensors.of(TensorFile.open(tmp_path / "w.safetensors"), "w")
        assert set(folded.names) == {"x.weight", "x.bias"}
        assert folded.shape("x.weight") == tuple(layer.weight.shape)
        np.testing.assert_allclose(folded.read("x.weight"), layer.weight.detach().numpy(), rtol=1e-6)


def test_folding_a_scalar_magnitude_takes_the_whole_norm() -> None:
    direction = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32)
    np.testing.assert_allclose(fold_weight_norm(np.float32(10), direction), 2 * direction)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"x.weight_g": (2, 1)}, "x.weight_v"),
        ({"x.parametrizations.weight.original1": (2, 3)}, "original0"),
        ({"x.weight_g": (3, 1), "x.weight_v": (2, 4)}, "does not scale"),
        ({"x.weight_g": (2,), "x.weight_v": (2, 4)}, "does not scale"),
        ({"x.weight_g": (2, 1), "x.weight_v": (2, 4), "x.weight": (2, 4)}, "twice"),
    ],
)
def test_broken_weight_norm_is_refused(table: dict[str, tuple[int, ...]], says: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({name: np.ones(shape, np.float32) for name, shape in table.items()}, path)
    with pytest.raises(CheckpointError, match=says):
        FoldedTensors.of(TensorFile.open(path), "w")


def test_shards_read_as_one(tmp_path: Path) -> None:
    save_file({"a": np.arange(3, dtype=np.float32)}, tmp_path / "1.safetensors")
    save_file({"b": np.arange(4, dtype=np.float32)}, tmp_path / "2.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}))
    shards = ShardedTensors.open(index)
    assert set(shards.names) == {"a", "b"}
    np.testing.assert_array_equal(shards.read("b"), np.arange(4))


@pytest.mark.parametrize(
    "shard", ["../1.safetensors", "/etc/passwd", "..\\1.safetensors", "1.bin", 3, "a\0.safetensors"]
)
def test_shards_elsewhere_are_refused(shard: object, tmp_path: Path) -> None:
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "1.safetensors")
    index = tmp_path / "x" / "model.safetensors.index.json"
    index.parent.mkdir()
    index.write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointError, match="weight_map"):
        ShardedTensors.open(index)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fails() -> np.ndarray:
        raise CheckpointError("no")

    with pytest.raises(CheckpointError, match="no"):
        write_safetensors(tmp_path / "a.safetensors", [TensorPlan("a", "F32", (1,), fails)])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OptionError, match="cannot be written"):
        write_safetensors(tmp_path / "missing" / "a.safetensors", [])
