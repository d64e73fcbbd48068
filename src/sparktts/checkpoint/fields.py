"""Typed access to the values of a yaml or json file, with errors that name the file and the key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..errors import CheckpointError

MAX_FILE_BYTES = 4 << 20  # configurations and shard indices are a few kB
MAX_DIMENSION = 1 << 24
_MISSING: Any = object()


@dataclass(frozen=True)
class Section:
    """One mapping of a configuration file.

    Getters raise CheckpointError naming the file and the dotted key; a default stands for a missing key.
    """

    file: str
    values: Mapping[str, Any]
    prefix: str = ""

    def section(self, key: str) -> Section:
        value = self._get(key, _MISSING)
        if not isinstance(value, dict):
            raise self.error(key, f"must be a mapping, not {_kind(value)}")
        return Section(self.file, value, f"{self.prefix}{key}.")

    def integer(self, key: str, default: int = _MISSING, *, low: int = 1, high: int = MAX_DIMENSION) -> int:
        return self._integer(key, self._get(key, default), low, high)

    def integers(
        self, key: str, default: tuple[int, ...] = _MISSING, *, low: int = 1, high: int = MAX_DIMENSION, least: int = 1
    ) -> tuple[int, ...]:
        value = self._get(key, default)
        if not isinstance(value, list | tuple) or not least <= len(value) <= 64:
            raise self.error(key, f"must be a list of {least} to 64 whole numbers, not {_kind(value)}")
        return tuple(self._integer(f"{key}[{i}]", item, low, high) for i, item in enumerate(value))

    def number(self, key: str, default: float = _MISSING, *, low: float = 0.0, high: float = 1e9) -> float:
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"must be a number, not {_kind(value)}")
        if not low <= value <= high:  # also refuses NaN
            raise self.error(key, f"must lie between {low:g} and {high:g}, not {_show(value)}")
        return float(value)

    def flag(self, key: str, default: bool = _MISSING) -> bool:
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {_kind(value)}")
        return value

    def text(self, key: str, default: str = _MISSING) -> str:
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self.error(key, f"must be text, not {_kind(value)}")
        return value

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.values.get(key) is not None

    def error(self, key: str, what: str) -> CheckpointError:
        """An error about one key; `what` continues the sentence after the key."""
        return CheckpointError(f"{self.file}: `{self.prefix}{key}` {what}.")

    def _get(self, key: str, default: Any) -> Any:
        value = self.values.get(key, default)
        if value is _MISSING:
            raise self.error(key, "is missing, so the file is incomplete or of another model")
        return value

    def _integer(self, key: str, value: Any, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"must be a whole number, not {_kind(value)}")
        if not low <= value <= high:
            raise self.error(key, f"must lie between {low} and {high}, not {_show(value)}")
        return value


def read_yaml(path: Path) -> Section:
    """The mapping in a yaml file. Raises CheckpointError."""
    text = _read_text(path)
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # PyYAML lets some malformed scalars escape as plain Python errors.
        raise CheckpointError(f"{path} is not valid yaml ({_first_line(error)}); download it again.") from None
    return _mapping(path, value)


def read_json(path: Path) -> Section:
    """The mapping in a json file. Raises CheckpointError."""
    text = _read_text(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid json ({_first_line(error)}); download it again.") from None
    return _mapping(path, value)


def _mapping(path: Path, value: object) -> Section:
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a mapping of settings, not {_kind(value)}.")
    return Section(str(path), value)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; `sparktts model download` gets a complete checkpoint.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
    if len(data) > MAX_FILE_BYTES:
        raise CheckpointError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MB, so it is not a configuration.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CheckpointError(f"{path} is not a text file; download it again.") from None


def _kind(value: object) -> str:
    if value is None:
        return "empty"
    return f"{type(value).__name__} {_show(value)}" if isinstance(value, str | int | float) else type(value).__name__


def _show(value: str | int | float) -> str:
    if isinstance(value, int) and abs(value) > 1 << 64:  # Python refuses to print thousands of digits
        return "a huge number"
    return f"{value!r:.40}"


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return " ".join(line.strip() for line in lines[:2])[:160] or type(error).__name__
