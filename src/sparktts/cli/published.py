"""What the published command lines share: their way of naming options and devices."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from typing import NoReturn

from ..errors import OptionError
from .console import note


class Parser(argparse.ArgumentParser):
    """argparse, whose complaints are raised as OptionError instead of printed over several lines."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message[:1].upper()}{message[1:]}; see --help.")


def published_device(name: str) -> str:
    """The device meant by a number: that GPU, on macOS its only one, or Ascend device, else with a note the CPU.

    Other names, such as cpu or cuda:1, are left as they are.
    """
    if not name.isdecimal():
        return name
    if find_spec("torch") is not None:
        import torch

        if sys.platform == "darwin" and torch.backends.mps.is_available():
            return "mps"
        if torch.cuda.is_available():
            return f"cuda:{name}"
    elif find_spec("mindspore") is not None:
        from ..engine.mindspore.runtime import ascend_is_there

        if ascend_is_there():
            return f"ascend:{name}"
    note("Note: there is no GPU, so the CPU computes.")
    return "cpu"
