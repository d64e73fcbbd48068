"""A pure function mapped over tasks by processes of this machine: bounded, in any order, stopped cleanly."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from ..errors import OptionError

Task = TypeVar("Task")
Done = TypeVar("Done")
_AHEAD = 4  # tasks waiting for each worker, so that none is idle


def default_workers() -> int:
    """One less than the cores that this process may use, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


def map_unordered(
    function: Callable[[Task], Done], tasks: Iterable[Task], workers: int, start: Callable[[], None] | None = None
) -> Iterator[tuple[Task, Done]]:
    """(task, result) as they are done; in this process if workers is 1.

    function and start (run first in each process) must be importable. Raises what the function raises, and OptionError
    if a process dies.
    """
    if workers == 1:
        if start is not None:
            start()
        for task in tasks:
            yield task, function(task)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(start,))
    try:
        yield from _results(pool, function, iter(tasks), workers * _AHEAD)
    except BrokenProcessPool:
        raise OptionError(
            "A worker process died, probably for lack of memory; run the same command again with fewer --workers: "
            "what is finished is kept."
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(start: Callable[[], None] | None) -> None:
    """Ctrl-C is for the parent, which lets running tasks end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if start is not None:
        start()


def _results(
    pool: ProcessPoolExecutor, function: Callable[[Task], Done], tasks: Iterator[Task], ahead: int
) -> Iterator[tuple[Task, Done]]:
    running: dict[Future[Done], Task] = {}
    while True:
        while len(running) < ahead and (task := next(tasks, None)) is not None:
            running[pool.submit(function, task)] = task
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()
