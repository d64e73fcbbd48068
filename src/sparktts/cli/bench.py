"""sparktts bench: load on a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..errors import OptionError
from . import options
from .console import note, progress_bar, result, result_json, table
from .targets import check_file
from .texts import lines_of

if TYPE_CHECKING:
    from ..load import Figures

TEXTS = (
    "Hello, how are you today?",
    "The quick brown fox jumps over the lazy dog while the sun goes down behind the hills.",
    "Please remember to bring the blue folder, two pens, and the list that we wrote on Monday.",
    "你好，很高兴认识你。",
    "明天下午三点我们在图书馆门口见面，别忘了带上那本书。",
)
_LOAD, _REQUEST = "Load", "Request"


def bench(
    url: Annotated[str, options.argument("URL", "Where the server is, such as http://localhost:8000.")],
    requests: Annotated[int, options.option(_LOAD, "--requests -n", "N", "Requests in all.")] = 20,
    concurrency: Annotated[int, options.option(_LOAD, "--concurrency -c", "N", "Requests at once.")] = 1,
    rate: Annotated[
        float | None,
        options.option(_LOAD, "--rate", "X", "Requests a second at random times instead. Default: --concurrency."),
    ] = None,
    cancel: Annotated[
        float, options.option(_LOAD, "--cancel", "SHARE", "Share of the requests that are given up early, 0 to 1.")
    ] = 0.0,
    texts: Annotated[
        Path | None, options.option(_REQUEST, "--texts", "FILE", "A text in each line. Default: five of its own.")
    ] = None,
    voice: Annotated[str, options.option(_REQUEST, "--voice -v", "NAME", "Who speaks.")] = "default",
    model: Annotated[str, options.option(_REQUEST, "--model -m", "NAME", "As the server names it.")] = "tts-1",
    api_key: Annotated[
        str | None, options.option(_REQUEST, "--api-key", "KEY", "If the server wants one. Default: none.")
    ] = None,
    plot: Annotated[
        Path | None, options.option(None, "--plot", "FILE.png", "Draw every request. Default: no picture.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Measure a server: first sound, whole answers, throughput.

    sparktts bench http://localhost:8000 --requests 100 --concurrency 8
    """
    if requests < 1 or concurrency < 1 or not 0 <= cancel <= 1 or (rate is not None and rate <= 0):
        raise OptionError("--requests and --concurrency are 1 or more, --rate is above 0, --cancel from 0 to 1.")
    if plot is not None:
        check_file(plot, OptionError)
    try:
        import asyncio

        from ..load import Load, run
    except ImportError as error:
        raise OptionError(f'Measuring needs {error.name}: pip install "sparktts[server]".') from None
    load = Load(url, _texts(texts), requests, concurrency, rate, voice, model, api_key, cancel)
    with progress_bar(json) as bar:
        figures = asyncio.run(run(load, lambda done, total: bar.counting("Asking", done, total)))
    if plot is not None:
        draw(figures, plot)
    if json:
        result_json(figures.to_dict(), indent=2)
    else:
        show(figures)
    if not figures.answered:
        raise OptionError(f"No request was answered ({_told(figures.errors)}): check the address, key and model.")


def show(figures: Figures) -> None:
    """The table."""
    result(
        f"{len(figures.answered)} of {len(figures.outcomes)} requests answered in {figures.elapsed:.1f} s"
        + (f" ({_told(figures.errors)})" if figures.errors else "")
        + f": {figures.throughput:.2f} s of speech a second"
    )
    names = {"first": "First sound, s", "total": "Whole answer, s", "rtf": "Waited for a second of speech, s"}
    rows = []
    for what, name in names.items():
        found = figures.percentiles(what)
        rows.append((name, *(f"{value:.2f}" for value in found.values())) if found else (name, "-"))
    table(("", "median", "90 %", "95 %", "99 %"), rows)


def draw(figures: Figures, path: Path) -> None:
    """Every request as a line from its start to its end, with a dot at its first sound. Raises OptionError."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise OptionError('A picture needs matplotlib: pip install "sparktts[train]".') from None
    figure = Figure(figsize=(8, 0.5 + min(8, 0.12 * len(figures.outcomes) + 2)), layout="constrained")
    axes = figure.subplots()
    for row, one in enumerate(figures.outcomes):
        axes.hlines(row, one.start, one.start + one.total, color="tab:red" if one.error else "tab:blue", linewidth=1.5)
        if one.first is not None:
            axes.plot(one.start + one.first, row, "o", color="tab:orange", markersize=3)
    axes.set(xlabel="seconds", ylabel="request", title="Requests: from start to end, a dot at the first sound")
    axes.invert_yaxis()
    figure.savefig(path, dpi=120)
    note(f"Wrote {path}.")


def _texts(file: Path | None) -> tuple[str, ...]:
    if file is None:
        return TEXTS
    if not (texts := lines_of(file)):
        raise OptionError(f"There is no text in {file}: write one in each line.")
    return tuple(texts)


def _told(errors: dict[str, Any]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in errors.items())
