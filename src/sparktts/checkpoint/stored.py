"""Where one tensor lies in a file, and how it is read: into a fresh array, so that nothing stays mapped."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import CheckpointError

Array = npt.NDArray[Any]

# Names as in safetensors. BF16 has no numpy type: its bits are kept as uint16.
STORED_TYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(code)
    for name, code in {
        "F64": "<f8",
        "F32": "<f4",
        "F16": "<f2",
        "BF16": "<u2",
        "I64": "<i8",
        "I32": "<i4",
        "I16": "<i2",
        "I8": "i1",
        "U64": "<u8",
        "U32": "<u4",
        "U16": "<u2",
        "U8": "u1",
        "BOOL": "?",
    }.items()
}
FLOATS = ("F64", "F32", "F16", "BF16")
CHUNK = 1 << 20  # values converted at a time, so that no second whole copy exists


@dataclass(frozen=True)
class StoredTensor:
    """A tensor inside a file. offset: bytes from the file's start; strides: in values, None if contiguous."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...] | None = None

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self.size * STORED_TYPES[self.dtype].itemsize

    def read_stored(self, path: Path) -> Array:
        """The values as stored (BF16: uint16 bits). Raises CheckpointError."""
        kind = STORED_TYPES[self.dtype]
        if self.strides is None or self.size == 0:
            values = np.empty(self.shape, kind)
            self._fill(path, values.reshape(-1))
            return values
        span = 1 + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        flat = np.empty(span, kind)
        self._fill(path, flat)
        steps = tuple(stride * kind.itemsize for stride in self.strides)
        return np.lib.stride_tricks.as_strided(flat, self.shape, steps).copy()

    def read(self, path: Path) -> Array:
        """The values: float32 for every float type, else as stored. Raises CheckpointError."""
        if self.dtype not in FLOATS:
            return self.read_stored(path)
        if self.dtype == "F32":
            return self.read_stored(path)
        if self.strides is not None:
            return to_float32(self.read_stored(path), self.dtype)
        values = np.empty(self.shape, np.float32)
        flat = values.reshape(-1)
        kind = STORED_TYPES[self.dtype]
        buffer = np.empty(min(CHUNK, flat.size), kind)
        with _open(path) as file:
            file.seek(self.offset)
            for start in range(0, flat.size, CHUNK):
                part = buffer[: min(CHUNK, flat.size - start)]
                _read_into(file, part, path)
                flat[start : start + part.size] = to_float32(part, self.dtype)
        return values

    def map(self, path: Path) -> Array:
        """The values as stored, mapped from the file: pages that are never touched take no memory.

        Copy-on-write: the file cannot be changed through it. Raises CheckpointError.
        """
        if self.strides is not None or self.size == 0:
            return self.read_stored(path)
        try:
            return np.memmap(path, STORED_TYPES[self.dtype], mode="c", offset=self.offset, shape=self.shape)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}.") from None

    def _fill(self, path: Path, flat: Array) -> None:
        with _open(path) as file:
            file.seek(self.offset)
            _read_into(file, flat, path)


def to_float32(values: Array, dtype: str) -> npt.NDArray[np.float32]:
    """Stored floats as float32. BF16 is the upper half of a float32."""
    if dtype == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinity; the check reports it
        return values.astype(np.float32)


def to_bfloat16_bits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """float32 rounded to the nearest bfloat16, ties to even, as uint16 bits; NaN stays NaN."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    return np.where(np.isnan(values), (bits >> 16) | 0x40, rounded).astype(np.uint16)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None


def _read_into(file: BinaryIO, target: Array, path: Path) -> None:
    """Fills a flat array from the file's position: one read may return less than asked for beyond 2 GB."""
    view = memoryview(target.data).cast("B") if target.size else memoryview(b"")
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise CheckpointError(f"{path} became shorter while it was read; download it again.")
        done += count
