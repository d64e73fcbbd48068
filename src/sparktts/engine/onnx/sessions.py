"""ONNX Runtime sessions: how many threads, which execution provider, and errors for people."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ...errors import CheckpointError, OptionError
from ..threads import thread_count

# What --device may name beside cpu: passed on to the execution provider of that name, if it is installed.
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "dml": "DmlExecutionProvider",
    "cann": "CANNExecutionProvider",
}
PACKAGES = {"cuda": "onnxruntime-gpu", "dml": "onnxruntime-directml", "cann": "onnxruntime-cann"}
LOG_ERRORS = 3
SETTINGS = {
    # Threads that spin between operators take the cores from everything else: the other model, the decoder, a player.
    "session.intra_op.allow_spinning": "0",
    "session.set_denormal_as_zero": "1",  # fading sound is full of them, and slow
}


def open_session(
    path: Path,
    threads: int | None = None,
    provider: str = "cpu",
    *,
    arena: bool = True,
    settings: Mapping[str, str] | None = None,
) -> Any:
    """An onnxruntime.InferenceSession on a graph.

    threads: that work on one operator; None: as `thread_count` says. provider: cpu, cuda, cuda:N, coreml, dml, cann.
    arena: whether memory for intermediate values is kept between runs, which is faster and takes the most that any run
    took. settings: further session settings by ONNX Runtime's names. Raises OptionError, CheckpointError.
    """
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = LOG_ERRORS
    options.intra_op_num_threads = thread_count(threads)
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = arena
    for name, value in {**SETTINGS, **(settings or {})}.items():
        options.add_session_config_entry(name, value)
    try:
        # In a thread of its own: the one that opens a session is left rounding the smallest numbers to zero.
        with ThreadPoolExecutor(1) as apart:
            return apart.submit(runtime.InferenceSession, str(path), options, providers=_providers(provider)).result()
    except Exception as error:  # the runtime's own classes share no base
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} cannot be run by ONNX Runtime {runtime.__version__}: {reason}") from None


def onnxruntime() -> Any:
    """The module. Raises OptionError when it is not installed or does not load."""
    try:
        import onnxruntime as runtime
    except ImportError as error:
        raise OptionError(f"The onnx engine needs ONNX Runtime ({error}): pip install onnxruntime.") from None
    return runtime


def check_provider(name: str) -> str:
    """The name of a device that can be used: `auto` is cpu. Raises OptionError for one that is unknown or absent."""
    if name == "auto":
        return "cpu"
    kind, _, number = name.partition(":")
    if kind not in PROVIDERS or (":" in name and not (kind in ("cuda", "cann", "dml") and number.isdecimal())):
        known = ", ".join(PROVIDERS)
        raise OptionError(f"{name!r:.40} is not a device of the onnx engine: use auto, {known} or cuda:N.")
    if PROVIDERS[kind] not in onnxruntime().get_available_providers():
        way = f"install {PACKAGES[kind]} in place of onnxruntime" if kind in PACKAGES else "use --device cpu"
        raise OptionError(f"The installed ONNX Runtime has no provider for {kind!r}: {way}.")
    return name


def _providers(name: str) -> list[Any]:
    kind, _, number = check_provider(name).partition(":")
    if kind == "cpu":
        return [PROVIDERS["cpu"]]
    chosen: Any = (PROVIDERS[kind], {"device_id": int(number)}) if number else PROVIDERS[kind]
    return [chosen, PROVIDERS["cpu"]]  # what the provider cannot do runs on the CPU
