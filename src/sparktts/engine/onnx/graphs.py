"""The graphs of an exported model, opened on first need and kept."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...checkpoint.fields import Section
from .sessions import open_session

Array = npt.NDArray[Any]


class GraphFiles(Protocol):
    """Where graphs lie and what is known of them; checkpoint.exported.Exported is one."""

    def file(self, name: str) -> Path:
        """The path of a file."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""

    def section(self, name: str) -> Section:
        """What is known of a part."""


class Graphs:
    """Sessions by name. provider: as in `open_session`; threads: None for as many as there are cores."""

    def __init__(self, files: GraphFiles, provider: str = "cpu", threads: int | None = None) -> None:
        self.files, self.provider, self.threads = files, provider, threads
        self._sessions: dict[str, Any] = {}
        self._lock = threading.RLock()

    @property
    def loaded(self) -> frozenset[str]:
        """Names of the graphs in memory."""
        return frozenset(self._sessions)

    def has(self, name: str) -> bool:
        """Whether the model has a graph."""
        return self.files.has(f"{name}.onnx")

    def open(self, name: str, threads: int | None = None) -> Any:
        """The session of a graph. threads: that work on one operator of it. Raises CheckpointError."""
        with self._lock:  # a server's threads may ask at once
            if name not in self._sessions:
                path = self.files.file(f"{name}.onnx")
                self._sessions[name] = open_session(path, threads or self.threads, self.provider)
            return self._sessions[name]

    def run(self, name: str, **inputs: Array) -> Array:
        """The only output of a graph."""
        return run(self.open(name), inputs)


def run(session: Any, inputs: Mapping[str, Array]) -> Array:
    """The only output of a session's graph."""
    result: Array = session.run(None, {name: np.ascontiguousarray(values) for name, values in inputs.items()})[0]
    return result
