"""Convolutions over time with fewer multiplications than they have products: algorithm of Toom and Cook.

Of m neighbouring outputs of a convolution with r taps, m * r products are reduced to m + r - 1: inputs and weights are
taken as polynomials and evaluated at as many points, the values are multiplied there, and what the products are the
values of is found back. With m = 4 and r = 7 that is 10 products in place of 28, at the price of a few passes over the
signal. Source: Winograd, Arithmetic Complexity of Computations (1980); arXiv 1509.09308 for networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

from .graph import INT64_MAX, Array, Graph

OUTPUTS = 4  # computed together
# Chosen by measurement for small errors (of 7 taps 8e-6 of the largest output, in float32); infinity is one more.
POINTS = tuple(map(Fraction, ("0", "1", "-1", "3/2", "-3/2", "2/3", "-2/3", "1/3", "-3")))
MOST_TAPS = len(POINTS) + 2 - OUTPUTS
ONE = 1  # the place of the point 1 among them, whose product counts for every output once


@dataclass(frozen=True)
class Transforms:
    """outputs = behind @ ((weights @ taps) * (before @ inputs)); behind (m, n), weights (n, r), before (n, n)."""

    before: Array
    weights: Array
    behind: Array


@cache
def transforms(taps: int) -> Transforms:
    """For OUTPUTS outputs of `taps` taps, 2 to MOST_TAPS."""
    count = OUTPUTS + taps - 1
    inverse = _inverse(_values(count, count))
    before = np.array([[float(inverse[j][i]) for j in range(count)] for i in range(count)])
    # Rows of like size on both sides: products of large and small numbers would lose digits.
    scale = np.sqrt(np.abs(before).max(axis=1, keepdims=True))
    weights = np.array(_values(count, taps), dtype=float) * scale
    behind = np.array(_values(count, OUTPUTS), dtype=float).T
    return Transforms(*(matrix.astype(np.float32) for matrix in (before / scale, weights, behind)))


def evaluated(weight: Array) -> Array:
    """(out, in, taps) of a convolution as (points, out, in), as `short_convolution` multiplies it."""
    matrix = transforms(weight.shape[2]).weights
    points: Array = np.einsum("pt,oit->poi", matrix, weight, optimize=True).astype(np.float32)
    return points


def interpolated(values: Array) -> Array:
    """The inverse of `evaluated`, but for rounding."""
    inverse = np.linalg.pinv(transforms(len(values) + 1 - OUTPUTS).weights.astype(np.float64))
    taps: Array = np.einsum("tp,poi->oit", inverse, values, optimize=True).astype(np.float32)
    return taps


def short_convolution(
    graph: Graph, x: str, weight: str, bias: str, shape: tuple[int, int, int], dilation: int, pads: tuple[int, int]
) -> str:
    """A convolution over the last axis of (1, in, 1, T).

    weight: a value (points * out, in, 1, 1); bias: (out,); shape: (points, out, in); pads: zeros before and behind.
    """
    products, outputs, inputs = shape
    taps = products + 1 - OUTPUTS
    matrices = transforms(taps)
    step = OUTPUTS * dilation  # inputs from one group of outputs to the next
    beyond = -(-(taps - 1) // OUTPUTS)  # groups behind the last one that it hears
    # Lengths are known only when the graph runs.
    length = graph.op("Slice", graph.op("Shape", x), graph.integers(3), graph.integers(4))
    wanted = graph.op("Add", length, graph.integers(sum(pads) - (taps - 1) * dilation))
    groups = graph.op("Div", graph.op("Add", wanted, graph.integers(step - 1)), graph.integers(step))
    padded = graph.op("Mul", graph.op("Add", groups, graph.integers(beyond)), graph.integers(step))
    missing = graph.op("Sub", graph.op("Sub", padded, length), graph.integers(pads[0]))
    x = graph.op("Pad", x, graph.op("Concat", graph.integers(0, 0, 0, pads[0], 0, 0, 0), missing, axis=0))
    # (place in the group, channel, group, phase of the dilation)
    x = graph.op("Transpose", graph.reshape(x, inputs, -1, OUTPUTS, dilation), perm=[2, 0, 1, 3])
    heard = []
    for late in range(beyond + 1):
        places = min(OUTPUTS, products - late * OUTPUTS)
        end = late - beyond or INT64_MAX
        part = graph.op("Slice", x, graph.integers(0, late), graph.integers(places, end), graph.integers(0, 2))
        heard.append(part)
    x = graph.reshape(graph.op("Concat", *heard, axis=0), products, -1)
    x = graph.reshape(graph.op("MatMul", graph.constant(matrices.before), x), 1, products * inputs, 1, -1)
    nothing = graph.constant(np.zeros((products - ONE - 1) * outputs))
    biases = [graph.constant(np.zeros(ONE * outputs)), bias, nothing]
    x = graph.op("Conv", x, weight, graph.op("Concat", *biases, axis=0), group=products)
    x = graph.op("MatMul", graph.constant(matrices.behind), graph.reshape(x, products, -1))
    # (place in the group, channel, group and phase): groups are as many as were padded for.
    shape_of = graph.op("Concat", graph.integers(OUTPUTS, outputs), groups, graph.integers(dilation), axis=0)
    x = graph.op("Transpose", graph.op("Reshape", x, shape_of), perm=[1, 2, 0, 3])
    x = graph.reshape(x, 1, outputs, 1, -1)
    return graph.op("Slice", x, graph.integers(0), wanted, graph.integers(3))


def _values(points: int, size: int) -> list[list[Fraction]]:
    """What polynomials of `size` coefficients are at that many points, infinity the last: (points, size)."""
    rows = [[point**power for power in range(size)] for point in POINTS[: points - 1]]
    return [*rows, [Fraction(int(power == size - 1)) for power in range(size)]]


def _inverse(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """By elimination, exactly."""
    size = len(matrix)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(size))] for i, row in enumerate(matrix)]
    for i in range(size):
        pivot = next(j for j in range(i, size) if rows[j][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(size):
            if j != i and (factor := rows[j][i]):
                rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[size:] for row in rows]
