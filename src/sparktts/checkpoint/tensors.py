"""Files of tensors: .safetensors through a small reader of our own, torch's .bin/.pt through unpickle.py."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from ..errors import CheckpointError, OptionError
from ..files import replacing
from .fields import read_json
from .stored import FLOATS, STORED_TYPES, Array, StoredTensor, to_bfloat16_bits

MAX_HEADER_BYTES = 100 << 20  # the format's own limit
MAX_RANK = 16
TORCH_SUFFIXES = (".bin", ".pt", ".pth")
_NAME = "the tensor `{}`"


class TensorSource(Protocol):
    """Named tensors that are read one at a time."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""

    def dtype(self, name: str) -> str:
        """Stored type, named as in safetensors."""

    def read(self, name: str) -> Array:
        """Values: float32 for floats, else as stored. Raises CheckpointError."""

    def read_stored(self, name: str) -> Array:
        """Values as stored (BF16: uint16 bits). Raises CheckpointError."""

    def map(self, name: str) -> Array:
        """Values as stored, mapped from the file. Raises CheckpointError."""


@dataclass(frozen=True)
class TensorFile:
    """One file of tensors; holds no open handle and no values."""

    path: Path
    entries: Mapping[str, StoredTensor]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> TensorFile:
        """Reads the index of a .safetensors, .bin, .pt or .pth file. Raises CheckpointError."""
        path = Path(path)
        if path.suffix in TORCH_SUFFIXES:
            from .torch_file import index_torch_file

            return cls(path, index_torch_file(path))
        if path.suffix != ".safetensors":
            raise CheckpointError(
                f"{path} is not a .safetensors, .bin, .pt or .pth file, the kinds that tensors are read from."
            )
        return cls(path, _index_safetensors(path))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.entries)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entry(name).shape

    def dtype(self, name: str) -> str:
        return self._entry(name).dtype

    def read(self, name: str) -> Array:
        return self._entry(name).read(self.path)

    def read_stored(self, name: str) -> Array:
        return self._entry(name).read_stored(self.path)

    def map(self, name: str) -> Array:
        return self._entry(name).map(self.path)

    def _entry(self, name: str) -> StoredTensor:
        try:
            return self.entries[name]
        except KeyError:
            raise CheckpointError(f"{self.path} lacks the tensor `{name}`.") from None


@dataclass(frozen=True)
class ShardedTensors:
    """Several files that together hold one model, as listed by `model.safetensors.index.json`."""

    files: Mapping[str, TensorFile]  # by tensor name

    @classmethod
    def open(cls, index: Path) -> ShardedTensors:
        """Reads the index and the header of every shard. Raises CheckpointError."""
        part = read_json(index).section("weight_map")
        shards: dict[str, TensorFile] = {}
        files: dict[str, TensorFile] = {}
        for name in part.values:
            shard = part.text(name)
            if Path(shard).name != shard or "\\" in shard or "\0" in shard or not shard.endswith(".safetensors"):
                raise part.error(name, f"names {shard!r:.80}, which is not a .safetensors file beside the index")
            if shard not in shards:
                shards[shard] = TensorFile.open(index.parent / shard)
            if name not in shards[shard].entries:
                raise CheckpointError(f"{index.parent / shard} lacks the tensor `{name}` that {index.name} lists.")
            files[name] = shards[shard]
        for file in shards.values():
            for name in file.names:
                files.setdefault(name, file)  # unlisted tensors stay visible, so that they can be refused
        return cls(files)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.files)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._file(name).shape(name)

    def dtype(self, name: str) -> str:
        return self._file(name).dtype(name)

    def read(self, name: str) -> Array:
        return self._file(name).read(name)

    def read_stored(self, name: str) -> Array:
        return self._file(name).read_stored(name)

    def map(self, name: str) -> Array:
        return self._file(name).map(name)

    def _file(self, name: str) -> TensorFile:
        try:
            return self.files[name]
        except KeyError:
            raise CheckpointError(f"The shards lack the tensor `{name}`.") from None


