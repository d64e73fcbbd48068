"""The published waveform decoder: frame vectors to samples by transposed convolutions and periodic activations."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, ops

from ...checkpoint.config import DecoderConfig
from .layers import Array, Weights, conv, padding_of

SNAKE_EPS = 1e-9

_matmul, _slice = ops.MatMul(transpose_b=True), ops.Slice()
_sin, _square, _tanh = ops.Sin(), ops.Square(), ops.Tanh()


def wave_generator(w: Weights, x: Tensor, config: DecoderConfig) -> Tensor:
    """(T, channels) at the token rate to (hop * T, 1) samples in [-1, 1].

    Source: arXiv 2503.01710, section 3; after the decoder of arXiv 2306.06546.
    """
    half = config.kernel_size // 2
    x = conv(w, x, "model.0", half)
    for number, (kernel, rate) in enumerate(zip(config.kernel_sizes, config.rates, strict=True), start=1):
        part = w.under(f"model.{number}.block")
        x = _upsample(part, _snake(part, x, "0"), "1", kernel, rate)
        for unit, dilation in enumerate(config.dilations, start=2):
            x = _residual(part.under(f"{unit}.block"), x, half, dilation)
    last = len(config.rates) + 1
    return _tanh(conv(w, _snake(w, x, f"model.{last}"), f"model.{last + 1}", half))


def _residual(w: Weights, x: Tensor, half: int, dilation: int) -> Tensor:
    """A dilated and a pointwise convolution, each after a Snake, added to the input."""
    y = conv(w, _snake(w, x, "0"), "1", dilation * half, dilation)
    return x + conv(w, _snake(w, y, "2"), "3")


def _snake(w: Weights, x: Tensor, name: str) -> Tensor:
    """x + sin(alpha x)^2 / alpha, one alpha per channel. Source: arXiv 2006.08195."""
    alpha = w(f"{name}.alpha", -1)
    inverse = w.computed(f"{name}.alpha", lambda values: 1 / (values + SNAKE_EPS).reshape(-1), "inverse")
    return x + _square(_sin(x * alpha)) * inverse


def _upsample(w: Weights, x: Tensor, name: str, kernel: int, rate: int) -> Tensor:
    """A transposed convolution that multiplies the length by exactly `rate`.

    Each frame gives `kernel` samples, of which the next frame's overlap all but `rate`.
    """
    inputs, outputs, _ = w.array(f"{name}.weight").shape
    parts = -(-kernel // rate)

    def arranged(weight: Array) -> Array:
        """(in, out, kernel) -> (parts * rate * out, in): samples in order, filled up to whole parts."""
        filled = np.pad(weight, ((0, 0), (0, 0), (0, parts * rate - kernel)))
        return filled.transpose(2, 1, 0).reshape(-1, inputs)

    pieces = ops.Split(1, parts)(_matmul(x, w.computed(f"{name}.weight", arranged)))
    total = padding_of(0, parts - 1)(pieces[0])
    for part in range(1, parts):
        total = total + padding_of(part, parts - 1 - part)(pieces[part])
    samples, first = total.reshape(-1, outputs), (kernel - rate) // 2
    return _slice(samples, (first, 0), (x.shape[0] * rate, outputs)) + w(f"{name}.bias")
