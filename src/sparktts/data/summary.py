"""What a prepared folder holds, in numbers and pictures."""

from __future__ import annotations

import base64
import html
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import OptionError
from ..style import LEVELS
from . import folder
from .checks import FLAGS, REASONS
from .shards import read_table, shard_metadata, shard_paths

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MEASURES = ("duration", "f0_mean", "syllables_per_second", "loudness")
_TEXTS = ("language", "speaker", "gender")
_OTHERS = ("pitch_level", "speed_level", "words", "word_times", "semantic", "global_tokens")
_TOP = 20  # speakers that are named
_BLUE, _RED = "#3367a8", "#b4543c"
_COLORS = (_BLUE, _RED, "#8a8f98", "#5b9a5b", "#8a63a8", "#c9a13b")  # in turn, for groups


@dataclass
class Corpus:
    """What is collected from the shards. measures: name -> (n,) values, NaN where unknown."""

    measures: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    texts: dict[str, list[str | None]] = field(default_factory=dict)
    levels: dict[str, Counter[int]] = field(
        default_factory=lambda: {"pitch_level": Counter(), "speed_level": Counter()}
    )
    rejected: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    with_words: int = 0
    with_times: int = 0
    codec: str | None = None
    codebook: int | None = None
    semantic: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    voices: set[tuple[int, ...]] = field(default_factory=set)

    @property
    def clips(self) -> int:
        """How many."""
        return len(self.texts["language"])


def write_summary(out: Path) -> dict[str, Any]:
    """Writes summary.json and summary.html; returns the first. Raises OptionError."""
    found = collect(out)
    numbers = describe(found)
    folder.write_json(out / folder.SUMMARY, numbers)
    folder.write_text(out / folder.PAGE, page(found, numbers))
    return numbers


def collect(out: Path) -> Corpus:
    """Reads every shard once. Raises OptionError."""
    found = Corpus()
    measures: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in _MEASURES}
    found.texts = {name: [] for name in _TEXTS}
    for path in shard_paths(out):
        metadata = shard_metadata(path)
        found.flags.update(metadata.get("flags", {}))
        found.codec = found.codec or metadata.get("codec")
        found.codebook = found.codebook or metadata.get("codebook")
        table = read_table(path, [*_MEASURES, *_TEXTS, *_OTHERS])
        for name in _MEASURES:
            values = [np.nan if value is None else value for value in table[name].to_pylist()]
            measures[name].append(np.asarray(values, np.float64))
        for name in _TEXTS:
            found.texts[name] += table[name].to_pylist()
        for name, counts in found.levels.items():
            counts.update(value for value in table[name].to_pylist() if value is not None)
        found.with_words += len(table) - table["words"].null_count
        found.with_times += len(table) - table["word_times"].null_count
        _count_tokens(found, table)
    found.measures = {name: np.concatenate(parts) for name, parts in measures.items()}
    found.rejected = Counter(row["reason"] for row in folder.all_rejected(out))
    return found


def _count_tokens(found: Corpus, table: Any) -> None:
    for codes in table["semantic"].to_pylist():
        if codes:
            counts = np.bincount(codes, minlength=len(found.semantic))
            counts[: len(found.semantic)] += found.semantic
            found.semantic = counts
    found.voices.update(tuple(codes) for codes in table["global_tokens"].to_pylist() if codes)


def describe(found: Corpus) -> dict[str, Any]:
    """The numbers of summary.json."""
    durations = found.measures["duration"]
    languages = {}
    for name in sorted({str(language) for language in found.texts["language"]}):
        chosen = np.asarray([language == name for language in found.texts["language"]], bool)
        rates = found.measures["syllables_per_second"][chosen]
        languages[name] = {
            "clips": int(chosen.sum()),
            "hours": round(float(durations[chosen].sum()) / 3600, 4),
            "syllables_per_second": _percentiles(rates),
        }
    return {
        "clips": found.clips,
        "hours": round(float(durations.sum()) / 3600, 4),
        "languages": languages,
        "speakers": len(set(found.texts["speaker"])),
        "genders": dict(Counter(gender or "unknown" for gender in found.texts["gender"])),
        **{name: _percentiles(found.measures[name]) for name in _MEASURES},
        **{name: {LEVELS[i]: counts[i] for i in sorted(counts)} for name, counts in found.levels.items()},
        "with_words": found.with_words,
        "with_word_times": found.with_times,
        "rejected": dict(found.rejected.most_common()),
        "flags": dict(found.flags.most_common()),
        "tokens": _token_use(found),
    }


