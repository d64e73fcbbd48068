"""Plots as SVG, without a library: one dot a text, so that outliers can be seen and clicked."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, ROW, LEFT, RIGHT, TOP, BOTTOM = 400, 58, 8, 16, 8, 30


@dataclass(frozen=True)
class Dot:
    """One text: where it lies, what it is called when pointed at, which part of the page it leads to."""

    value: float
    label: str
    target: str


def dot_plot(rows: Sequence[tuple[str, Sequence[Dot]]], low: float, high: float, unit: str = "") -> str:
    """An SVG with a row of dots and a line at the mean for each name; values outside low..high lie at the edge."""
    height = TOP + ROW * len(rows) + BOTTOM
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(_spoken(rows, unit), quote=True)}">'
    ]
    for tick in _ticks(low, high):
        x = _x(tick, low, high)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 10}" text-anchor="middle">{tick:g}{unit}</text>')
    for index, (name, dots) in enumerate(rows):
        parts += _row(name, dots, TOP + ROW * index, low, high, unit, f"s{index % 6}")
    return "".join([*parts, "</svg>"])


def _row(name: str, dots: Sequence[Dot], top: float, low: float, high: float, unit: str, colour: str) -> list[str]:
    middle = top + ROW / 2 + 10
    parts = [f'<text class="name" x="{LEFT}" y="{top + 12:.1f}">{html.escape(name)}</text>']
    levels: dict[int, int] = {}
    for dot in sorted(dots, key=lambda dot: dot.value):
        x = _x(min(max(dot.value, low), high), low, high)
        # Dots of nearly the same value are piled up, to both sides in turn.
        slot = round(x / 7)
        pile = levels[slot] = levels.get(slot, -1) + 1
        y = middle + (1 if pile % 2 else -1) * 4.5 * min(3, math.ceil(pile / 2))
        title = html.escape(f"{dot.label}: {dot.value:.3g}{unit}")
        parts.append(
            f'<a href="#{html.escape(dot.target, quote=True)}">'
            f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="4">'
            f"<title>{title}</title></circle></a>"
        )
    if dots:
        mean = sum(dot.value for dot in dots) / len(dots)
        x = _x(min(max(mean, low), high), low, high)
        parts.append(
            f'<line class="mean" x1="{x:.1f}" x2="{x:.1f}" y1="{middle - 13:.1f}" y2="{middle + 13:.1f}">'
            f"<title>mean {mean:.3g}{unit}</title></line>"
        )
    return parts


def _x(value: float, low: float, high: float) -> float:
    return LEFT + 8 + (WIDTH - LEFT - RIGHT - 16) * (value - low) / (high - low)


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * index, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _spoken(rows: Sequence[tuple[str, Sequence[Dot]]], unit: str) -> str:
    means = [f"{name}: mean {sum(d.value for d in dots) / len(dots):.3g}{unit}" for name, dots in rows if dots]
    return "; ".join(means) or "no values"
