"""Ember, the model that ships inside the package, and which model speaks where none is named."""

from __future__ import annotations

import os
from pathlib import Path

NAME = "ember"
DIRECTORY = Path(__file__).parent / NAME
ENVIRONMENT = "SPARKTTS_MODEL"


def default_model() -> str:
    """The environment's SPARKTTS_MODEL, else Ember."""
    return os.environ.get(ENVIRONMENT) or NAME
