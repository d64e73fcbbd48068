"""Fixtures: the seeded `mini` checkpoint in the official layout, and what a correct implementation computes on it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

# The mini networks are too small to share: threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from .seeded_checkpoint import write_checkpoint

DATA = Path(__file__).parent / "data"
GOLDEN = DATA / "golden"


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the seeded mini checkpoint (official layout and names, narrow shapes). Do not modify."""
    directory = tmp_path_factory.mktemp("checkpoint") / "mini"
    write_checkpoint(directory, "mini")
    return directory


@pytest.fixture(scope="session")
def exported(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mini` as fp32 graphs for the onnx engine, with the full head. Do not modify."""
    from sparktts.export import export

    return export(mini, tmp_path_factory.mktemp("exported") / "mini", "fp32", full_head=True).path


@pytest.fixture(scope="session")
def golden() -> Mapping[str, np.ndarray]:
    """Arrays that an independent fp32 implementation of the published model computes on `mini`."""
    with np.load(GOLDEN / "expected_mini.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def clip_24k() -> Path:
    """3.3 s of speech at 24 kHz."""
    return GOLDEN / "prompt_24k.wav"


@pytest.fixture(scope="session")
def clip_16k() -> Path:
    """8 s of speech at 16 kHz."""
    return GOLDEN / "prompt_16k_long.wav"