@dataclass(frozen=True)
class FoldedTensors:
    """A source in which weight-normed pairs appear as one plain `.weight`.

    Pairs are stored as weight_g/weight_v, or by newer PyTorch as parametrizations.weight.original0/original1.
    """

    source: TensorSource
    parts: Mapping[str, tuple[str, ...]]  # folded name -> stored name, or magnitude and direction

    @classmethod
    def of(cls, source: TensorSource, where: str) -> FoldedTensors:
        """Finds the pairs. where: the file. Raises CheckpointError for half a pair or a doubled name."""
        stored = set(source.names)
        parts: dict[str, tuple[str, ...]] = {}
        for name in source.names:
            folded, members = _pair_of(name)
            if missing := [member for member in members if member not in stored]:
                raise CheckpointError(f"{where} lacks the tensor `{missing[0]}`, which belongs to `{name}`.")
            if parts.setdefault(folded, members) != members:
                raise CheckpointError(f"{where} holds `{folded}` twice: as `{name}` and as `{parts[folded][0]}`.")
            if len(members) == 2:
                _check_pair(source, members, where)
        return cls(source, parts)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.parts)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.source.shape(self.parts[name][-1])

    def dtype(self, name: str) -> str:
        return self.source.dtype(self.parts[name][-1])

    def read(self, name: str) -> Array:
        members = self.parts[name]
        if len(members) == 1:
            return self.source.read(members[0])
        return fold_weight_norm(self.source.read(members[0]), self.source.read(members[1]))

    def read_stored(self, name: str) -> Array:
        members = self.parts[name]
        return self.read(name) if len(members) == 2 else self.source.read_stored(members[0])

    def map(self, name: str) -> Array:
        members = self.parts[name]
        return self.read(name) if len(members) == 2 else self.source.map(members[0])


