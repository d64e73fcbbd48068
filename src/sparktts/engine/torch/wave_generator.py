"""BiCodec's waveform decoder: frame vectors to samples by transposed convolutions and periodic activations.

Inside, signals are (B, C, 1, T): as 2-D images they can be channels-last, the layout in which processors
convolve long signals of few channels fastest (the whole generator takes about half the time).
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoint.config import DecoderConfig

SNAKE_EPS = 1e-9


class Snake(nn.Module):
    """x + sin(alpha x)^2 / alpha, one alpha per channel. Source: arXiv 2006.08195."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, channels, 1, T). Returns the same shape."""
        alpha = self.alpha.unsqueeze(2)
        wave = x * alpha
        if torch.is_grad_enabled():
            return torch.addcmul(x, wave.sin().square(), (alpha + SNAKE_EPS).reciprocal())
        # The same in one buffer: this is bound by memory.
        return torch.addcmul(x, wave.sin_().square_(), (alpha + SNAKE_EPS).reciprocal(), out=wave)


class TimeConv(nn.Conv1d):
    """A 1-D convolution with "same" padding over (B, C, 1, T)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, inputs, 1, T). Returns (B, outputs, 1, T)."""
        weight = self.weight.unsqueeze(2)
        padding, dilation = cast(int, self.padding[0]), self.dilation[0]
        return F.conv2d(x, weight, self.bias, padding=(0, padding), dilation=(1, dilation))


class TimeUpsample(nn.ConvTranspose1d):
    """A transposed 1-D convolution over (B, C, 1, T) that multiplies the length by exactly `rate`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, rate: int) -> None:
        super().__init__(inputs, outputs, kernel, stride=rate, padding=(kernel - rate) // 2)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """x: (B, inputs, 1, T). Returns (B, outputs, 1, rate * T)."""
        weight = self.weight.unsqueeze(2)
        padding, stride = cast(int, self.padding[0]), self.stride[0]
        return F.conv_transpose2d(x, weight, self.bias, stride=(1, stride), padding=(0, padding))


class ResidualUnit(nn.Module):
    """A dilated and a pointwise convolution, each after a Snake, added to the input."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            Snake(channels),
            TimeConv(channels, channels, kernel, dilation),
            Snake(channels),
            TimeConv(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, channels, 1, T). Returns the same shape."""
        return cast(Tensor, self.block(x)).add_(x)


class UpsamplingBlock(nn.Module):
    """Multiplies the rate, then refines the result by residual units of growing dilation."""

    def __init__(self, inputs: int, kernel: int, rate: int, config: DecoderConfig) -> None:
        super().__init__()
        outputs = inputs // 2
        self.block = nn.Sequential(
            Snake(inputs),
            TimeUpsample(inputs, outputs, kernel, rate),
            *(ResidualUnit(outputs, config.kernel_size, dilation) for dilation in config.dilations),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, inputs, 1, T). Returns (B, inputs // 2, 1, rate * T)."""
        return cast(Tensor, self.block(x))


class WaveGenerator(nn.Module):
    """Source: arXiv 2503.01710, section 3; after the decoder of arXiv 2306.06546."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        channels = config.channels
        layers: list[nn.Module] = [TimeConv(config.input_channel, channels, config.kernel_size)]
        for kernel, rate in zip(config.kernel_sizes, config.rates, strict=True):
            layers.append(UpsamplingBlock(channels, kernel, rate, config))
            channels //= 2
        layers += [Snake(channels), TimeConv(channels, 1, config.kernel_size), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, input_channel, T) at the token rate. Returns (B, hop * T) samples in [-1, 1]."""
        image = x.unsqueeze(2)
        if x.device.type == "cpu":
            image = image.contiguous(memory_format=torch.channels_last)
        return cast(Tensor, self.model(image)).flatten(1)

    def arrange_for_cpu(self) -> None:
        """Stores the weights channels-last, so that convolutions have less to rearrange in every call."""
        for layer in self.modules():
            if isinstance(layer, TimeConv | TimeUpsample):
                by_channel = layer.weight.detach().transpose(1, 2).contiguous().transpose(1, 2)
                layer.weight = nn.Parameter(by_channel, requires_grad=layer.weight.requires_grad)
