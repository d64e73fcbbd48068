"""The figures as rows of text, for Markdown, HTML and terminals."""

from __future__ import annotations

from .lists import SpokenLanguage
from .metrics import ErrorSummary, Metric
from .summary import Evaluation, Figures

LANGUAGE_NAMES: dict[SpokenLanguage, str] = {"en": "English", "zh": "Chinese", "mixed": "Mixed"}
METRIC_NAMES: dict[Metric, str] = {
    "wer": "WER",
    "cer": "CER",
    "pinyin": "Pinyin error",
    "phonemes": "Phoneme error",
}
NOTHING = "–"


def header(evaluation: Evaluation) -> tuple[str, ...]:
    """Titles of the columns of `row`; columns without any value are left out."""
    return tuple(title for title, _ in _columns(evaluation, evaluation.figures()[0]))


def row(evaluation: Evaluation, figures: Figures) -> tuple[str, ...]:
    """One system in one language."""
    return tuple(cell for _, cell in _columns(evaluation, figures))


def percent(rate: float) -> str:
    """0.034 -> "3.4 %"."""
    return f"{100 * rate:.1f} %"


def rates(summary: ErrorSummary | None) -> str:
    """Corpus rate with its interval, and mean."""
    if summary is None:
        return NOTHING
    interval = f"{100 * summary.low:.1f} to {100 * summary.high:.1f}"
    return f"{percent(summary.corpus)} ({interval}), mean {percent(summary.mean)}"


def _columns(evaluation: Evaluation, figures: Figures) -> list[tuple[str, str]]:
    every = evaluation.figures()
    columns = [
        ("Language", LANGUAGE_NAMES[figures.language]),
        ("System", figures.system),
        ("Texts", str(figures.items)),
    ]
    columns.append(("Failed", str(figures.failures)))
    for metric, name in METRIC_NAMES.items():
        if any(metric in other.errors for other in every):
            columns.append((name, rates(figures.errors.get(metric))))
    optional = (
        ("Similarity", [f.mean_similarity for f in every], figures.mean_similarity, 3),
        ("MOS", [f.mean_mos for f in every], figures.mean_mos, 2),
        ("RTF", [f.real_time_factor for f in every], figures.real_time_factor, 2),
    )
    for title, values, own, digits in optional:
        if any(value is not None for value in values):
            columns.append((title, NOTHING if own is None else f"{own:.{digits}f}"))
    if any(f.retries for f in every):
        columns.append(("Retries", str(figures.retries)))
    columns.append(("Sound", f"{figures.seconds:.0f} s"))
    return columns
