"""Audio where it is: files in a folder, members of a tar, rows of a Parquet file; nothing is unpacked."""

from __future__ import annotations

import os
import tarfile
import threading
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..audio.read import decode_audio
from ..audio.resample import resample
from ..audio.samples import Samples
from ..errors import AudioError, OptionError

SAMPLE_RATE = 16000
MEMBER = "::"  # between a tar and the name in it
TAR_SUFFIXES = (".tar",)
_KEPT = 64  # tars whose index is kept

Index = dict[str, tuple[int, int]]  # name -> (offset, size) of the bytes in the tar


def open_audio(root: str | os.PathLike[str], audio: str, max_seconds: float | None = None) -> Samples:
    """First channel of a clip at 16 kHz.

    root: folder that `audio` is relative to (absolute paths are taken as they are); audio: as in `Clip`. Returns (N,)
    float32, full scale 1. Raises AudioError; OptionError for a tar that is broken.
    """
    samples, rate = decode_clip(root, audio, max_seconds)
    return resample(samples, rate, SAMPLE_RATE)


def decode_clip(root: str | os.PathLike[str], audio: str, max_seconds: float | None = None) -> tuple[Samples, int]:
    """The same at the clip's own rate, and that rate in Hz."""
    if MEMBER not in audio:
        return decode_audio(Path(root) / audio, max_seconds)
    try:
        return decode_audio(read_bytes(root, audio), max_seconds)
    except AudioError as error:
        raise AudioError(str(error).replace("The audio data", f"'{audio}'", 1)) from None


def read_bytes(root: str | os.PathLike[str], audio: str) -> bytes:
    """The bytes of a clip's file. Raises AudioError; OptionError for a tar that is broken."""
    if MEMBER not in audio:
        try:
            return (Path(root) / audio).read_bytes()
        except OSError as error:
            raise AudioError(f"'{audio}' cannot be read ({(error.strerror or str(error)).lower()}).") from None
    archive, _, name = audio.partition(MEMBER)
    path = Path(root) / archive
    if path.suffix == ".parquet":
        return _parquet_bytes(path, name)
    place = tar_index(path).get(_plain(name))
    if place is None:
        raise AudioError(f"There is no '{name}' in '{path}'; check the manifest.")
    offset, size = place
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
    except OSError as error:
        raise AudioError(f"'{path}' cannot be read ({(error.strerror or str(error)).lower()}).") from None
    if len(data) < size:
        raise AudioError(f"'{path}' is cut off within '{name}'; copy it again.")
    return data


def exists(root: str | os.PathLike[str], audio: str) -> bool:
    """True if the file, or the member of a tar, is there. Raises OptionError for a tar that is broken."""
    archive, member, name = audio.partition(MEMBER)
    path = Path(root) / archive
    if not member or path.suffix == ".parquet":
        return path.is_file()
    return path.is_file() and _plain(name) in tar_index(path)


def parquet_member(path: str, column: str, row: int) -> str:
    """How `audio` names the sound in a row of a Parquet file."""
    return f"{path}{MEMBER}{column}/{row}"


def tar_index(path: Path) -> Index:
    """Where every file of a tar is; kept while the tar is unchanged. Raises OptionError."""
    try:
        status = path.stat()
    except OSError as error:
        raise OptionError(f"The tar '{path}' cannot be read ({(error.strerror or str(error)).lower()}).") from None
    key = (str(path), status.st_size, status.st_mtime_ns)
    with _lock:
        found = _indices.get(key)
        if found is not None:
            _indices.move_to_end(key)
            return found
    index = _read_index(path)
    with _lock:
        _indices[key] = index
        while len(_indices) > _KEPT:
            _indices.popitem(last=False)
    return index


_indices: OrderedDict[tuple[str, int, int], Index] = OrderedDict()
_lock = threading.Lock()


def _read_index(path: Path) -> Index:
    index, end = {}, 0
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                end = member.offset_data + member.size
                if member.isfile():
                    index[_plain(member.name)] = (member.offset_data, member.size)
            size = file.seek(0, os.SEEK_END)
    except (tarfile.TarError, EOFError) as error:
        raise OptionError(
            f"'{path}' is no uncompressed tar that can be read ({error}); copy it again, or make it with `tar -cf`."
        ) from None
    except OSError as error:
        raise OptionError(f"The tar '{path}' cannot be read ({(error.strerror or str(error)).lower()}).") from None
    # A tar that is cut off between two members reads without an error, but its closing block is missing.
    if size < -(-end // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE + tarfile.BLOCKSIZE:
        raise OptionError(f"The tar '{path}' is cut off; copy it again.")
    return index


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _parquet_bytes(path: Path, name: str) -> bytes:
    column, _, number = name.rpartition("/")
    status = path.stat()
    values, row = _parquet_group(str(path), status.st_mtime_ns, column, int(number))
    value = values[row]
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path"):
            return read_bytes(path.parent, value["path"])
        value = value.get("bytes")
    if not isinstance(value, bytes):
        raise AudioError(f"Row {number} of '{path}' holds no sound.")
    return value


def _parquet_group(path: str, changed: int, column: str, row: int) -> tuple[list[Any], int]:
    """The values of the group of rows that a row is in, and its place there. Clips are mostly read in order."""
    from .schema import pyarrow

    try:
        file = pyarrow().parquet.ParquetFile(path)
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if row < size:
                return _group_values(path, changed, column, group), row
            row -= size
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise AudioError(f"'{path}' cannot be read ({reason}); copy it again.") from None
    raise AudioError(f"'{path}' has fewer rows than it had when it was listed; prepare the clips again.")


@lru_cache(maxsize=2)
def _group_values(path: str, changed: int, column: str, group: int) -> list[Any]:
    from .schema import pyarrow

    file = pyarrow().parquet.ParquetFile(path)
    values: list[Any] = file.read_row_group(group, columns=[column]).column(column).to_pylist()
    return values
