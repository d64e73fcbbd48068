"""The published waveform decoder: frame vectors to samples by transposed convolutions and periodic activations."""

from __future__ import annotations

from functools import cache
from typing import Any

from mindspore import Tensor, ops

from ...checkpoint.config import DecoderConfig
from .layers import Weights, conv

SNAKE_EPS = 1e-9

_sin, _square, _tanh = ops.Sin(), ops.Square(), ops.Tanh()


def wave_generator(w: Weights, x: Tensor, config: DecoderConfig) -> Tensor:
    """(1, channels, 1, T) at the token rate to (1, 1, 1, hop * T) samples in [-1, 1].

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
    alpha = w(f"{name}.alpha", 1, -1, 1, 1)
    inverse = w.computed(f"{name}.alpha", lambda values: 1 / (values + SNAKE_EPS).reshape(1, -1, 1, 1), "inverse")
    return x + _square(_sin(x * alpha)) * inverse


def _upsample(w: Weights, x: Tensor, name: str, kernel: int, rate: int) -> Tensor:
    """A transposed convolution that multiplies the length by exactly `rate`."""
    inputs, outputs, _ = w.array(f"{name}.weight").shape
    convolve = _transposed(inputs, kernel, rate)
    size = (1, outputs, 1, x.shape[3] * rate)
    return convolve(x, w.image(f"{name}.weight"), size) + w(f"{name}.bias", 1, -1, 1, 1)


@cache
def _transposed(inputs: int, kernel: int, rate: int) -> Any:
    padding = (kernel - rate) // 2
    return ops.Conv2DTranspose(inputs, (1, kernel), pad_mode="pad", pad=(0, 0, padding, padding), stride=(1, rate))
