"""Requests that schemathesis makes up from the OpenAPI document: whatever they are, the server does not fail."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("schemathesis")

from .process import Server


@pytest.fixture(scope="module")
def fuzzed(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: what is made up may be kept there."""
    server = Server.start(served, tmp_path_factory.mktemp("kept"), "--max-text", "60", "--deadline", "300")
    yield server
    server.process.kill()


def fuzz(server: Server, examples: int) -> int:
    command = [sys.executable, "-m", "tests.server.fuzz", server.url, str(examples)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert ended.returncode == 0, ended.stdout + ended.stderr[-3000:]
    assert server.alive
    return int(ended.stdout.split()[-2])


def test_no_request_makes_the_server_fail(fuzzed: Server) -> None:
    assert fuzz(fuzzed, 8) > 60


@pytest.mark.slow
def test_two_thousand_requests_do_not_either(fuzzed: Server) -> None:
    assert fuzz(fuzzed, 320) >= 2000
