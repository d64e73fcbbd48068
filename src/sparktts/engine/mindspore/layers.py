"""Layers as functions over a checkpoint's tensors, from operators that both the CPU and Ascend have.

Frames are (T, C); signals are (1, C, 1, T), as convolutions exist for images only. One clip at a time: no batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
_erf, _relu, _add, _mul, _sub = ops.Erf(), ops.ReLU(), ops.Add(), ops.Mul(), ops.Sub()


class Weights:
    """A checkpoint's tensors under a prefix, by official names; each goes to the device when it is first used.

    `unused` tells which ones never were: none, after a network has run.
    """

    def __init__(self, arrays: Mapping[str, Array], prefix: str = "", used: dict[Any, Tensor] | None = None) -> None:
        self._arrays, self._prefix = arrays, prefix
        self._used: dict[Any, Tensor] = {} if used is None else used

    @property
    def unused(self) -> set[str]:
        """Names of tensors that nothing has asked for."""
        return set(self._arrays) - {name for name, _ in self._used}

    def under(self, name: str) -> Weights:
        """Those whose names go on with `name.`."""
        return Weights(self._arrays, f"{self._prefix}{name}.", self._used)

    def has(self, name: str) -> bool:
        return self._prefix + name in self._arrays

    def __call__(self, name: str, *shape: int) -> Tensor:
        """A tensor, in another shape if one is given."""
        return self.computed(name, lambda array: array.reshape(shape) if shape else array)

    def image(self, name: str) -> Tensor:
        """Weights of a convolution over lines as those of one over images: (O, I, K) -> (O, I, 1, K)."""
        return self.computed(name, lambda array: array[:, :, None], "image")

    def computed(self, name: str, function: Any, kind: str = "") -> Tensor:
        """What a function makes of an array, once."""
        key = (self._prefix + name, kind)
        if key not in self._used:
            array = np.ascontiguousarray(function(self.array(name)), np.float32)
            self._used[key] = Tensor(array)
        return self._used[key]

    def array(self, name: str) -> Array:
        return self._arrays[self._prefix + name]

    def note(self, *names: str) -> None:
        """Counts tensors as used that go into others."""
        for name in names:
            self._used.setdefault((self._prefix + name, "note"), None)


def linear(w: Weights, x: Tensor, name: str) -> Tensor:
    """(T, in) -> (T, out). A pointwise convolution is one as well."""
    outputs = len(w.array(f"{name}.weight"))
    product = _matmul(x, w(f"{name}.weight", outputs, -1))
    return _add(product, w(f"{name}.bias")) if w.has(f"{name}.bias") else product


def conv(
    w: Weights, x: Tensor, name: str, padding: int = 0, dilation: int = 1, stride: int = 1, groups: int = 1
) -> Tensor:
    """A convolution over time. (1, in, 1, T) -> (1, out, 1, T')."""
    outputs, _, kernel = w.array(f"{name}.weight").shape
    convolve = _convolution(outputs, kernel, padding, dilation, stride, groups)
    signal = convolve(x, w.image(f"{name}.weight"))
    return _add(signal, w(f"{name}.bias", 1, -1, 1, 1)) if w.has(f"{name}.bias") else signal


def layer_norm(w: Weights, x: Tensor, name: str, eps: float = LAYER_NORM_EPS) -> Tensor:
    """Over the last axis. x: (T, C)."""
    return normalized(x, w(f"{name}.weight"), w(f"{name}.bias"), eps)


def normalized(x: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    """A layer norm with a given gain and bias, both (C,). x: (T, C)."""
    return _layer_norm(eps)(x, gain, bias)[0]


def batch_norm(w: Weights, x: Tensor, name: str) -> Tensor:
    """With the running statistics. x: (1, C, 1, T)."""
    deviation = np.sqrt(w.array(f"{name}.running_var") + BATCH_NORM_EPS)
    mean, bias = w.array(f"{name}.running_mean"), w.array(f"{name}.bias")
    shape = (1, -1, 1, 1)
    gain = w.computed(f"{name}.weight", lambda weight: (weight / deviation).reshape(shape))
    shift = w.computed(f"{name}.bias", lambda _: (bias - mean * w.array(f"{name}.weight") / deviation).reshape(shape))
    w.note(f"{name}.running_var", f"{name}.running_mean")
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


def signal(frames: Tensor) -> Tensor:
    """(T, C) -> (1, C, 1, T)."""
    return _transpose(frames, (1, 0)).reshape(1, frames.shape[1], 1, frames.shape[0])


def frames(signal: Tensor) -> Tensor:
    """(1, C, 1, T) -> (T, C)."""
    return _transpose(signal.reshape(signal.shape[1], signal.shape[3]), (1, 0))


def constant(values: float | Sequence[float] | Array) -> Tensor:
    """float32 on the device."""
    return Tensor(np.asarray(values, np.float32))


@cache
def _layer_norm(eps: float) -> Any:
    return ops.LayerNorm(begin_norm_axis=-1, begin_params_axis=-1, epsilon=eps)


@cache
def _convolution(outputs: int, kernel: int, padding: int, dilation: int, stride: int, groups: int) -> Any:
    pad = (0, 0, padding, padding)
    return ops.Conv2D(
        outputs, (1, kernel), pad_mode="pad", pad=pad, stride=(1, stride), dilation=(1, dilation), group=groups
    )
