"""MindSpore's device, chosen once for the process, and the lock under which networks run."""

from __future__ import annotations

import threading
from pathlib import Path

import mindspore as ms
import numpy as np
import numpy.typing as npt
from mindspore import Tensor

from ...errors import OptionError
from ..threads import wanted_threads

DTYPES = {"fp32": ms.float32, "bf16": ms.bfloat16}

# MindSpore does not promise that threads may run operators at once, and a server's do.
LOCK = threading.RLock()


def start(device: str = "auto", dtype: str = "auto") -> tuple[str, str]:
    """Chooses where and in which precision to compute. Returns both names.

    Raises OptionError for what is unknown or absent, and for a second device: a process has one.
    """
    place = _device(device)
    precision = _dtype(dtype, place)
    chosen = _begin(place)
    if chosen != place:
        raise OptionError(f"MindSpore computes on {chosen} in this process and cannot change: start another one.")
    return place, precision


def number(values: npt.NDArray[np.integer] | list[int]) -> Tensor:
    """Whole numbers on the device."""
    return Tensor(np.asarray(values, np.int32))


def ascend_is_there() -> bool:
    """Whether there is an Ascend device with its driver, and MindSpore can use it."""
    # MindSpore itself is asked second: where there is none it complains on the terminal.
    return Path("/dev/davinci_manager").exists() and bool(ms.hal.is_available("Ascend"))


def _device(name: str) -> str:
    kind, _, index = name.partition(":")
    if kind not in ("auto", "cpu", "ascend") or (index and (kind != "ascend" or not index.isdecimal())):
        raise OptionError(f"{name!r:.40} is not a device of MindSpore: use auto, cpu, ascend or ascend:N.")
    if kind == "ascend" and not ascend_is_there():
        raise OptionError("MindSpore finds no Ascend device here: use --device cpu, or see docs/ascend.md.")
    if kind == "auto":
        return "ascend:0" if ascend_is_there() else "cpu"
    return f"ascend:{index or 0}" if kind == "ascend" else kind


def _dtype(name: str, place: str) -> str:
    ascend = place != "cpu"
    if name == "auto":
        return "bf16" if ascend else "fp32"
    if name not in DTYPES:
        raise OptionError(f"{name!r:.40} is not a precision of the mindspore engine: use auto, fp32 or bf16.")
    if name == "bf16" and not ascend:
        raise OptionError("MindSpore has no bf16 products on a CPU: use --dtype fp32.")
    return name


_started: list[str] = []


def _begin(place: str) -> str:
    """Sets the device, the first time. Returns the one that was set then."""
    with LOCK:
        if not _started:
            kind, _, index = place.partition(":")
            ms.set_context(mode=ms.PYNATIVE_MODE)
            ms.set_device({"cpu": "CPU", "ascend": "Ascend"}[kind], int(index or 0))
            if (threads := wanted_threads()) is not None:
                ms.set_context(runtime_num_threads=threads)
            _started.append(place)
        return _started[0]
