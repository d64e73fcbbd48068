"""How a trained network is written: as a directory that checkpoints carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from ..errors import CheckpointError
from ..files import write_atomically


def write_network(directory: Path, config: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    """Writes config.json and model.safetensors, each whole or not at all. Raises CheckpointError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(directory / "model.safetensors", save(tensors, {"format": "pt"}))
        write_atomically(directory / "config.json", (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise CheckpointError(f"{directory} cannot be written: {error.strerror or error}.") from None
