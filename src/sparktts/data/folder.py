"""A prepared folder: its shards, what was left out, and the settings that it was made with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..files import write_atomically
from .manifest import Rejected
from .schema import VERSION
from .shards import shard_metadata, shard_paths, unwritable

STATE, REJECTED, SUMMARY, PAGE = "prepare.json", "rejected.jsonl", "summary.json", "summary.html"


def read_state(out: Path) -> dict[str, Any] | None:
    """The settings of a folder, None if nothing was prepared there. Raises OptionError if they are damaged."""
    path = out / STATE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OptionError(f"'{path}' is damaged ({error}); prepare again with --force.") from None
    if not isinstance(state, dict) or state.get("schema") != VERSION:
        raise OptionError(f"'{path}' is of another version of sparktts; prepare again with --force.")
    return state


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Writes one JSON value, whole or not at all. Raises OptionError."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=indent) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text, whole or not at all. Raises OptionError."""
    try:
        write_atomically(path, text.encode(errors="replace"))
    except OSError as error:
        raise unwritable(path, error) from None


def rejected_rows(rejected: list[Rejected]) -> list[dict[str, str]]:
    """As they stand in metadata and in rejected.jsonl."""
    return [asdict(one) for one in rejected]


def all_rejected(out: Path) -> Iterator[Mapping[str, str]]:
    """Every clip that was left out: id, audio, reason, detail. Raises OptionError."""
    yield from (read_state(out) or {}).get("rejected", [])
    for path in shard_paths(out):
        yield from shard_metadata(path).get("rejected", [])


def write_rejected(out: Path) -> None:
    """Writes rejected.jsonl. Raises OptionError."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in all_rejected(out)]
    write_text(out / REJECTED, "".join(lines))


def relative_root(root: Path, out: Path) -> str:
    """How shards name the folder of the audio: from their own folder, or whole where that cannot be (other drive)."""
    try:
        return Path(os.path.relpath(root.resolve(), out.resolve())).as_posix()
    except ValueError:
        return str(root.resolve())
