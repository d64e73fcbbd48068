"""ECAPA-TDNN, the network that listens to who is speaking. Source: arXiv 2005.07143."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoint.config import SpeakerEncoderConfig

VARIANCE_FLOOR = 1e-7


class ConvReluNorm(nn.Module):
    """Convolution, ReLU, batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, inputs, T). Returns (B, outputs, T)."""
        return cast(Tensor, self.bn(F.relu(self.conv(x))))


class Res2Conv(nn.Module):
    """Convolves groups of channels in turn, each with the result of the one before; the last group passes."""

    def __init__(self, config: SpeakerEncoderConfig, dilation: int) -> None:
        super().__init__()
        self.width = config.ecapa_channels // config.ecapa_scale
        kernel, count = config.ecapa_kernel, config.ecapa_scale - 1
        padding = dilation * (kernel // 2)
        self.convs = nn.ModuleList(
            nn.Conv1d(self.width, self.width, kernel, padding=padding, dilation=dilation) for _ in range(count)
        )
        self.bns = nn.ModuleList(nn.BatchNorm1d(self.width) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, channels, T). Returns the same shape."""
        groups = torch.split(x, self.width, dim=1)
        outputs: list[Tensor] = []
        for group, conv, bn in zip(groups, self.convs, self.bns, strict=False):
            outputs.append(bn(F.relu(conv(group + outputs[-1] if outputs else group))))
        return torch.cat([*outputs, groups[-1]], dim=1)


class ChannelGate(nn.Module):
    """Squeeze and excitation: scales each channel by a function of all channels' means."""

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, bottleneck)
        self.linear2 = nn.Linear(bottleneck, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, channels, T). Returns the same shape."""
        gate = torch.sigmoid(self.linear2(F.relu(self.linear1(x.mean(dim=2)))))
        return x * gate.unsqueeze(2)


class Res2Block(nn.Module):
    """A Res2 convolution between two pointwise ones, gated, added to the input."""

    def __init__(self, config: SpeakerEncoderConfig, dilation: int) -> None:
        super().__init__()
        channels = config.ecapa_channels
        self.se_res2block = nn.Sequential(
            ConvReluNorm(channels, channels),
            Res2Conv(config, dilation),
            ConvReluNorm(channels, channels),
            ChannelGate(channels, config.ecapa_se_bottleneck),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, channels, T). Returns the same shape."""
        return x + cast(Tensor, self.se_res2block(x))


class AttentivePooling(nn.Module):
    """Mean and deviation over time; each channel weighs the frames by attention that sees the whole clip."""

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.linear1 = nn.Conv1d(3 * channels, bottleneck, kernel_size=1)
        self.linear2 = nn.Conv1d(bottleneck, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, channels, T). Returns (B, 2 * channels)."""
        mean = x.mean(dim=2, keepdim=True).expand_as(x)
        deviation = (x.var(dim=2, keepdim=True) + VARIANCE_FLOOR).sqrt().expand_as(x)
        scores = self.linear2(torch.tanh(self.linear1(torch.cat([x, mean, deviation], dim=1))))
        weights = scores.softmax(dim=2)
        mean = (weights * x).sum(dim=2)
        variance = (weights * x.square()).sum(dim=2) - mean.square()
        return torch.cat([mean, variance.clamp(min=VARIANCE_FLOOR).sqrt()], dim=1)


class EcapaTdnn(nn.Module):
    """Mel spectrogram of a clip to frame features and to one vector of the voice."""

    def __init__(self, config: SpeakerEncoderConfig) -> None:
        super().__init__()
        channels, features = config.ecapa_channels, config.ecapa_features
        self.layer1 = ConvReluNorm(config.input_dim, channels, config.ecapa_first_kernel)
        for number, dilation in enumerate(config.ecapa_dilations, start=2):
            self.add_module(f"layer{number}", Res2Block(config, dilation))
        self.depth = len(config.ecapa_dilations)
        self.conv = nn.Conv1d(self.depth * channels, features, kernel_size=1)
        self.pool = AttentivePooling(features, config.ecapa_pool_bottleneck)
        self.bn = nn.BatchNorm1d(2 * features)
        self.linear = nn.Linear(2 * features, config.out_dim)

    def features(self, mel: Tensor) -> Tensor:
        """Frame features. mel: (B, mel_bins, T). Returns (B, features, T)."""
        x = self.layer1(mel)
        outputs: list[Tensor] = []
        for number in range(2, 2 + self.depth):
            x = self.get_submodule(f"layer{number}")(x)
            outputs.append(x)
        return F.relu(self.conv(torch.cat(outputs, dim=1)))

    def x_vector(self, features: Tensor) -> Tensor:
        """The clip's voice as one continuous vector. features: (B, features, T). Returns (B, out_dim)."""
        return cast(Tensor, self.linear(self.bn(self.pool(features))))

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """mel: (B, mel_bins, T). Returns the x-vector (B, out_dim) and the features (B, features, T)."""
        features = self.features(mel)
        return self.x_vector(features), features
