"""Engines: siblings behind the two protocols of `base`, imported only when asked for."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..errors import OptionError
from .base import Engine

if TYPE_CHECKING:
    from ..checkpoint.layout import Checkpoint

ENGINES = ("onnx", "torch", "mindspore")


def load_engine(
    checkpoint: Checkpoint, name: str = "auto", device: str = "auto", dtype: str = "auto", concurrency: int = 1
) -> Engine:
    """Loads an engine by name; `auto`: onnx for an exported model, else torch, or mindspore without it.

    Raises OptionError.

    concurrency: calls that will run at once.
    """
    if name not in (*ENGINES, "auto"):
        raise OptionError(f"{name!r} is not an engine: use {', '.join(ENGINES)} or auto.")
    if name == "auto":
        name = _chosen(checkpoint)
    if name == "onnx" and checkpoint.exported is None:
        raise OptionError(
            f"The onnx engine runs exported models, which {checkpoint.path} is not: `sparktts model export "
            f"{checkpoint.path} -o DIR` makes one of it."
        )
    if name != "onnx" and checkpoint.exported is not None:
        raise OptionError(
            f"{checkpoint.path} is an exported model, which only the onnx engine runs: `sparktts model convert` makes "
            f"a checkpoint of it for the {name} engine."
        )
    module = importlib.import_module(f".{name}", __package__)
    engine: Engine = module.load(checkpoint, device, dtype, concurrency)
    return engine


def _chosen(checkpoint: Checkpoint) -> str:
    if checkpoint.exported is not None:
        return "onnx"
    if find_spec("torch") is None:
        if find_spec("mindspore") is not None:
            return "mindspore"
        raise OptionError(
            f'{checkpoint.path} holds plain weights, which need PyTorch (pip install "sparktts[torch]"): install it,'
            " or use a model that `sparktts model export` has written, which needs no PyTorch."
        )
    return "torch"
