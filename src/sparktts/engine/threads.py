"""How many threads compute: as many as there are physical cores to use, or what the user says."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from ..errors import OptionError

THREADS_VARIABLE = "SPARKTTS_THREADS"
MOST_THREADS = 1024


def wanted_threads() -> int | None:
    """What SPARKTTS_THREADS says, None where it says nothing. Raises OptionError."""
    text = os.environ.get(THREADS_VARIABLE, "").strip()
    if not text:
        return None
    if not text.isdecimal():
        raise OptionError(f"{THREADS_VARIABLE} must be a number of threads, not {text!r:.40}.")
    return _checked(int(text))


def thread_count(wanted: int | None = None) -> int:
    """Threads for one operator: what is asked for, else SPARKTTS_THREADS, else `usable_cores`.

    Raises OptionError for numbers that make no sense.
    """
    if wanted is not None:
        return _checked(wanted)
    return wanted_threads() or usable_cores()


def _checked(count: int) -> int:
    if not 1 <= count <= MOST_THREADS:
        raise OptionError(f"The number of threads must be 1 to {MOST_THREADS}, not {count}.")
    return count


@cache
def usable_cores() -> int:
    """Physical cores that this process may use, by its affinity and the limits of its control group.

    0, which leaves the choice to ONNX Runtime, on systems that do not tell.
    """
    if not hasattr(os, "sched_getaffinity"):
        return 0
    processors = os.sched_getaffinity(0)
    cores = {_core(number) for number in processors}
    return max(1, min(len(cores), *_quotas()))


def _core(processor: int) -> str:
    """What names the physical core of a logical processor; itself where the system does not tell."""
    topology = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
    try:
        return topology.read_text().strip() or str(processor)
    except OSError:
        return str(processor)


def _quotas() -> list[int]:
    """Processors that each control group above this process grants, rounded up; at least one (large) number."""
    found = [MOST_THREADS]
    for directory in _groups():
        try:
            quota, period = (directory / "cpu.max").read_text().split()[:2]  # version 2
        except (OSError, ValueError):
            try:
                quota = (directory / "cpu.cfs_quota_us").read_text().strip()  # version 1
                period = (directory / "cpu.cfs_period_us").read_text().strip()
            except OSError:
                continue
        if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):  # else "max" or -1: none
            found.append(-(-int(quota) // int(period)))
    return found


def _groups() -> list[Path]:
    """Directories of the control groups of this process, innermost first."""
    roots = []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root = Path("/sys/fs/cgroup")
        elif "cpu" in controllers.split(","):
            root = Path("/sys/fs/cgroup/cpu")
        else:
            continue
        inner = root / path.lstrip("/")
        roots += [inner, *(parent for parent in inner.parents if parent.is_relative_to(root))]
    return roots
