"""Which device and precision to compute on."""

from __future__ import annotations

import importlib.util

import torch

from ...errors import OptionError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def choose_device(name: str = "auto") -> torch.device:
    """`auto`: the first of cuda, npu, mps that works, else cpu; otherwise the device named, such as `cuda:1`.

    Raises OptionError for a device that is unknown or absent.
    """
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "npu", "mps", "cpu") if _present(kind)))
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OptionError(f"{name!r} is not a device: use auto, cpu, cuda, cuda:N, mps or npu.") from None
    if not _present(device.type):
        raise OptionError(f"The device {name!r} is not available on this machine: use --device cpu or --device auto.")
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise OptionError(f"There is no GPU number {device.index}: this machine has {torch.cuda.device_count()}.")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Precision of the language model. `auto`: bf16 on cuda and npu, fp32 elsewhere.

    Raises OptionError; fp16 is refused, because this model's activations overflow in it and it then writes `!!!!`.
    """
    if name == "auto":
        return torch.bfloat16 if device.type in ("cuda", "npu") else torch.float32
    if name in ("fp16", "float16", "half"):
        raise OptionError(
            "fp16 is refused: this language model's activations overflow in it and its output is garbage; "
            "use bf16 or fp32."
        )
    if name not in DTYPES:
        raise OptionError(f"{name!r} is not a precision: use auto, fp32 or bf16.")
    return DTYPES[name]


def _present(kind: str) -> bool:
    if kind == "cpu":
        return True
    if kind == "cuda":
        return torch.cuda.is_available()
    if kind == "mps":
        return torch.backends.mps.is_available()
    if kind == "npu" and importlib.util.find_spec("torch_npu") is not None:
        import torch_npu  # registers the npu device

        return bool(torch_npu.npu.is_available())
    return False
