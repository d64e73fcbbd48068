"""A home of its own for every test: no model chosen, an empty voice library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """The mini model is too small for several threads, which on a busy machine only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The voice library's directory, not made yet."""
    for name in ("SPARKTTS_MODEL", "SPARKTTS_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SPARKTTS_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("SPARKTTS_VOICES", str(tmp_path / "voices"))
    return tmp_path / "voices"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for results."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder
