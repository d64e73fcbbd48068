"""The first pass: a manifest to shards of checked and measured clips, by the processes of one machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import OptionError
from . import attributes, corpus, folder
from .manifest import Entry, Manifest, fingerprint, read_manifest
from .prepare import PrepareOptions, input_table, prepare_batch
from .schema import VERSION, pyarrow
from .shards import PATTERN, shard_metadata, shard_name, write_shard
from .workers import default_workers, map_unordered

if TYPE_CHECKING:
    import pyarrow as pa

SHARD_CLIPS = 500
_TASK_CLIPS = 25  # that one process checks at a time: seconds, so that progress is seen and Ctrl-C is quick
_TRIAL_CLIPS = 16  # from which the expected time is measured


class Watcher(Protocol):
    """Who looks on."""

    def note(self, sentence: str) -> None:
        """A line for people."""

    def progress(self, phase: str, done: int, total: int, left: float | None) -> None:
        """How many clips are done, and the seconds that are left, if known."""


class Silent:
    """Nobody looks on."""

    def note(self, sentence: str) -> None:
        """Nothing."""

    def progress(self, phase: str, done: int, total: int, left: float | None) -> None:
        """Nothing."""


@dataclass
class Clock:
    """Time that is left, measured from the first result on, as libraries and models are loaded before it."""

    total: int
    done: int = 0
    _timed: int = 0
    _started: float | None = None

    def advance(self, clips: int) -> float | None:
        """Counts clips; returns the seconds that are left, None after the first result."""
        self.done += clips
        if self._started is None:
            self._started = time.monotonic()
            return None
        self._timed += clips
        return (time.monotonic() - self._started) / self._timed * (self.total - self.done)


@dataclass(frozen=True)
class _Task:
    shard: int
    part: int
    table: pa.Table


def prepare(
    source: str | PathLike[str],
    out: str | PathLike[str],
    options: PrepareOptions | None = None,
    *,
    language: str | None = None,
    speaker: str | None = None,
    workers: int | None = None,
    shard_clips: int = SHARD_CLIPS,
    force: bool = False,
    watcher: Watcher | None = None,
) -> None:
    """Prepares the clips of a manifest.

    source, language, speaker: as for `read_manifest`; out: folder for shards, rejected.jsonl and the summary; what is
    there already from the same manifest and options is kept, from others only with force it is replaced. workers: None
    takes all cores but one. Raises OptionError; a bad clip is left out and counted.
    """
    options, watcher, out = options or PrepareOptions(), watcher or Silent(), Path(out)
    workers = default_workers() if workers is None else workers
    if workers < 1 or not 1 <= shard_clips <= 100_000:
        raise OptionError("--workers must be at least 1, and --shard-clips 1 to 100000.")
    attributes.check_library()
    manifest = read_manifest(source, language, speaker)
    _claim(out, manifest, options, shard_clips, force)
    entries = manifest.entries
    shards = [entries[i : i + shard_clips] for i in range(0, len(entries), shard_clips)]
    missing = [i for i in range(len(shards)) if not _is_done(out, i, shards[i], options, watcher)]
    _announce(watcher, source, out, manifest, sum(len(shards[i]) for i in missing), workers)
    if missing:
        _build(out, manifest, shards, missing, options, workers, watcher)
    corpus.finish(out, options, watcher)
    folder.write_rejected(out)


def _claim(out: Path, manifest: Manifest, options: PrepareOptions, shard_clips: int, force: bool) -> None:
    """Makes the folder this manifest's own. Raises OptionError if it is another's."""
    settings = {**asdict(options), "shard_clips": shard_clips}
    try:
        out.mkdir(parents=True, exist_ok=True)
        if force:
            for path in (*out.glob(PATTERN), out / folder.STATE):
                path.unlink(missing_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OptionError(f"The folder '{out}' cannot be used ({reason}); choose another one.") from None
    state = folder.read_state(out)
    if state is None:
        if any(out.glob(PATTERN)):
            raise OptionError(f"'{out}' holds shards of unknown origin; choose another folder, or --force.")
        folder.write_json(
            out / folder.STATE,
            {
                "schema": VERSION,
                "manifest": manifest.fingerprint,
                "root": folder.relative_root(manifest.root, out),
                "options": settings,
                "clips": len(manifest.entries),
                "rejected": folder.rejected_rows(list(manifest.rejected)),
            },
        )
        return
    changed = [
        f"--{name.replace('_', '-')} {state['options'].get(name)} instead of {value}"
        for name, value in settings.items()
        if state["options"].get(name) != value
    ]
    if state.get("manifest") != manifest.fingerprint:
        changed.append("another list of clips")
    if changed:
        raise OptionError(
            f"'{out}' was prepared with {', '.join(changed)}; choose another folder, or --force to prepare it anew."
        )


def _is_done(out: Path, index: int, entries: tuple[Entry, ...], options: PrepareOptions, watcher: Watcher) -> bool:
    path = out / shard_name(index)
    if not path.exists():
        return False
    try:
        return bool(shard_metadata(path).get("input") == fingerprint(entries, asdict(options)))
    except OptionError:
        watcher.note(f"The shard '{path}' is damaged and is made again.")
        return False


def _announce(
    watcher: Watcher, source: str | PathLike[str], out: Path, manifest: Manifest, clips: int, workers: int
) -> None:
    hours = f" ({manifest.hours:.1f} h by the list)" if manifest.hours is not None else ""
    kept = len(manifest.entries) - clips
    done = f"; {kept} of them are done already" if kept else ""
    count = f"{workers} process{'es' if workers > 1 else ''}"
    watcher.note(f"{len(manifest.entries)} clips{hours} of '{source}' go to '{out}', checked by {count}{done}.")
    if manifest.rejected:
        watcher.note(f"{len(manifest.rejected)} lines of the list cannot be used; {folder.REJECTED} will say why.")


def _build(
    out: Path,
    manifest: Manifest,
    shards: list[tuple[Entry, ...]],
    missing: list[int],
    options: PrepareOptions,
    workers: int,
    watcher: Watcher,
) -> None:
    root, total = str(manifest.root), sum(len(shards[i]) for i in missing)
    check = partial(_check, options=options, root=root)
    if total > 4 * _TRIAL_CLIPS:
        first = shards[missing[0]][:_TRIAL_CLIPS]
        check(_Task(0, 0, input_table(first[:1])))  # loads the libraries
        began = time.monotonic()
        check(_Task(0, 0, input_table(first)))
        speed = len(first) / (time.monotonic() - began)
        watcher.note(f"Expected time: {duration(total / speed / workers)} ({speed:.0f} clips/s per process).")
    clock = Clock(total)
    parts: dict[int, dict[int, pa.Table]] = {}
    watcher.progress("Checking", 0, total, None)
    for task, result in map_unordered(check, _tasks(shards, missing), workers):
        found = parts.setdefault(task.shard, {})
        found[task.part] = result
        left = clock.advance(len(result))
        watcher.progress("Checking", clock.done, total, left)
        entries = shards[task.shard]
        if sum(map(len, found.values())) == len(entries):
            table = pyarrow().concat_tables([found[part] for part in sorted(found)])
            del parts[task.shard]
            metadata = {
                "input": fingerprint(entries, asdict(options)),
                "root": folder.relative_root(manifest.root, out),
                "final": False,
            }
            _write(out / shard_name(task.shard), table, metadata)


def _tasks(shards: list[tuple[Entry, ...]], missing: list[int]) -> Iterator[_Task]:
    for shard in missing:
        entries = shards[shard]
        for start in range(0, len(entries), _TASK_CLIPS):
            yield _Task(shard, start, input_table(entries[start : start + _TASK_CLIPS]))


def _check(task: _Task, options: PrepareOptions, root: str) -> pa.Table:
    return prepare_batch(task.table, options, root)


def _write(path: Path, table: pa.Table, metadata: dict[str, Any]) -> None:
    """The shard of a table as `prepare_batch` returns it; what it rejects goes to the metadata."""
    kept, rejected = corpus.split_rejected(table)
    flags: dict[str, int] = {}
    for names in kept["flags"].to_pylist():
        for name in names or ():
            flags[name] = flags.get(name, 0) + 1
    write_shard(path, kept, {**metadata, "rejected": folder.rejected_rows(rejected), "flags": flags})


def duration(seconds: float) -> str:
    """A time in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
