"""Where the tensors of a torch file (.bin, .pt) lie: zip archives, and the streams before torch 1.6."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import CheckpointError
from .stored import StoredTensor
from .unpickle import ITEM_SIZES, PickledTensor, RefusedError, unpickle

MAX_PICKLE_BYTES = 16 << 20  # names and shapes of hundreds of tensors take some 100 kB
MAX_ENTRIES = 1 << 16
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of name and extra field
STREAM_MAGIC = 0x1950A86A20F9469CFC6C
STREAM_VERSION = 1001


@dataclass(frozen=True)
class _Block:
    """A storage's place: bytes from the file's start."""

    offset: int
    nbytes: int


def index_torch_file(path: Path) -> dict[str, StoredTensor]:
    """Name, type, shape and place of every tensor. Nothing in the file runs; anything but tensors is refused.

    Raises CheckpointError naming what was found.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            table, blocks = _read_zip(file) if is_zip else _read_stream(file)
        return _entries(table, blocks)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; `sparktts model download` gets a complete checkpoint.") from None
    except RefusedError as refusal:
        raise CheckpointError(
            f"{path} holds {refusal}, not only tensors; it was refused and nothing in it was run: get the"
            " file from a source you trust, or as safetensors."
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
    except DamagedError as damage:
        raise CheckpointError(f"{path} is not a complete torch file ({damage}); download it again.") from None


class DamagedError(Exception):
    """The container is broken; the message says how."""


def _entries(table: object, blocks: Mapping[str, _Block]) -> dict[str, StoredTensor]:
    if type(table) is not dict:
        raise RefusedError(f"a {_kind(table)} at its top")
    entries = {}
    for name, tensor in table.items():
        if not isinstance(name, str) or not name.isprintable() or len(name) > 512:
            raise RefusedError("a tensor whose name is not printable text")
        if type(tensor) is not PickledTensor:
            raise RefusedError(f"a {_kind(tensor)} under `{name}`")
        entries[name] = _place(name, tensor, blocks)
    return entries


def _kind(value: object) -> str:
    return "single tensor" if type(value) is PickledTensor else type(value).__name__


def _place(name: str, tensor: PickledTensor, blocks: Mapping[str, _Block]) -> StoredTensor:
    block = blocks.get(tensor.storage.key)
    if block is None:
        raise DamagedError(f"the values of `{name}` are missing")
    if block.nbytes != tensor.storage.nbytes:
        raise DamagedError(f"`{name}` claims {tensor.storage.nbytes} bytes of values where {block.nbytes} are stored")
    offset = block.offset + tensor.offset * ITEM_SIZES[tensor.dtype]
    strides = None if _is_contiguous(tensor) else tensor.strides
    return StoredTensor(tensor.dtype, tensor.shape, offset, strides)


def _is_contiguous(tensor: PickledTensor) -> bool:
    step = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def _read_zip(file: BinaryIO) -> tuple[object, dict[str, _Block]]:
    infos = _zip_entries(file)
    pickles = [name for name in infos if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise DamagedError("it has no data.pkl")
    prefix = pickles[0].removesuffix("data.pkl")
    blocks = {name.removeprefix(prefix): _zip_block(file, info) for name, info in infos.items()}
    order = blocks.get("byteorder")
    if order and _bytes(file, order) != b"little":
        raise DamagedError("its numbers are not little-endian")
    table = unpickle(io.BytesIO(_bytes(file, blocks["data.pkl"])))
    return table, {key.removeprefix("data/"): block for key, block in blocks.items() if key.startswith("data/")}


def _zip_entries(file: BinaryIO) -> dict[str, zipfile.ZipInfo]:
    try:
        infos = zipfile.ZipFile(file).infolist()
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        ValueError,
        LookupError,
        EOFError,
        struct.error,
    ) as error:
        raise DamagedError("its zip directory is cut off or broken") from error
    if len(infos) > MAX_ENTRIES:
        raise DamagedError(f"it has {len(infos)} entries")
    entries = {info.filename: info for info in infos}
    if len(entries) != len(infos):
        raise DamagedError("a zip entry occurs twice")
    return entries


def _zip_block(file: BinaryIO, info: zipfile.ZipInfo) -> _Block:
    """Place of an entry's bytes. torch compresses nothing, and a compressed entry may unfold to any size."""
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
        raise DamagedError(f"the entry {info.filename[:80]!a} is compressed or encrypted, which torch never writes")
    end = os.fstat(file.fileno()).st_size
    if not 0 <= info.header_offset < end:
        raise DamagedError(f"the entry {info.filename[:80]!a} is missing")
    file.seek(info.header_offset)
    header = file.read(LOCAL_HEADER.size)
    if len(header) != LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
        raise DamagedError(f"the entry {info.filename[:80]!a} is missing")
    _, name_length, extra_length = LOCAL_HEADER.unpack(header)
    block = _Block(info.header_offset + LOCAL_HEADER.size + name_length + extra_length, info.file_size)
    if block.offset + block.nbytes > end:
        raise DamagedError(f"the entry {info.filename[:80]!a} reaches beyond the end of the file")
    return block


def _bytes(file: BinaryIO, block: _Block) -> bytes:
    if block.nbytes > MAX_PICKLE_BYTES:
        raise DamagedError(f"its table of tensors has {block.nbytes} bytes")
    file.seek(block.offset)
    return file.read(block.nbytes)


def _read_stream(file: BinaryIO) -> tuple[object, dict[str, _Block]]:
    """Five pickles (magic, version, system, table, keys), then each storage: count of values, values."""
    head = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    try:
        magic = unpickle(head)
    except RefusedError as refusal:
        if str(refusal).startswith("`"):  # a bare pickle that names something: say what it is
            raise
        magic = None
    if magic != STREAM_MAGIC:
        raise DamagedError("it is neither a zip archive nor a torch stream")
    if unpickle(head) != STREAM_VERSION:
        raise DamagedError("its version is unknown")
    system = unpickle(head)
    if type(system) is not dict or system.get("little_endian") is not True:
        raise DamagedError("its numbers are not little-endian")
    table, keys = unpickle(head), unpickle(head)
    if type(keys) is not list or not all(isinstance(key, str) for key in keys):
        raise DamagedError("its list of storages is broken")
    return table, _stream_blocks(file, head.tell(), keys, _item_sizes(table))


def _item_sizes(table: object) -> dict[str, int]:
    """Bytes per value of each storage that the table uses."""
    values = table.values() if type(table) is dict else ()
    storages = [value.storage for value in values if type(value) is PickledTensor]
    return {storage.key: ITEM_SIZES[storage.dtype] for storage in storages if storage.dtype is not None}


def _stream_blocks(file: BinaryIO, position: int, keys: list[str], sizes: Mapping[str, int]) -> dict[str, _Block]:
    end = os.fstat(file.fileno()).st_size
    blocks: dict[str, _Block] = {}
    for key in keys:
        file.seek(position)
        prefix = file.read(8)
        if len(prefix) != 8 or key not in sizes or key in blocks:
            raise DamagedError("its storages are cut off or do not match its table")
        block = _Block(position + 8, struct.unpack("<Q", prefix)[0] * sizes[key])
        position = block.offset + block.nbytes
        if position > end:
            raise DamagedError("its storages are cut off")
        blocks[key] = block
    return blocks
