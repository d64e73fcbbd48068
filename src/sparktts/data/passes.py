"""Later passes over finished shards: each shard is read, mapped in parts, and written anew, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from . import corpus, folder
from .build import Clock, Watcher, duration
from .schema import pyarrow
from .shards import read_table, shard_metadata, shard_rows, write_shard
from .workers import map_unordered

if TYPE_CHECKING:
    import pyarrow as pa

_TASK_CLIPS = 16


@dataclass(frozen=True)
class Part:
    """Some rows of a shard. shard, start: which."""

    shard: int
    start: int
    table: pa.Table


def without(paths: list[Path], key: str, name: str, what: str, force: bool) -> list[Path]:
    """Shards without this name under the key of their metadata. Raises OptionError if one has another, unless force."""
    missing = []
    for path in paths:
        found = shard_metadata(path).get(key)
        if found not in (None, name) and not force:
            raise OptionError(
                f"'{path}' was made with the {what} {found}, not with {name}; two cannot be mixed: "
                "use another folder, or --force to replace them all."
            )
        if found != name:
            missing.append(path)
    return missing


def rewrite(
    paths: list[Path],
    function: Callable[[Part], pa.Table],
    extra: dict[str, Any],
    phase: str,
    workers: int,
    start: Callable[[], None],
    watcher: Watcher,
) -> None:
    """Maps the rows of shards.

    function: rows of a shard to rows with the columns of `output_schema`; start: what each process runs first; extra:
    added to the metadata of each shard. Rows with a reason in `rejected` leave the shard. Raises OptionError.
    """
    sizes = [shard_rows(path) for path in paths]
    for path, size in zip(paths, sizes, strict=True):
        if size == 0:
            write_shard(path, read_table(path), {**shard_metadata(path), **extra})
    clock, told = Clock(sum(sizes)), False
    watcher.progress(phase, 0, clock.total, None)
    tasks = (
        Part(number, first, table.slice(first, _TASK_CLIPS))
        for number, path in enumerate(paths)
        for table in [read_table(path)]
        for first in range(0, len(table), _TASK_CLIPS)
    )
    parts: dict[int, dict[int, pa.Table]] = {}
    for task, result in map_unordered(function, tasks, workers, start):
        found = parts.setdefault(task.shard, {})
        found[task.start] = result
        left = clock.advance(len(result))
        watcher.progress(phase, clock.done, clock.total, left)
        if not told and left is not None and clock.done < clock.total:
            told = True
            watcher.note(f"Expected time: {duration(left)}.")
        if sum(map(len, found.values())) == sizes[task.shard]:
            _write(paths[task.shard], [found[first] for first in sorted(found)], extra)
            del parts[task.shard]


def share_cores(workers: int) -> None:
    """Gives each of some processes beside each other its share of the cores."""
    if workers > 1:
        import torch

        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


def _write(path: Path, tables: list[pa.Table], extra: dict[str, Any]) -> None:
    kept, rejected = corpus.split_rejected(pyarrow().concat_tables(tables))
    metadata = shard_metadata(path)
    metadata["rejected"] = [*metadata["rejected"], *folder.rejected_rows(rejected)]
    write_shard(path, kept, {**metadata, **extra})
