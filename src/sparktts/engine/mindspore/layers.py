"""Layers as functions over a checkpoint's tensors, from operators that both the CPU and Ascend have.

Everything is frames, (T, C): one clip at a time, no batch. Convolutions are matrix products of shifted frames; those of
MindSpore exist for images only, and on a CPU take 60 times as long (measured, 256 channels and 7 taps).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from mindspore import Tensor, ops

Array = npt.NDArray[Any]
BATCH_NORM_EPS = 1e-5
LAYER_NORM_EPS = 1e-5

_matmul = ops.MatMul(transpose_b=True)
_mix = ops.BatchMatMul()
_match = ops.BatchMatMul(transpose_b=True)
_softmax = ops.Softmax(-1)
_transpose = ops.Transpose()
_concat, _slice, _strided = ops.Concat(1), ops.Slice(), ops.StridedSlice()
_erf, _relu, _add, _mul = ops.Erf(), ops.ReLU(), ops.Add(), ops.Mul()


class Weights:
    """A checkpoint's tensors under a prefix, by official names; each goes to the device when it is first used."""

    def __init__(
        self, arrays: Mapping[str, Array], prefix: str = "", kept: dict[tuple[str, str], Tensor] | None = None
    ) -> None:
        self._arrays, self._prefix = arrays, prefix
        self._kept: dict[tuple[str, str], Tensor] = {} if kept is None else kept

    def under(self, name: str) -> Weights:
        """Those whose names go on with `name.`."""
        return Weights(self._arrays, f"{self._prefix}{name}.", self._kept)

    def has(self, name: str) -> bool:
        return self._prefix + name in self._arrays

    def array(self, name: str) -> Array:
        return self._arrays[self._prefix + name]

    def __call__(self, name: str, *shape: int) -> Tensor:
        """A tensor, in another shape if one is given."""
        return self.computed(name, lambda array: array.reshape(shape) if shape else array)

    def computed(self, name: str, function: Callable[[Array], Array], kind: str = "") -> Tensor:
        """What a function makes of an array, once. kind: tells several functions of one array apart."""
        key = (self._prefix + name, kind)
        if key not in self._kept:
            self._kept[key] = constant(np.ascontiguousarray(function(self.array(name))))
        return self._kept[key]


def linear(w: Weights, x: Tensor, name: str) -> Tensor:
    """(T, in) -> (T, out). A pointwise convolution is one as well."""
    outputs = len(w.array(f"{name}.weight"))
    product = _matmul(x, w(f"{name}.weight", outputs, -1))
    return _add(product, w(f"{name}.bias")) if w.has(f"{name}.bias") else product


def conv(
    w: Weights, x: Tensor, name: str, padding: int = 0, dilation: int = 1, stride: int = 1, groups: int = 1
) -> Tensor:
    """A convolution over time. (T, in) -> (T', out)."""
    outputs, inputs, taps = w.array(f"{name}.weight").shape
    if padding:
        x = padding_of(padding, padding)(x)
    count = (x.shape[0] - dilation * (taps - 1) - 1) // stride + 1
    shifted = [_every(x, tap * dilation, count, stride) for tap in range(taps)]
    if groups == x.shape[1] == outputs:
        result = _depthwise(w, shifted, name)
    else:
        # Rows of the product: one tap after the other, each with its channels.
        weight = w.computed(f"{name}.weight", lambda a: a.transpose(0, 2, 1).reshape(outputs, taps * inputs))
        result = _product(shifted, weight) if groups == 1 else _grouped(shifted, weight, groups)
    return _add(result, w(f"{name}.bias")) if w.has(f"{name}.bias") else result


def _product(shifted: Sequence[Tensor], weight: Tensor) -> Tensor:
    """shifted: taps of (T, in); weight: (out, taps * in)."""
    return _matmul(shifted[0] if len(shifted) == 1 else _concat(tuple(shifted)), weight)


def _grouped(shifted: Sequence[Tensor], weight: Tensor, groups: int) -> Tensor:
    """As many products as there are groups of channels."""
    split = ops.Split(1, groups)
    parts = zip(*(split(tap) for tap in shifted), strict=True)
    weights = ops.Split(0, groups)(weight)
    return _concat(tuple(_product(part, each) for part, each in zip(parts, weights, strict=True)))


def _depthwise(w: Weights, shifted: Sequence[Tensor], name: str) -> Tensor:
    """Each channel by itself."""
    weights = w.computed(f"{name}.weight", lambda array: array[:, 0].T)
    total = _mul(shifted[0], weights[0])
    for tap, values in enumerate(shifted[1:], start=1):
        total = _add(total, _mul(values, weights[tap]))
    return total


def _every(x: Tensor, first: int, count: int, stride: int) -> Tensor:
    """(count, C): every stride-th frame from the first on."""
    if stride == 1:
        return _slice(x, (first, 0), (count, x.shape[1]))
    return _strided(x, (first, 0), (first + (count - 1) * stride + 1, x.shape[1]), (stride, 1))


def layer_norm(w: Weights, x: Tensor, name: str, eps: float = LAYER_NORM_EPS) -> Tensor:
    """Over the last axis. x: (T, C)."""
    return normalized(x, w(f"{name}.weight"), w(f"{name}.bias"), eps)


def normalized(x: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    """A layer norm with a given gain and bias, both (C,). x: (T, C)."""
    return _layer_norm(eps)(x, gain, bias)[0]


def batch_norm(w: Weights, x: Tensor, name: str) -> Tensor:
    """With the running statistics. x: (T, C)."""
    deviation = np.sqrt(w.array(f"{name}.running_var") + BATCH_NORM_EPS)
    mean, bias = w.array(f"{name}.running_mean"), w.array(f"{name}.bias")
    gain = w.computed(f"{name}.weight", lambda weight: weight / deviation)
    shift = w.computed(f"{name}.bias", lambda _: bias - mean * w.array(f"{name}.weight") / deviation)
    return _add(_mul(x, gain), shift)


def gelu(x: Tensor) -> Tensor:
    """The exact one."""
    return _mul(_mul(x, 0.5), _add(_erf(_mul(x, math.sqrt(0.5))), 1.0))


def relu(x: Tensor) -> Tensor:
    result: Tensor = _relu(x)
    return result


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Every query sees every key. q: (Q, C); k, v: (T, C). Returns (Q, C)."""
    width = q.shape[1] // heads

    def split(x: Tensor) -> Tensor:
        return _transpose(x.reshape(-1, heads, width), (1, 0, 2))

    scores = _match(split(_mul(q, width**-0.5)), split(k))
    mixed = _mix(_softmax(scores), split(v))
    return _transpose(mixed, (1, 0, 2)).reshape(-1, heads * width)


def constant(values: float | Sequence[float] | Array) -> Tensor:
    """float32 on the device."""
    return Tensor(np.asarray(values, np.float32))


@cache
def _layer_norm(eps: float) -> Any:
    return ops.LayerNorm(begin_norm_axis=-1, begin_params_axis=-1, epsilon=eps)


@cache
def padding_of(before: int, after: int) -> Any:
    """The operator that adds silent frames."""
    return ops.Pad(((before, after), (0, 0)))
