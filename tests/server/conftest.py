"""One server for most tests: the exported mini checkpoint with a preset voice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

for package in ("fastapi", "uvicorn", "httpx", "openai", "websockets"):
    pytest.importorskip(package)

from sparktts.voice import Provenance, Voice  # noqa: E402

from .process import Server  # noqa: E402


@pytest.fixture(scope="session")
def served(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported mini checkpoint with a preset and a default voice. Do not modify."""
    from sparktts.checkpoint.layout import Checkpoint

    directory = tmp_path_factory.mktemp("served") / "mini"
    shutil.copytree(exported, directory)
    (directory / "voices").mkdir()
    codec = Checkpoint.open(directory).codec_fingerprint
    for number, (name, gender) in enumerate((("ada", "female"), ("hugo", "male"))):
        voice = Voice(tuple(range(number, 32 + number)), codec, Provenance("preset", ""), gender=gender)  # type: ignore[arg-type]
        voice.save(directory / "voices" / f"{name}.json")
    with (directory / "config.yaml").open("a") as file:
        file.write("default_voice: ada\n")
    return directory


@pytest.fixture(scope="session")
def server(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for no key."""
    server = Server.start(served, tmp_path_factory.mktemp("kept"), "--concurrency", "4", "--max-text", "5000")
    yield server
    server.process.kill()