def _percentiles(values: npt.NDArray[np.float64]) -> dict[str, float] | None:
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    points = np.percentile(known, (0, 5, 50, 95, 100))
    return dict(zip(("min", "p5", "median", "p95", "max"), (round(float(p), 3) for p in points), strict=True))


def _token_use(found: Corpus) -> dict[str, Any] | None:
    """How many codes are used, and by how many evenly used codes the same spread could be had (perplexity)."""
    total = int(found.semantic.sum())
    if not total:
        return None
    shares = found.semantic[found.semantic > 0] / total
    return {
        "codec": found.codec,
        "semantic_tokens": total,
        "codes_used": int((found.semantic > 0).sum()),
        "codes": found.codebook,
        "perplexity": round(float(np.exp(-(shares * np.log(shares)).sum())), 1),
        "different_voices": len(found.voices),
    }


def page(found: Corpus, numbers: dict[str, Any]) -> str:
    """summary.html: one file with its pictures inside. Raises OptionError without matplotlib."""
    rows = [
        ("clips", f"{numbers['clips']:,}"),
        ("hours", f"{numbers['hours']:.2f}"),
        ("speakers", f"{numbers['speakers']:,}"),
        (
            "languages",
            ", ".join(f"{k}: {v['clips']:,} clips, {v['hours']:.2f} h" for k, v in numbers["languages"].items()),
        ),
        ("gender", ", ".join(f"{name}: {count:,}" for name, count in numbers["genders"].items())),
        ("with phonemes, with word times", f"{found.with_words:,}, {found.with_times:,}"),
    ]
    if tokens := numbers["tokens"]:
        of = f" of {tokens['codes']:,}" if tokens["codes"] else ""
        rows += [
            ("codec", tokens["codec"]),
            ("semantic tokens", f"{tokens['semantic_tokens']:,}"),
            ("codes used", f"{tokens['codes_used']:,}{of}; perplexity {tokens['perplexity']:,}"),
        ]
    speakers = Counter(str(name) for name in found.texts["speaker"])
    reasons = [(f"{count:,} {name}", REASONS.get(name, "")) for name, count in found.rejected.most_common()]
    flags = [(f"{count:,} {name}", FLAGS.get(name, "")) for name, count in found.flags.most_common()]
    pictures = "\n".join(
        f'<figure><img alt="{html.escape(title)}" src="data:image/png;base64,{_picture(title, draw)}"></figure>'
        for title, draw in plots(found)
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Prepared clips</title>\n'
        f"<style>{_STYLE}</style></head><body>\n<h1>Prepared clips</h1>\n{_table(rows)}\n"
        f"<h2>Left out: {found.rejected.total():,}</h2>\n{_table(reasons)}\n"
        + (f"<h2>Odd, but kept</h2>\n{_table(flags)}\n" if flags else "")
        + f"<h2>Distributions</h2>\n<main>{pictures}</main>\n"
        f"<h2>Speakers with most clips, of {len(speakers):,}</h2>\n{_bars(speakers.most_common(_TOP))}\n"
        "</body></html>\n"
    )


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td{padding:.2rem 1rem .2rem 0;border-bottom:1px solid #ddd;vertical-align:top}"
    "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:1rem}"
    "figure{margin:0}img{width:100%}i{display:inline-block;height:.8em;background:#3367a8}"
)


