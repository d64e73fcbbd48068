"""Runs command lines: in this process, which is quick, or as a user does, in a process of their own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from sparktts.cli import main


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def run(*arguments: object, stdin: bytes = b"", command: Callable[[Sequence[str]], int] = main) -> Result:
    """Runs a command in this process. Each argument becomes a string."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = command([str(argument) for argument in arguments])
    finally:
        sys.stdin = before
    out.flush()
    return Result(code, out.buffer.getvalue(), err.getvalue())


def run_process(
    *arguments: object,
    stdin: bytes = b"",
    module: str = "sparktts",
    environment: Mapping[str, str] | None = None,
) -> Result:
    """Runs `python -m MODULE ARGUMENTS`."""
    command = [sys.executable, "-m", module, *(str(argument) for argument in arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    done = subprocess.run(command, input=stdin, capture_output=True, env=env, timeout=120, check=False)
    return Result(done.returncode, done.stdout, done.stderr.decode())
