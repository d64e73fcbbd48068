"""Ember, the model that ships inside the package, and which model speaks where none is named."""

from __future__ import annotations

import os
from pathlib import Path

NAME = "ember"
ENVIRONMENT = "SPARKTTS_MODEL"


def bundled_model() -> Path | None:
    """Directory of Ember; None in an installation without it."""
    directory = Path(__file__).parent / NAME
    return directory if (directory / "config.yaml").is_file() else None


def default_model() -> str | None:
    """The environment's SPARKTTS_MODEL, else Ember; None if there is neither."""
    return os.environ.get(ENVIRONMENT) or (NAME if bundled_model() else None)
