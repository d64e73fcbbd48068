"""The page: figures, plots, and every text with its players, the worst first. One file beside the folder of sounds."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from urllib.parse import quote

from .lists import SpokenLanguage
from .metrics import alignment
from .plots import Dot, dot_plot
from .results import Result
from .scoring_text import joined, units
from .summary import Evaluation
from .tables import LANGUAGE_NAMES, METRIC_NAMES, NOTHING, header, percent, row

LEGEND = (
    "Errors: all errors over all words (in Chinese characters, or syllables of toneless pinyin), or over all phonemes, "
    "with a 95 % interval; below it the mean of the texts. A text that failed counts as one of which nothing was "
    "heard. Similarity (cosine to the prompt) and MOS are means over what was said. RTF: seconds of computing for a "
    "second of sound."
)
_Value = Callable[[Result], float | None]


def to_html(evaluation: Evaluation) -> str:
    """The whole page; needs nothing from a network."""
    lists = ", ".join(f"{name} ({facts['items']} texts)" for name, facts in evaluation.lists.items())
    folder = files(__package__) / "page"
    body = [
        "<header><h1>Evaluation</h1>",
        f"<p>{_text(', '.join(evaluation.systems))} on {_text(lists)}, {_text(evaluation.created[:10])}</p></header>",
        "<main>",
        _figures(evaluation),
        _plots(evaluation),
        _items(evaluation),
        _how(evaluation),
        "</main>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Evaluation</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{(folder / 'style.css').read_text(encoding='utf-8')}</style></head><body>"
        + "\n".join(body)
        + f"<script>{(folder / 'script.js').read_text(encoding='utf-8')}</script></body></html>\n"
    )


def _figures(evaluation: Evaluation) -> str:
    titles = header(evaluation)
    head = "".join(f'<th scope="col"><button type="button">{_text(title)}</button></th>' for title in titles)
    rows = []
    for figures in evaluation.figures():
        cells = [_figure(title, cell) for title, cell in zip(titles, row(evaluation, figures), strict=True)]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in evaluation.notes)
    return (
        f'<section><h2>Figures</h2><table class="figures" data-sortable><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>{notes}"
        f'<p class="note">{_text(LEGEND)}</p></section>'
    )


def _figure(title: str, cell: str) -> str:
    main, _, more = cell.partition(" (") if title in METRIC_NAMES.values() else (cell, "", "")
    small = f"<small>{_text(more.replace(')', '').replace(', ', '<br>'))}</small>" if more else ""
    small = small.replace("&lt;br&gt;", "<br>")
    kind = ' class="none"' if cell == NOTHING else ""
    return f'<td{kind} data-title="{_text(title)}"><span>{_text(main)}{small}</span></td>'


def _plots(evaluation: Evaluation) -> str:
    plots = []
    for language in evaluation.languages:
        ranked = (r.main_metric for r in evaluation.results if r.language == language and r.main_metric)
        metric = METRIC_NAMES[next(ranked, "wer")]
        wanted: list[tuple[str, _Value, float | None, float | None, str]] = [
            (f"{metric} of each text", _error_percent, 0.0, None, " %"),
            ("Similarity to the prompt", lambda r: r.scores.similarity, None, 1.0, ""),
            ("MOS", lambda r: r.scores.mos, 1.0, 5.0, ""),
        ]
        for title, value, low, high, unit in wanted:
            plot = _plot(evaluation, language, value, low, high, unit)
            if plot:
                plots.append(
                    f"<figure><figcaption>{LANGUAGE_NAMES[language]}: {_text(title)}</figcaption>{plot}</figure>"
                )
    if not plots:
        return ""
    return f'<section><h2>Spread</h2><div class="plots">{"".join(plots)}</div></section>'


def _plot(
    evaluation: Evaluation, language: SpokenLanguage, value: _Value, low: float | None, high: float | None, unit: str
) -> str:
    rows = []
    for system in evaluation.systems:
        results = [r for r in evaluation.results if (r.system, r.language) == (system, language)]
        dots = [Dot(v, f"{r.id}, {system}", _anchor(r.id)) for r in results if (v := value(r)) is not None]
        rows.append((system, dots))
    values = [dot.value for _, dots in rows for dot in dots]
    if not values:
        return ""
    low = min(0.5, *values) if low is None else low
    high = min(200.0, max(20.0, *values)) if high is None else high
    return dot_plot(rows, low, high, unit)


def _items(evaluation: Evaluation) -> str:
    groups: dict[str, list[Result]] = {}
    for result in evaluation.results:
        groups.setdefault(result.id, []).append(result)
    ordered = sorted(groups.values(), key=lambda group: min(result.worst_first for result in group))
    languages = "".join(f'<option value="{name}">{LANGUAGE_NAMES[name]}</option>' for name in evaluation.languages)
    controls = (
        '<div class="controls"><label>Order <select id="order"><option value="error">worst error</option>'
        '<option value="mos">lowest MOS</option><option value="similarity">lowest similarity</option>'
        '<option value="rtf">slowest</option><option value="id">id</option></select></label>'
        f'<label>Language <select id="language"><option value="">all</option>{languages}</select></label>'
        '<label class="grow">Find <input id="find" type="search" placeholder="words or id"></label>'
        '<output id="count"></output></div>'
    )
    articles = "".join(_item(evaluation, group) for group in ordered)
    return f'<section><h2>Texts</h2>{controls}<div id="items">{articles}</div></section>'


def _item(evaluation: Evaluation, group: Sequence[Result]) -> str:
    first = group[0]
    prompt = next((result.prompt for result in group if result.prompt), None)
    keys = {
        "error": max((_error_percent(r) or 0.0) + (1e9 if r.error else 0.0) for r in group),
        "mos": min((r.scores.mos for r in group if r.scores.mos is not None), default=9.0),
        "similarity": min((r.scores.similarity for r in group if r.scores.similarity is not None), default=9.0),
        "rtf": max((_rtf(r) or 0.0 for r in group), default=0.0),
    }
    data = "".join(f' data-{name}="{value:.6g}"' for name, value in keys.items())
    player = f'<div class="prompt"><span>Prompt</span>{_player(prompt)}</div>' if prompt else ""
    return (
        f'<article id="{_anchor(first.id)}" data-id="{_text(first.id)}" data-language="{first.language}"{data}>'
        f"<h3><span>{_text(first.id)}</span> <small>{LANGUAGE_NAMES[first.language]}</small></h3>"
        f'<p class="asked" lang="{"en" if first.language == "en" else "zh"}">{_text(first.text)}</p>{player}'
        f"{''.join(_take(evaluation, result) for result in group)}</article>"
    )


def _take(evaluation: Evaluation, result: Result) -> str:
    name = f"<b>{_text(result.system)}</b>" if len(evaluation.systems) > 1 else ""
    if result.error:
        return f'<div class="take">{name}<p class="failed">{_text(result.error)}</p></div>'
    assert result.take is not None
    values = [(METRIC_NAMES[metric], percent(errors.rate)) for metric, errors in (result.scores.errors or {}).items()]
    values += [("Similarity", f"{result.scores.similarity:.3f}")] if result.scores.similarity is not None else []
    values += [("MOS", f"{result.scores.mos:.2f}")] if result.scores.mos is not None else []
    rtf = _rtf(result)
    values += [("RTF", f"{rtf:.2f}")] if rtf is not None else []
    values += [("Retries", str(result.take.retries))] if result.take.retries else []
    shown = "".join(f"<div><dt>{_text(title)}</dt><dd>{_text(value)}</dd></div>" for title, value in values)
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in result.take.notes)
    return f'<div class="take">{name}{_player(result.take.audio)}<dl>{shown}</dl>{_heard(result)}{notes}</div>'


def _heard(result: Result) -> str:
    """What was heard, differences marked: what was missed struck through, what came instead in colour."""
    if result.scores.heard is None:
        return ""
    glue = "" if result.language == "zh" else " "
    pieces = []
    for edit in alignment(units(result.text, result.language), units(result.scores.heard, result.language)):
        asked, heard = _text(joined(edit.asked)), _text(joined(edit.heard))
        if edit.equal:
            pieces.append(heard)
        else:
            pieces.append((f"<del>{asked}</del>" if asked else "") + (f"<ins>{heard}</ins>" if heard else ""))
    return f'<p class="heard" title="{_text(result.scores.heard)}">{glue.join(pieces)}</p>'


def _how(evaluation: Evaluation) -> str:
    rows = [(f"Judge: {kind}", name or "none") for kind, name in evaluation.judges.items()]
    rows += [
        (f"List: {name}", f"{facts['items']} texts, sha256 {facts['sha256'][:16]}")
        for name, facts in evaluation.lists.items()
    ]
    rows += [(f"System: {name}", json.dumps(facts, ensure_ascii=False)) for name, facts in evaluation.systems.items()]
    rows.append(("Versions", ", ".join(f"{name} {version}" for name, version in evaluation.versions.items())))
    rows.append(("Made", evaluation.created))
    body = "".join(f"<div><dt>{_text(title)}</dt><dd>{_text(value)}</dd></div>" for title, value in rows)
    summary = "<summary><h2>How this was made</h2></summary>"
    return f'<section><details>{summary}<dl class="how">{body}</dl></details></section>'


def _player(path: str) -> str:
    return f'<audio controls preload="none" src="{_text(quote(path))}"></audio>'


def _error_percent(result: Result) -> float | None:
    return None if result.error_rate is None else 100 * result.error_rate


def _rtf(result: Result) -> float | None:
    take = result.take
    return None if take is None or take.elapsed is None or not take.seconds else take.elapsed / take.seconds


def _anchor(id: str) -> str:
    return "item-" + quote(id, safe="").replace("%", "_")


def _text(text: str) -> str:
    return html.escape(text, quote=True)
