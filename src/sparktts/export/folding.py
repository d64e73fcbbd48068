"""The waveform decoder's tensors as its graph multiplies them, and back.

A periodic activation x + sin(alpha x)^2 / alpha is (u + sin(u)^2) / alpha of u = alpha x. So the convolution before the
second activation of a residual unit is multiplied by alpha, and the convolution behind any activation divided by it.
A transposed convolution becomes a convolution whose outputs are interleaved.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from ..checkpoint.config import DecoderConfig
from .graph import Array

SMALLEST_FACTOR = 1e-3  # below it an alpha is not moved: its reciprocal would be too large
Tensors = Mapping[str, Array]


def movable(alpha: Array) -> bool:
    """Whether the factor of an activation goes into the convolutions around it."""
    return float(np.abs(alpha).min()) >= SMALLEST_FACTOR


def folded(tensors: Tensors, config: DecoderConfig) -> dict[str, Array]:
    """tensors: of the decoder, `model.*`. Returns the tensors of all its convolutions, weights (out, in, taps)."""
    found: dict[str, Array] = {}
    for name, before, behind, rate in _convolutions(config):
        weight: Array = tensors[f"{name}.weight"].astype(np.float32)
        bias: Array = tensors[f"{name}.bias"].astype(np.float32)
        if rate:
            weight, bias = _interleaved(weight, rate), np.repeat(bias, rate)
        if before and movable(alpha := tensors[f"{before}.alpha"]):
            weight = weight / alpha.reshape(1, -1, 1)
        if behind and movable(alpha := tensors[f"{behind}.alpha"]):
            weight, bias = weight * alpha.reshape(-1, 1, 1), bias * alpha.reshape(-1)
        found[f"{name}.weight"], found[f"{name}.bias"] = weight, bias
    return found


def unfolded(stored: Tensors, alphas: Tensors, config: DecoderConfig) -> dict[str, Array]:
    """What `folded` was given, but for rounding. alphas: `model.*.alpha`."""
    found: dict[str, Array] = dict(alphas)
    for (name, before, behind, rate), kernel in zip(_convolutions(config), _kernels(config), strict=True):
        weight, bias = stored[f"{name}.weight"], stored[f"{name}.bias"]
        if before and movable(alpha := alphas[f"{before}.alpha"]):
            weight = weight * alpha.reshape(1, -1, 1)
        if behind and movable(alpha := alphas[f"{behind}.alpha"]):
            weight, bias = weight / alpha.reshape(-1, 1, 1), bias / alpha.reshape(-1)
        if rate:
            weight, bias = _transposed(weight, rate, kernel), bias[::rate]
        found[f"{name}.weight"], found[f"{name}.bias"] = weight, bias
    return found


def taps_of(kernel: int, rate: int) -> int:
    """Inputs that an output of a transposed convolution hears."""
    return math.ceil(kernel / rate)


def _convolutions(config: DecoderConfig) -> Iterator[tuple[str, str | None, str | None, int]]:
    """Name of each convolution, of the activation before it, of the one behind it, and its rate if it is transposed."""
    yield "model.0", None, None, 0
    for i, rate in enumerate(config.rates, start=1):
        block = f"model.{i}.block"
        yield f"{block}.1", f"{block}.0", None, rate
        for unit in range(2, 2 + len(config.dilations)):
            yield f"{block}.{unit}.block.1", f"{block}.{unit}.block.0", f"{block}.{unit}.block.2", 0
            yield f"{block}.{unit}.block.3", f"{block}.{unit}.block.2", None, 0
    last = len(config.rates) + 1
    yield f"model.{last + 1}", f"model.{last}", None, 0


def _kernels(config: DecoderConfig) -> Iterator[int]:
    """Widths of the convolutions in the same order."""
    yield config.kernel_size
    for kernel in config.kernel_sizes:
        yield kernel
        yield from (config.kernel_size, 1) * len(config.dilations)
    yield config.kernel_size


def _interleaved(weight: Array, rate: int) -> Array:
    """(in, out, kernel) of a transposed convolution -> (out * rate, in, taps).

    Output rate * t + phase hears input t - tap through weight[rate * tap + phase].
    """
    inputs, outputs, kernel = weight.shape
    count = taps_of(kernel, rate)
    padded = np.pad(weight, ((0, 0), (0, 0), (0, count * rate - kernel)))
    phases = padded.reshape(inputs, outputs, count, rate)[:, :, ::-1]
    return phases.transpose(1, 3, 0, 2).reshape(outputs * rate, inputs, count)


def _transposed(weight: Array, rate: int, kernel: int) -> Array:
    """The inverse of `_interleaved`."""
    rows, inputs, count = weight.shape
    phases = weight.reshape(rows // rate, rate, inputs, count).transpose(2, 0, 3, 1)[:, :, ::-1]
    return phases.reshape(inputs, rows // rate, count * rate)[..., :kernel]
