"""What the published command lines share: their way of naming options and devices."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from ..errors import OptionError
from .console import note


class Parser(argparse.ArgumentParser):
    """argparse, whose complaints are raised as OptionError instead of printed over several lines."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message[:1].upper()}{message[1:]}; see --help.")


def published_device(name: str) -> str:
    """The device meant by a GPU's number: that GPU, on macOS its only one, else with a note the CPU.

    Other names, such as cpu or cuda:1, are left as they are.
    """
    if not name.isdecimal():
        return name
    import torch

    if sys.platform == "darwin" and torch.backends.mps.is_available():
        return "mps"
    if torch.cuda.is_available():
        return f"cuda:{name}"
    note("Note: there is no GPU, so the CPU computes.")
    return "cpu"
