"""Later passes over finished shards: each shard is read, mapped in parts, and written anew, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import OptionError
from . import corpus, folder
from .build import Clock, Silent, Watcher, duration
from .schema import pyarrow
from .shards import read_table, shard_metadata, shard_paths, shard_rows, source_folder, write_shard
from .workers import map_unordered

if TYPE_CHECKING:
    import pyarrow as pa

_TASK_CLIPS = 16


class Job(Protocol):
    """What a pass does, in every process; picklable."""

    def load(self) -> None:
        """Loads the models, once. Raises CheckpointError."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """Rows of a shard to rows with the columns of `output_schema`; those with a reason in `rejected` leave."""


@dataclass(frozen=True)
class Pass:
    """What is done. key, name: what shards keep of it in their metadata: by which codec, or aligner; extra: and what
    else; phase: what progress is called. job: made of the folder that the clips' audio is relative to."""

    key: str
    name: str
    phase: str
    job: Callable[[str], Job]
    extra: Mapping[str, Any] = field(default_factory=dict)


def add(
    directory: str | PathLike[str],
    what: Pass,
    announced: Callable[[list[Path], list[Path]], str],
    *,
    workers: int,
    force: bool,
    watcher: Watcher | None,
) -> None:
    """Does a pass over every shard that was not made by it yet.

    announced: what is said first, of all shards and of those to do. workers: processes. force: shards that were made
    with another name are made again. Raises OptionError if there are such and force is false.
    """
    watcher, out = watcher or Silent(), Path(directory)
    if workers < 1:
        raise OptionError("--workers must be at least 1.")
    paths = shard_paths(out)
    missing = _without(paths, what, force)
    watcher.note(announced(paths, missing))
    if missing:
        _rewrite(missing, what, what.job(str(source_folder(out))), workers, watcher)
    folder.write_rejected(out)


@dataclass(frozen=True)
class _Part:
    """Some rows of a shard. shard, start: which."""

    shard: int
    start: int
    table: pa.Table


def _without(paths: list[Path], what: Pass, force: bool) -> list[Path]:
    """Shards that were not made by this pass. Raises OptionError if one was by another, unless force."""
    missing = []
    for path in paths:
        found = shard_metadata(path).get(what.key)
        if found not in (None, what.name) and not force:
            raise OptionError(
                f"'{path}' was made with the {what.key} {found}, not with {what.name}; two cannot be mixed: "
                "use another folder, or --force to replace them all."
            )
        if found != what.name:
            missing.append(path)
    return missing


def _rewrite(paths: list[Path], what: Pass, job: Job, workers: int, watcher: Watcher) -> None:
    extra = {what.key: what.name, **what.extra}
    sizes = [shard_rows(path) for path in paths]
    for path, size in zip(paths, sizes, strict=True):
        if size == 0:
            write_shard(path, read_table(path), {**shard_metadata(path), **extra})
    clock, told = Clock(sum(sizes)), False
    watcher.progress(what.phase, 0, clock.total, None)
    tasks = (
        _Part(number, first, table.slice(first, _TASK_CLIPS))
        for number, path in enumerate(paths)
        for table in [read_table(path)]
        for first in range(0, len(table), _TASK_CLIPS)
    )
    parts: dict[int, dict[int, pa.Table]] = {}
    run, start = partial(_run, job=job), partial(_start, job=job, workers=workers)
    for task, result in map_unordered(run, tasks, workers, start):
        found = parts.setdefault(task.shard, {})
        found[task.start] = result
        left = clock.advance(len(result))
        watcher.progress(what.phase, clock.done, clock.total, left)
        if not told and left is not None and clock.done < clock.total:
            told = True
            watcher.note(f"Expected time: {duration(left)}.")
        if sum(map(len, found.values())) == sizes[task.shard]:
            _write(paths[task.shard], [found[first] for first in sorted(found)], extra)
            del parts[task.shard]


def _start(job: Job, workers: int) -> None:
    """Processes beside each other have their share of the cores each."""
    job.load()
    if workers > 1:
        import torch

        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


def _run(part: _Part, job: Job) -> pa.Table:
    return job(part.table)


def _write(path: Path, tables: list[pa.Table], extra: dict[str, Any]) -> None:
    kept, rejected = corpus.split_rejected(pyarrow().concat_tables(tables))
    metadata = shard_metadata(path)
    metadata["rejected"] = [*metadata.get("rejected", []), *folder.rejected_rows(rejected)]
    write_shard(path, kept, {**metadata, **extra})
