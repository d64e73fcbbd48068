"""Parquet shards of clips: written whole or not at all, read one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from ..files import replacing
from .schema import VERSION, Clip, pyarrow, schema, to_clips, to_table

if TYPE_CHECKING:
    import pyarrow as pa

PATTERN = "clips-*.parquet"


def shard_name(index: int) -> str:
    """File name of the shard with this number."""
    return f"clips-{index:05d}.parquet"


def shard_paths(directory: str | PathLike[str]) -> list[Path]:
    """The shards of a prepared folder, in order. Raises OptionError if there are none."""
    directory = Path(directory)
    paths = sorted(directory.glob(PATTERN))
    if not paths:
        raise OptionError(f"There are no prepared clips in '{directory}'; make them with `sparktts prepare`.")
    return paths


def write_shard(
    path: str | PathLike[str], clips: Iterable[Clip] | pa.Table, metadata: Mapping[str, Any] | None = None
) -> None:
    """Writes one shard, whole or not at all.

    clips: Clip objects, or a table with the columns of `schema`; metadata: JSON values, which `shard_metadata` gives
    back. Raises OptionError when the disk is full or the folder cannot be written.
    """
    pa = pyarrow()
    path = Path(path)
    table = clips if isinstance(clips, pa.Table) else to_table(clips)
    keys = {"schema": VERSION, **{key: json.dumps(value) for key, value in (metadata or {}).items()}}
    table = table.select(schema().names).cast(schema()).replace_schema_metadata(keys)
    try:
        with replacing(path) as temporary:
            pa.parquet.write_table(table, temporary, compression="zstd")
    except OSError as error:
        raise unwritable(path, error) from None


def read_table(path: str | PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """One shard as a table; columns None: all. Raises OptionError if it is damaged or of another version."""
    _check(Path(path))
    try:
        table: pa.Table = pyarrow().parquet.read_table(path, columns=columns, partitioning=None)
    except (OSError, ValueError) as error:  # pyarrow's own errors are both of these
        raise _damaged(Path(path), error) from None
    return table


def shard_metadata(path: str | PathLike[str]) -> dict[str, Any]:
    """What `write_shard` was given. Raises OptionError as `read_table` does."""
    stored = _check(Path(path))
    found = {}
    for key, value in stored.items():
        name = key.decode()
        if name not in ("schema", "ARROW:schema"):
            found[name] = json.loads(value)
    return found


def shard_rows(path: str | PathLike[str]) -> int:
    """Clips in a shard, without reading them. Raises OptionError as `read_table` does."""
    _check(Path(path))
    return int(pyarrow().parquet.read_metadata(path).num_rows)


def read_shards(directory: str | PathLike[str]) -> Iterator[Clip]:
    """Every clip of a prepared folder, shard after shard. Raises OptionError."""
    for path in shard_paths(directory):
        yield from to_clips(read_table(path))


def source_folder(directory: str | PathLike[str]) -> Path:
    """The folder that the clips' `audio` is relative to: what `open_audio` takes as root. Raises OptionError."""
    first = shard_paths(directory)[0]
    root = shard_metadata(first).get("root")
    if not isinstance(root, str):
        raise OptionError(f"'{first}' does not say where its audio is; prepare the clips again.")
    return (Path(directory) / root).resolve()


def unwritable(path: Path, error: OSError) -> OptionError:
    """The sentence for a file that cannot be written; what was written before stays."""
    reason = (error.strerror or str(error)).lower()
    return OptionError(
        f"'{path}' cannot be written ({reason}); make room or choose another folder, then run the same command again: "
        "what is finished is kept."
    )


def _check(path: Path) -> dict[bytes, bytes]:
    try:
        stored: dict[bytes, bytes] = pyarrow().parquet.read_metadata(path).metadata or {}
    except FileNotFoundError:
        raise OptionError(f"There is no shard '{path}'; make it with `sparktts prepare`.") from None
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
    version = stored.get(b"schema", b"").decode(errors="replace")
    if version != VERSION:
        found = f"has the format '{version}'" if version else "holds no clips of sparktts"
        raise OptionError(f"'{path}' {found}, and this version reads {VERSION}: prepare the clips again.")
    return stored


def _damaged(path: Path, error: Exception) -> OptionError:
    reason = str(error).split("\n")[0].split(". ")[0].rstrip(".") or type(error).__name__
    return OptionError(
        f"The shard '{path}' is damaged ({reason}); delete it and run `sparktts prepare` again, which makes only "
        "what is missing."
    )