def fold_weight_norm(magnitude: Array, direction: Array) -> npt.NDArray[np.float32]:
    """direction scaled so that its norm over every axis where magnitude has size 1 is the magnitude.

    magnitude broadcasts against direction: (n, 1, 1) for convolutions, (1, 1, k) for wav2vec2's positions.
    """
    shape = magnitude.shape or (1,) * direction.ndim
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1)
    direction = direction.astype(np.float32, copy=False)
    squares = np.sum(np.square(direction), axis=axes, keepdims=True, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = (magnitude.reshape(shape) / np.sqrt(squares)).astype(np.float32)
        return np.multiply(direction, gain, dtype=np.float32)


def open_weights(directory: Path) -> tuple[TensorSource, Path]:
    """The tensors of one model directory and the file that names them. Raises CheckpointError.

    Looks for model.safetensors, then shards, then pytorch_model.bin.
    """
    single = directory / "model.safetensors"
    if single.exists():
        return TensorFile.open(single), single
    index = directory / "model.safetensors.index.json"
    if index.exists():
        return ShardedTensors.open(index), index
    pickled = directory / "pytorch_model.bin"
    if pickled.exists():
        return TensorFile.open(pickled), pickled
    raise CheckpointError(
        f"{single} is missing; `sparktts model download` gets a complete checkpoint and resumes a broken one."
    )


@dataclass(frozen=True)
class TensorPlan:
    """One tensor to write: its values come from `read` only when it is its turn."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Array]

    @property
    def nbytes(self) -> int:
        return StoredTensor(self.dtype, self.shape, 0).nbytes


def write_safetensors(target: Path, plans: Sequence[TensorPlan]) -> None:
    """Writes a .safetensors file with one tensor in memory at a time, under a temporary name until complete.

    `read` gives values of the plan's shape in its stored type. Raises CheckpointError, and OptionError when
    the file cannot be written.
    """
    ordered = sorted(plans, key=lambda plan: (-STORED_TYPES[plan.dtype].itemsize, plan.name))
    with atomic_file(target) as file:
        file.write(_header(ordered))
        for plan in ordered:
            values = np.ascontiguousarray(plan.read(), dtype=STORED_TYPES[plan.dtype])
            if values.nbytes != plan.nbytes:
                raise CheckpointError(f"{target}: {_NAME.format(plan.name)} changed its size while it was written.")
            file.write(values.reshape(-1).data)


def write_arriving(
    target: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str, tensors: Iterable[tuple[str, Array]]
) -> None:
    """Writes a .safetensors file from float32 tensors that come in any order, each once.

    shapes: of all of them; dtype: F32 or BF16. Raises CheckpointError for other tensors, and OptionError when the file
    cannot be written.
    """
    plans = {name: TensorPlan(name, dtype, shape, lambda: np.empty(0)) for name, shape in shapes.items()}
    header = _header(list(plans.values()))
    places, position = {}, len(header)
    for name, plan in plans.items():
        places[name], position = position, position + plan.nbytes
    with atomic_file(target) as file:
        file.write(header)
        for name, values in tensors:
            if name not in places or values.shape != shapes[name]:
                raise CheckpointError(f"{target}: {_NAME.format(name)} of shape {list(values.shape)} is not expected.")
            stored = to_bfloat16_bits(values) if dtype == "BF16" else values.astype("<f4", copy=False)
            file.seek(places.pop(name))
            file.write(np.ascontiguousarray(stored).reshape(-1).data)
        if places:
            raise CheckpointError(f"{target}: {_NAME.format(next(iter(places)))} is missing.")


@contextmanager
def atomic_file(target: Path) -> Iterator[BinaryIO]:
    """A binary file that appears under its name only when complete. Raises OptionError."""
    try:
        with replacing(target) as temporary, temporary.open("wb") as file:
            yield file
    except OSError as error:
        raise OptionError(f"{target} cannot be written: {error.strerror or error}.") from None


def _header(plans: Sequence[TensorPlan]) -> bytes:
    index: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers asks for this entry
    offset = 0
    for plan in plans:
        end = offset + plan.nbytes
        index[plan.name] = {"dtype": plan.dtype, "shape": list(plan.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(index, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _pair_of(name: str) -> tuple[str, tuple[str, ...]]:
    """Folded name of a stored tensor, and the stored names that make it up."""
    for magnitude, direction in (
        ("weight_g", "weight_v"),
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    ):
        for leaf in (magnitude, direction):
            if name == leaf or name.endswith(f".{leaf}"):
                base = name[: -len(leaf)]
                return f"{base}weight", (base + magnitude, base + direction)
    return name, (name,)


def _check_pair(source: TensorSource, members: tuple[str, ...], where: str) -> None:
    magnitude, direction = (source.shape(member) for member in members)
    fits = len(magnitude) == len(direction) and all(m in (1, d) for m, d in zip(magnitude, direction, strict=True))
    if magnitude and not fits:
        raise CheckpointError(
            f"{where}: the tensor `{members[0]}` has shape {list(magnitude)}, which does not scale"
            f" `{members[1]}` of shape {list(direction)}."
        )
    for member in members:
        if source.dtype(member) not in FLOATS:
            raise CheckpointError(f"{where}: the tensor `{member}` holds {source.dtype(member)} values, not floats.")


def _index_safetensors(path: Path) -> dict[str, StoredTensor]:
    header, start, size = _read_header(path)
    entries: dict[str, StoredTensor] = {}
    spans: list[tuple[int, int, str]] = []
    for name, value in header.items():
        if name == "__metadata__":
            continue
        entry, begin, end = _entry(path, name, value)
        entries[name] = StoredTensor(entry.dtype, entry.shape, start + begin)
        spans.append((begin, end, name))
    _check_spans(path, spans, size - start)
    return entries


def _read_header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The parsed header, where the data starts, and the file's size."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
            if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
                raise _damaged(path, "its header is cut off")
            text = file.read(length)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; `sparktts model download` gets a complete checkpoint.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise _damaged(path, "its header is not valid json") from None
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not a mapping")
    return header, 8 + length, size


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a name occurs twice")
    return mapping


def _entry(path: Path, name: str, value: object) -> tuple[StoredTensor, int, int]:
    if not printable(name):
        raise _damaged(path, "a tensor's name is not printable text")
    if not isinstance(value, dict):
        raise _damaged(path, f"{_NAME.format(name)} has no description")
    dtype, shape, offsets = value.get("dtype"), value.get("shape"), value.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in STORED_TYPES:
        raise CheckpointError(
            f"{path}: {_NAME.format(name)} has the type {dtype!r:.40}, which is not supported;"
            f" supported are {', '.join(STORED_TYPES)}."
        )
    if not _sizes(shape) or len(shape) > MAX_RANK:
        raise _damaged(path, f"{_NAME.format(name)} has no valid shape")
    if not _sizes(offsets) or len(offsets) != 2:
        raise _damaged(path, f"{_NAME.format(name)} has no valid offsets")
    entry = StoredTensor(dtype, tuple(shape), 0)
    if offsets[1] - offsets[0] != entry.nbytes:
        raise _damaged(path, f"{_NAME.format(name)} has {offsets[1] - offsets[0]} bytes, not {entry.nbytes}")
    return entry, offsets[0], offsets[1]


def printable(name: str) -> bool:
    """Whether a name from a file may appear in a message."""
    return name.isprintable() and len(name) <= 512


def _sizes(value: Any) -> TypeGuard[list[int]]:
    # The bound keeps products and messages printable whatever the header says.
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 48 for n in value)


def _check_spans(path: Path, spans: list[tuple[int, int, str]], size: int) -> None:
    """The format wants tensors side by side, without gap or overlap, to the end of the file."""
    position = 0
    for begin, end, name in sorted(spans):
        if begin != position:
            what = "overlaps another" if begin < position else "leaves a gap before it"
            raise _damaged(path, f"{_NAME.format(name)} {what}")
        position = end
    if position != size:
        raise _damaged(path, f"it holds {size} bytes of values where its header says {position}")


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{path} is not a complete safetensors file ({why}); download it again.")
