"""torch files are read without torch, and nothing in them runs."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparktts.checkpoint.tensors import TensorFile
from sparktts.errors import CheckpointError

RELAXED = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def varied_tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    base = torch.randn(6, 8)
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8)
    return {
        "plain": base,
        "shared": base,
        "row": base[2],
        "transposed": base.t(),
        "strided": base[1::2, ::3],
        "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(7.5),
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "wide": torch.arange(5).to(torch.uint16),
        "flags": torch.tensor([True, False]),
        **{str(kind): torch.arange(-3, 4).to(kind) for kind in kinds},
    }


def assert_equal_to_torch(path: Path, table: dict[str, torch.Tensor]) -> None:
    file = TensorFile.open(path)
    assert file.names == tuple(table)
    for name, tensor in table.items():
        expected = tensor.detach().float() if tensor.is_floating_point() else tensor
        assert file.shape(name) == tuple(tensor.shape)
        values = file.read(name)
        assert values.flags["C_CONTIGUOUS"]
        np.testing.assert_array_equal(values, expected.numpy())


@pytest.mark.parametrize("new_format", [True, False])
def test_values_equal_torch_load(new_format: bool, tmp_path: Path) -> None:
    table = varied_tensors()
    if not new_format:
        del table["wide"]  # has no storage type of its own in the old format
    torch.save(table, tmp_path / "a.bin", _use_new_zipfile_serialization=new_format)
    assert_equal_to_torch(tmp_path / "a.bin", torch.load(tmp_path / "a.bin"))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_read(protocol: int, tmp_path: Path) -> None:
    table = varied_tensors()
    torch.save(table, tmp_path / "a.pt", pickle_protocol=protocol)
    assert_equal_to_torch(tmp_path / "a.pt", table)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_module_state_with_metadata_is_read(new_format: bool, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 3), torch.nn.BatchNorm1d(3))
    state = module.state_dict()
    assert isinstance(state, collections.OrderedDict)
    torch.save(state, tmp_path / "m.pt", _use_new_zipfile_serialization=new_format)
    assert_equal_to_torch(tmp_path / "m.pt", dict(state))


def test_the_checkpoint_s_wav2vec2_equals_torch_load(mini: Path) -> None:
    path = mini / "wav2vec2-large-xlsr-53" / "pytorch_model.bin"
    assert_equal_to_torch(path, torch.load(path))


class Evil:
    """Pickles to a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class Custom:
    """Any class of one's own."""


class Stateful:
    def __setstate__(self, state: object) -> None:
        raise AssertionError("ran")