def _table(rows: list[tuple[str, str]]) -> str:
    if not rows:
        return "<p>None.</p>"
    cells = "".join(f"<tr><td>{html.escape(a)}</td><td>{html.escape(str(b))}</td></tr>" for a, b in rows)
    return f"<table>{cells}</table>"


def _bars(counts: list[tuple[str, int]]) -> str:
    """Drawn by the browser, which has letters for every name."""
    most = max((count for _, count in counts), default=1)
    rows = "".join(
        f'<tr><td>{html.escape(name)}</td><td><i style="width:{20 * count / most:.2f}rem"></i> {count:,}</td></tr>'
        for name, count in counts
    )
    return f"<table>{rows}</table>"


def plots(found: Corpus) -> list[tuple[str, Callable[[Axes], None]]]:
    """(title, what draws it) of every picture that the corpus has data for."""
    drawn: list[tuple[str, Callable[[Axes], None]]] = []
    if not found.clips:
        return drawn
    drawn.append(("Duration (s)", lambda axes: _histogram(axes, found.measures["duration"], found, None)))
    if np.isfinite(found.measures["f0_mean"]).any():
        drawn.append(
            ("Mean F0 (Hz), by gender", lambda axes: _histogram(axes, found.measures["f0_mean"], found, "gender"))
        )
    drawn += [
        (
            "Syllables a second, by language",
            lambda axes: _histogram(axes, found.measures["syllables_per_second"], found, "language"),
        ),
        ("Loudness of speech (dBFS)", lambda axes: _histogram(axes, found.measures["loudness"], found, None)),
        ("Share of levels (%)", lambda axes: _levels(axes, found)),
    ]
    if found.semantic.any():
        drawn.append(("Use of semantic codes, most used first", lambda axes: _tokens(axes, found)))
    return drawn


def _histogram(axes: Axes, values: npt.NDArray[np.float64], found: Corpus, by: str | None) -> None:
    known = np.isfinite(values)
    groups = np.asarray([name or "unknown" for name in found.texts[by]] if by else ["all"] * len(values))
    names = sorted(set(groups[known].tolist()))
    low, high = np.percentile(values[known], (0, 100))
    edges = np.linspace(low, high if high > low else low + 1, 41)
    axes.hist(
        [values[known & (groups == name)] for name in names],
        edges.tolist(),
        stacked=True,
        label=names,
        color=[_COLORS[i % len(_COLORS)] for i in range(len(names))],
    )
    axes.locator_params(axis="y", integer=True)
    axes.set_ylabel("clips")
    if by:
        axes.legend()


def _levels(axes: Axes, found: Corpus) -> None:
    width = 0.4
    for shift, (name, label, color) in zip(
        (-width / 2, width / 2), (("pitch_level", "pitch", _BLUE), ("speed_level", "speed", _RED)), strict=True
    ):
        counts = found.levels[name]
        total = max(1, counts.total())
        heights = [100 * counts[i] / total for i in range(len(LEVELS))]
        axes.bar(np.arange(len(LEVELS)) + shift, heights, width, label=label, color=color)
    axes.set_xticks(range(len(LEVELS)), [level.replace("_", " ") for level in LEVELS])
    axes.legend()


def _tokens(axes: Axes, found: Corpus) -> None:
    counts = np.sort(found.semantic)[::-1]
    counts = counts[counts > 0]
    axes.plot(np.arange(1, len(counts) + 1), counts, color=_BLUE)
    axes.set_xlim(0, found.codebook or len(counts))
    axes.set_yscale("log")
    axes.set_xlabel(f"codes; {len(counts):,} used" + (f" of {found.codebook:,}" if found.codebook else ""))
    axes.set_ylabel("times")


def _picture(title: str, draw: Callable[[Axes], None]) -> str:
    """PNG in base64."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise OptionError('The summary page needs matplotlib: pip install "sparktts[train]".') from None
    figure = Figure(figsize=(6, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes)
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return base64.b64encode(target.getvalue()).decode()
