"""Helpers: editable copies of the mini checkpoint."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

Tensors = dict[str, np.ndarray]


def copy_checkpoint(mini: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    target = tmp_path / "copy"
    shutil.copytree(mini, target)
    return target


def edit_tensors(file: Path, edit: Callable[[Tensors], None]) -> None:
    """Rewrites a safetensors file after `edit` changed its table."""
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def edit_json(file: Path, **changes: object) -> None:
    values = json.loads(file.read_text())
    values.update(changes)
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))


def raw_safetensors(header: object, data: bytes = b"") -> bytes:
    """A file with any header at all."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data
