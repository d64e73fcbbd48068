"""The commands, put together."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from .. import __version__
from ..errors import OptionError
from . import bench, clone, decode, encode, model, prepare, say, serve, train, voices
from . import eval as evaluation

app = typer.Typer(
    help="Speech from text in Chinese and English: clone voices, create voices, read long text.",
    epilog='First steps: `sparktts model download`, then `sparktts say "Hello." --model DIR -o hello.wav`. '
    "Every command explains itself with --help.",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command("say")(say.say)
app.command("clone")(clone.clone)
app.add_typer(voices.app, name="voices")
app.command("serve")(serve.serve)
app.command("ui")(serve.ui)
app.command("bench")(bench.bench)
app.command("encode")(encode.encode)
app.command("decode")(decode.decode)
app.command("eval")(evaluation.evaluate)
app.command("prepare")(prepare.prepare)
app.add_typer(train.app, name="train")
app.add_typer(model.app, name="model")

# The base of typer's own usage errors, by a public name: typer has moved it between modules.
_UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])


def _version(wanted: bool) -> None:
    if wanted:
        print(f"sparktts {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default=False,
            help="Threads that compute, named before the command. Default: SPARKTTS_THREADS, or the physical cores.",
        ),
    ] = None,
) -> None:
    """Speech from text in Chinese and English: clone voices, create voices, read long text."""
    if threads is not None:
        from ..engine.threads import THREADS_VARIABLE, thread_count

        os.environ[THREADS_VARIABLE] = str(thread_count(threads))


def run(argv: Sequence[str] | None = None) -> None:
    """Runs the command that argv names. Raises what it raises, OptionError for wrong usage, SystemExit."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = typer.main.get_command(app)
    try:
        with command.make_context("sparktts", arguments or ["--help"]) as context:
            command.invoke(context)
    except typer.Exit as leaving:
        raise SystemExit(leaving.exit_code) from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    except _UsageError as error:
        raise OptionError(_usage(error)) from None


def _usage(error: Exception) -> str:
    message = " ".join(str(error.format_message()).split()).rstrip(".")  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    return f"{message}; see `{context.command_path if context else 'sparktts'} --help`."
