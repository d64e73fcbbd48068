"""What people and programs see: notes and progress on stderr, results on stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress


def note(message: str) -> None:
    """A line for people, on stderr."""
    print(message, file=sys.stderr)


def result(line: str) -> None:
    """A line of what was asked for, on stdout."""
    print(printable(line), flush=True)


def result_json(value: Any, file: TextIO | None = None, indent: int | None = None) -> None:
    """One JSON value on stdout; characters that the terminal's encoding may lack are escaped."""
    file = file or sys.stdout
    unicode = (file.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(value, ensure_ascii=not unicode, indent=indent), file=file, flush=True)


def printable(text: str) -> str:
    """The text with what stdout's encoding lacks replaced by question marks."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, errors="replace").decode(encoding)


def shown(path: str | os.PathLike[str]) -> str:
    """A path as text, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", errors="replace")


def table(title: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows on stdout: drawn for a terminal, tab-separated lines without a title for programs."""
    if not sys.stdout.isatty():
        for row in rows:
            result("\t".join(" ".join(cell.split()) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*title, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)


@dataclass
class Bar:
    """A progress bar, or nothing where there is nobody to look at it."""

    progress: Progress | None = None

    def phase(self, name: str) -> None:
        """Shows what goes on while nothing can be counted."""
        self._show(name, 0, None)

    def speaking(self, done: int, total: int) -> None:
        """Shows how many utterances are done."""
        self._show("Speaking", done, total)

    def counting(self, name: str, done: int, total: int) -> None:
        """Shows how much of something is done."""
        self._show(name, done, total)

    def _show(self, name: str, done: int, total: int | None) -> None:
        if self.progress is not None:
            task = self.progress.task_ids[0]
            count = "" if total is None else f"{done}/{total}"
            self.progress.update(task, description=name, completed=done, total=total, count=count)


@contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Bar]:
    """A bar on stderr if that is a terminal and `quiet` is false; it vanishes at the end."""
    if quiet or not sys.stderr.isatty():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    # Lines for a program must not land on stderr, where rich sends what is printed beside its bar.
    beside = sys.stdout.isatty()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=beside) as progress:
        progress.add_task("Loading the model", total=None, count="")
        yield Bar(progress)
