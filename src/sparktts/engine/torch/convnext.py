"""ConvNeXt networks over frames, as BiCodec uses them before and after its quantiser."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoint.config import BackboneConfig

NORM_EPS = 1e-6


class AdaptiveLayerNorm(nn.Module):
    """Layer norm whose gain and bias are linear functions of a condition vector."""

    def __init__(self, condition_dim: int, dim: int) -> None:
        super().__init__()
        self.scale = nn.Linear(condition_dim, dim)
        self.shift = nn.Linear(condition_dim, dim)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x: (B, T, dim); condition: (B, condition_dim). Returns (B, T, dim)."""
        normed = F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)
        scale: Tensor = self.scale(condition)
        shift: Tensor = self.shift(condition)
        return normed * scale.unsqueeze(1) + shift.unsqueeze(1)


def _make_norm(dim: int, condition_dim: int) -> nn.Module:
    if not condition_dim:
        return nn.LayerNorm(dim, eps=NORM_EPS)
    return AdaptiveLayerNorm(condition_dim, dim)


def _apply_norm(norm: nn.Module, x: Tensor, condition: Tensor | None) -> Tensor:
    normed: Tensor = norm(x, condition) if isinstance(norm, AdaptiveLayerNorm) else norm(x)
    return normed


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a pointwise network, added to the input."""

    def __init__(self, dim: int, hidden: int, kernel: int, condition_dim: int = 0) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = _make_norm(dim, condition_dim)
        self.pwconv1 = nn.Linear(dim, hidden)
        self.pwconv2 = nn.Linear(hidden, dim)
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """x: (B, dim, T); condition: (B, condition_dim). Returns (B, dim, T)."""
        frames = _apply_norm(self.norm, self.dwconv(x).transpose(1, 2), condition)
        change: Tensor = self.gamma * self.pwconv2(F.gelu(self.pwconv1(frames)))
        return x + change.transpose(1, 2)


class ConvNeXtBackbone(nn.Module):
    """A stack of ConvNeXt blocks at one frame rate, optionally conditioned through its norms.

    Source: Vocos (arXiv 2306.00814), section 3.
    """

    def __init__(self, input_channels: int, layers: int, config: BackboneConfig, condition_dim: int = 0) -> None:
        super().__init__()
        dim, kernel = config.vocos_dim, config.kernel_size
        self.embed = nn.Conv1d(input_channels, dim, kernel, padding=kernel // 2)
        self.norm = _make_norm(dim, condition_dim)
        self.convnext = nn.ModuleList(
            ConvNeXtBlock(dim, config.vocos_intermediate_dim, kernel, condition_dim) for _ in range(layers)
        )
        self.final_layer_norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """x: (B, input_channels, T); condition: (B, condition_dim). Returns (B, T, dim)."""
        x = _apply_norm(self.norm, self.embed(x).transpose(1, 2), condition).transpose(1, 2)
        for block in self.convnext:
            x = block(x, condition)
        normed: Tensor = self.final_layer_norm(x.transpose(1, 2))
        return normed


class SameRate(nn.Module):
    """The published resampling block at ratio 1: main path and both skips are the input, so it triples."""

    def forward(self, x: Tensor) -> Tensor:
        return 3.0 * x


def resampling_stages(config: BackboneConfig) -> nn.Sequential:
    """One resampling block and a short backbone per ratio; the config allows ratios of 1 only.

    Each stage maps (B, dim, T) to (B, T, dim): use `run_stages`.
    """
    dim, layers = config.vocos_dim, config.sampling_block_layers
    return nn.Sequential(
        *(nn.Sequential(SameRate(), ConvNeXtBackbone(dim, layers, config)) for _ in config.sample_ratios)
    )


def run_stages(stages: nn.Sequential, frames: Tensor) -> Tensor:
    """Applies `resampling_stages`. frames: (B, T, dim). Returns (B, T, dim)."""
    for stage in stages:
        frames = stage(frames.transpose(1, 2))
    return frames
