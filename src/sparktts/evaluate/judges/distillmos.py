"""DistillMOS (MIT), a small predictor distilled from large ones, from the packages distillmos and xls-r-sqa."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import io
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...audio.samples import Samples
from .packages import JudgeMissing, PackageFiles, needed

PIP = "distillmos xls-r-sqa"


class DistillMOS:
    """Mean opinion score, about 1 to 5."""

    def __init__(self, packages: PackageFiles) -> None:
        """Raises JudgeMissing."""
        for module in ("distillmos", "xls_r_sqa"):
            packages.find(module, PIP)
        if importlib.util.find_spec("torch") is None:
            raise needed("torch", "torch")
        # The package says on stdout which weights it has loaded; stdout belongs to results.
        with packages.importable(), _torchaudio(), contextlib.redirect_stdout(io.StringIO()):
            try:
                module_: Any = importlib.import_module("distillmos")
                self._network = module_.ConvTransformerSQAModel().eval()
            except (ImportError, OSError, RuntimeError) as error:
                raise JudgeMissing(f"it cannot be loaded ({error}): pip install --no-deps {PIP}.") from None
        self.name = f"DistillMOS {packages.version('distillmos')}"

    def score(self, samples: Samples) -> float:
        """The network cuts into segments of 7.7 s, and repeats shorter clips, by itself."""
        import torch

        with torch.inference_mode():
            return float(self._network(torch.from_numpy(np.ascontiguousarray(samples))[None]).item())


@contextlib.contextmanager
def _torchaudio() -> Iterator[None]:
    """An empty torchaudio where there is none, while the package is imported: it only reads files with it."""
    if "torchaudio" in sys.modules or importlib.util.find_spec("torchaudio") is not None:
        yield
        return
    empty = types.ModuleType("torchaudio")
    empty.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
    sys.modules["torchaudio"] = empty
    try:
        yield
    finally:
        del sys.modules["torchaudio"]
