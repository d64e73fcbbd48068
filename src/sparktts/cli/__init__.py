"""The command line. Nothing heavy is imported before a command runs, so that help is quick."""

from __future__ import annotations

from collections.abc import Sequence

from .run import guarded


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `sparktts ARGUMENTS` and returns the exit code; argv None takes the process's arguments."""
    return guarded(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> None:
    from .app import run

    run(argv)
