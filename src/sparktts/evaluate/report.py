"""The reports of an evaluation: JSON for programs, Markdown for documents, a page for listening."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..files import write_atomically
from .html_report import to_html
from .metrics import alignment
from .results import Result
from .scoring_text import joined, units
from .summary import Evaluation
from .tables import LANGUAGE_NAMES, METRIC_NAMES, NOTHING, header, percent, row

WORST = 10


def write_reports(evaluation: Evaluation, out: Path) -> tuple[Path, ...]:
    """report.json, report.md and report.html in the folder, each whole or not at all. Raises OSError."""
    contents = {
        "report.json": json.dumps(evaluation.to_dict(), ensure_ascii=False, indent=2) + "\n",
        "report.md": to_markdown(evaluation),
        "report.html": to_html(evaluation),
    }
    for name, content in contents.items():
        write_atomically(out / name, content.encode())
    return tuple(out / name for name in contents)


def to_markdown(evaluation: Evaluation) -> str:
    """Figures, the worst texts of each system, failures, and how it was done."""
    lines = ["# Evaluation", "", f"{evaluation.created}. {_listed(evaluation)}", ""]
    lines += _table(header(evaluation), [row(evaluation, figures) for figures in evaluation.figures()])
    lines += ["", "Errors: corpus with its 95 % interval, mean of the texts. A text that failed counts as one of which"]
    lines += ["nothing was heard. Similarity and MOS: means over what was said. In Heard, differences are in brackets."]
    lines += [f"\n{note}" for note in evaluation.notes]
    for system in evaluation.systems:
        lines += _worst(system, [result for result in evaluation.results if result.system == system])
    failed = [result for result in evaluation.results if result.error]
    if failed:
        lines += ["", "## Failures", ""]
        lines += [f"- {_plain(result.system)}, {_plain(result.id)}: {_plain(result.error or '')}" for result in failed]
    lines += ["", "## How", ""]
    lines += [f"- {kind}: {_plain(name or 'none')}" for kind, name in evaluation.judges.items()]
    lines += [
        f"- {_plain(name)}: `{json.dumps(facts, ensure_ascii=False)}`" for name, facts in evaluation.systems.items()
    ]
    lines += [f"- versions: {', '.join(f'{name} {version}' for name, version in evaluation.versions.items())}", ""]
    return "\n".join(lines)


def _worst(system: str, results: list[Result]) -> list[str]:
    bad = sorted((r for r in results if _rate(r) > 0), key=lambda result: result.worst_first)
    if not bad:
        return []
    rows = [
        (result.id, LANGUAGE_NAMES[result.language], _error(result), result.text, _difference(result))
        for result in bad[:WORST]
    ]
    return ["", f"## Worst of {_plain(system)}", "", *_table(("Id", "Language", "Error", "Text", "Heard"), rows)]


def _rate(result: Result) -> float:
    return result.error_rate or 0.0


def _error(result: Result) -> str:
    if result.main_metric is None:
        return NOTHING
    return f"{METRIC_NAMES[result.main_metric]} {percent(_rate(result))}"


def _difference(result: Result) -> str:
    """What was heard in comparable words, differences in brackets."""
    if result.error:
        return result.error
    if result.scores.heard is None:
        return NOTHING
    pieces = []
    for edit in alignment(units(result.text, result.language), units(result.scores.heard, result.language)):
        words = joined(edit.heard)
        pieces.append(words if edit.equal else f"[{words or '...'}]")
    return ("" if result.language == "zh" else " ").join(pieces)


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [titles, ("---",) * len(titles), *(tuple(_plain(cell) for cell in cells) for cells in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def _listed(evaluation: Evaluation) -> str:
    return "; ".join(f"{_plain(name)} ({facts['items']} texts)" for name, facts in evaluation.lists.items()) + "."