def archive(path: Path, pickled: bytes, storages: dict[str, bytes] | None = None, **options: Any) -> Path:
    """A zip file as torch writes it, around any pickle."""
    with zipfile.ZipFile(path, "w", **options) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", "little")
        for key, data in (storages or {}).items():
            file.writestr(f"archive/data/{key}", data)
    return path


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        TensorFile.open(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.isprintable()
    return message


def evil_values(marker: Path) -> dict[str, tuple[object, str]]:
    command = f"touch {marker}"
    return {
        "system": (Evil(os.system, command), f"{os.system.__module__}.system"),
        "eval": (Evil(eval, f"open({str(marker)!r}, 'w')"), "builtins.eval"),
        "getattr": (Evil(getattr, "a", "b"), "builtins.getattr"),
        "popen": (Evil(subprocess.Popen, command), "subprocess.Popen"),
        "class": (Custom(), "Custom"),
        "stateful": (Stateful(), "Stateful"),
        "module": (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        "numpy": (np.zeros(2), "numpy"),
        "set": ({1}, "EMPTY_SET"),
        "bytearray": (bytearray(b"x"), "BYTEARRAY8"),
    }


EVIL_CASES = [
    (name, container, protocol)
    for name in sorted(evil_values(Path()))
    for container in ("zip", "bare", "nested", "key")
    for protocol in (0, 2, 5)
    if container != "key" or name in ("system", "eval")  # the rest cannot be keys
]


@pytest.mark.parametrize(("name", "container", "protocol"), EVIL_CASES)
def test_anything_but_tensors_is_refused_and_does_not_run(
    name: str, container: str, protocol: int, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    value, says = evil_values(marker)[name]
    wrap: dict[str, Callable[[object], object]] = {
        "zip": lambda value: {"a": value},
        "bare": lambda value: value,
        "nested": lambda value: [[{"a": (value,)}]],
        "key": lambda value: {value: 1},
    }
    pickled = pickle.dumps(wrap[container](value), protocol=protocol)
    path = tmp_path / "evil.bin"
    if container == "bare":
        path.write_bytes(pickled)
    else:
        archive(path, pickled)
    message = refused(path)
    if protocol == 5 and container != "bare":  # older ones call builtins by other names
        assert says in message
    assert not marker.exists()


def storage(key: object = "0", count: object = 4, kind: str = "FloatStorage") -> Any:
    return ("storage", getattr(torch, kind), key, "cpu", count)


class Pickler(pickle.Pickler):
    """Writes P(...) as a persistent id and the rest as pickle does."""

    def persistent_id(self, value: Any) -> Any:
        return value.identity if isinstance(value, P) else None


class P:
    def __init__(self, identity: Any) -> None:
        self.identity = identity


def pickled(value: object) -> bytes:
    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def view(identity: Any, offset: Any = 0, shape: Any = (4,), strides: Any = (1,), hooks: Any = None) -> Evil:
    hooks = collections.OrderedDict() if hooks is None else hooks
    return Evil(torch._utils._rebuild_tensor_v2, P(identity), offset, shape, strides, False, hooks)


def test_the_handmade_archive_is_good_before_it_is_damaged(tmp_path: Path) -> None:
    data = np.arange(4, dtype=np.float32).tobytes()
    path = archive(tmp_path / "good.bin", pickled({"a": view(storage())}), {"0": data})
    np.testing.assert_array_equal(TensorFile.open(path).read("a"), [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": view(storage(count=5))}, "20 bytes of values where 16"),
        ({"a": view(storage(count=3), shape=(3,))}, "12 bytes of values where 16"),
        ({"a": view(storage(count=-4))}, "out of range"),
        ({"a": view(storage(count=1 << 60))}, "out of range"),
        ({"a": view(storage(count=4.0))}, "out of range"),
        ({"a": view(storage(count=True))}, "out of range"),
        ({"a": view(storage(key="7"))}, "missing"),
        ({"a": view(storage(key="../data.pkl"))}, "missing"),
        ({"a": view(storage(key=0))}, "persistent id"),
        ({"a": view(storage(kind="ComplexFloatStorage"))}, "ComplexFloatStorage"),
        ({"a": view((storage(), "x"))}, "persistent id"),
        ({"a": view(("storage", P(storage()), "0", "cpu", 4))}, "persistent id"),
        ({"a": view(("module", torch.FloatStorage, "0", "cpu", 4))}, "persistent id"),
        ({"a": view(storage(), offset=1)}, "beyond its storage"),
        ({"a": view(storage(), offset=-1)}, "out of range"),
        ({"a": view(storage(), shape=(5,))}, "beyond its storage"),
        ({"a": view(storage(), shape=(2, 2), strides=(3, 1))}, "beyond its storage"),
        ({"a": view(storage(), shape=(2,), strides=(-1,))}, "out of range"),
        ({"a": view(storage(), shape=(1 << 40,), strides=(0,))}, "beyond its storage"),
        ({"a": view(storage(), shape=(1 << 40, 1 << 40), strides=(0, 0))}, "beyond its storage"),
        ({"a": view(storage(), shape=(2,), strides=(1, 1))}, "do not match"),
        ({"a": view(storage(), shape=[4])}, "do not match"),
        ({"a": view(storage(), hooks={"h": 1})}, "hooks"),
        ({"a": P(storage())}, "a Storage under `a`"),
        ({"a": {"b": view(storage())}}, "a dict under `a`"),
        ({"a": 3}, "a int under `a`"),
        ({3: view(storage())}, "name"),
        ({"\n": view(storage())}, "name"),
        ([view(storage())], "list at its top"),
        (view(storage()), "single tensor at its top"),
        ({"a": Evil(torch._utils._rebuild_tensor_v2, 1, 2)}, "unexpected arguments"),
        ({"a": Evil(torch._utils._rebuild_tensor_v2, 1, 0, (4,), (1,), False, {})}, "without storage"),
        ({"a": Evil(collections.OrderedDict, [("x", 1)])}, "unexpected arguments"),
    ],
)  # fmt: skip
def test_a_lying_table_is_refused_with_the_reason(value: object, says: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "lie.bin", pickled(value), {"0": bytes(16)})
    assert says in refused(path)


@pytest.mark.parametrize(
    "pickled_bytes",
    [
        b"",
        b".",
        b"\x80\x02}q\x00",  # no STOP
        b"\x80\x02r\xff\xff\xff\xff.",  # memo of four billion
        b"\x80\x02(((((t.",
        b"\x80\x02h\x05.",  # memo that was never set
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b".",  # bytes longer than memory
        b"\x80\x02Pevil\n.",  # textual persistent id
        b"\x80\x02}(](u.",
        b"\x80\x02ios\nsystem\n.",
        b"\x80\x02(S'true'\nios\nsystem\n.",
        b"(lp0\n0.",
        b"\x80\x02\x82\x01.",  # extension registry
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x02K\x01K\x02R.",
        b"\x80\x02K\x01}b.",
    ],
)
def test_a_strange_instruction_stream_is_refused(pickled_bytes: bytes, tmp_path: Path) -> None:
    refused(archive(tmp_path / "p.bin", pickled_bytes))


def test_nested_tuples_as_keys_cost_no_time(tmp_path: Path) -> None:
    doubling = b"\x80\x02)q\x00" + b"h\x00h\x00\x86q\x00" * 60
    refused(archive(tmp_path / "t.bin", b"\x80\x02}" + doubling[2:] + b"K\x01s."))


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    table = pickled({"a": view(storage(count=1 << 22))})
    path = archive(tmp_path / "bomb.bin", table, {"0": bytes(1 << 24)}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 17
    assert "compressed" in refused(path)


def test_an_entry_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "big.bin", pickled({"a": view(storage())}), {"0": bytes(16)})
    data = bytearray(path.read_bytes())
    central = data.rfind(b"PK\x01\x02")
    data[central + 20 : central + 28] = struct.pack("<II", 1 << 30, 1 << 30)
    path.write_bytes(data)
    assert "beyond the end" in refused(path)


def test_an_entry_before_the_file_s_start_is_refused(tmp_path: Path) -> None:
    data = bytearray(archive(tmp_path / "n.bin", pickled({}), {"0": bytes(16)}).read_bytes())
    end = data.rfind(b"PK\x05\x06")
    start = struct.unpack("<I", data[end + 16 : end + 20])[0]
    data[end + 16 : end + 20] = struct.pack("<I", start + 1000)  # zipfile then moves every offset back
    (tmp_path / "n.bin").write_bytes(data)
    refused(tmp_path / "n.bin")


def test_entries_that_occur_twice_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "twice.bin", pickled({"a": view(storage())}), {"0": bytes(16)})
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("archive/data/0", bytes(16))
    assert "twice" in refused(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"PK", b"hello, I am text", b"PK\x03\x04", b"PK\x03\x04" + bytes(500), b"\x80\x02}.", bytes(64)],
)
def test_what_is_no_torch_file_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(data)
    assert "not a complete torch file" in refused(path)


def test_an_archive_without_a_table_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.bin", "w") as file:
        file.writestr("hello.txt", "hello")
    assert "data.pkl" in refused(tmp_path / "x.bin")


def test_big_endian_numbers_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.bin", "w") as file:
        file.writestr("archive/data.pkl", pickled({}))
        file.writestr("archive/byteorder", "big")
    assert "little-endian" in refused(tmp_path / "x.bin")


def small_files() -> dict[str, bytes]:
    files = {}
    for name, new_format in (("zip", True), ("stream", False)):
        stream = io.BytesIO()
        torch.save(
            {"a": torch.randn(3, 4).t(), "b": torch.arange(3)},
            stream,
            _use_new_zipfile_serialization=new_format,
        )
        files[name] = stream.getvalue()
    return files


FILES = small_files()


@pytest.mark.parametrize("kind", ["zip", "stream"])
@RELAXED
@given(data=st.data())
def test_every_truncation_is_refused(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "t.bin"
    path.write_bytes(FILES[kind][: data.draw(st.integers(0, len(FILES[kind]) - 1))])
    refused(path)


@pytest.mark.parametrize("kind", ["zip", "stream"])
@RELAXED
@given(data=st.data())
def test_damaged_files_read_or_raise_checkpoint_error(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    changed = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "d.bin"
    path.write_bytes(changed)
    try:
        file = TensorFile.open(path)
        for name in file.names:
            assert file.read(name).shape == file.shape(name)
    except CheckpointError as error:
        str(error).encode()


def test_reading_checkpoints_imports_no_torch(mini: Path) -> None:
    code = (
        "import sys; from sparktts.checkpoint import convert, download, layout;"
        f"assert layout.check({str(mini)!r}).ok;"
        "assert not {'torch', 'transformers', 'huggingface_hub', 'scipy', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
