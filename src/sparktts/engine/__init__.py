"""Engines: siblings behind the two protocols of `base`, imported only when asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ..errors import OptionError
from .base import Engine

if TYPE_CHECKING:
    from ..checkpoint.layout import Checkpoint

ENGINES = ("torch",)


def load_engine(checkpoint: Checkpoint, name: str = "auto", device: str = "auto", dtype: str = "auto") -> Engine:
    """Loads an engine by name; `auto` takes the best that is there. Raises OptionError."""
    if name == "auto":
        name = ENGINES[0]
    if name not in ENGINES:
        raise OptionError(f"{name!r} is not an engine: use {', '.join(ENGINES)} or auto.")
    module = importlib.import_module(f".{name}", __package__)
    engine: Engine = module.load(checkpoint, device, dtype)
    return engine
