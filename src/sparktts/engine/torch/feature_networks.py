"""BiCodec's networks on both sides of the semantic quantiser: encoder, prenet and postnet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...checkpoint.config import BackboneConfig
from .convnext import ConvNeXtBackbone, resampling_stages, run_stages


class SemanticEncoder(nn.Module):
    """Features of a self-supervised speech model to the vectors that are quantised.

    Source: arXiv 2503.01710, section 3.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.encoder = ConvNeXtBackbone(config.input_channels, config.vocos_num_layers, config)
        self.downsample = resampling_stages(config)
        self.project = nn.Linear(config.vocos_dim, config.out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """features: (B, input_channels, T). Returns (B, out_channels, T)."""
        frames = run_stages(self.downsample, self.encoder(features))
        projected: Tensor = self.project(frames)
        return projected.transpose(1, 2)


class FeatureDecoder(nn.Module):
    """Quantised vectors back to features: the prenet, conditioned on the voice, and the plain postnet.

    Source: arXiv 2503.01710, section 3.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.linear_pre = nn.Linear(config.input_channels, config.vocos_dim)
        self.downsample = resampling_stages(config)
        self.vocos_backbone = ConvNeXtBackbone(config.vocos_dim, config.vocos_num_layers, config, config.condition_dim)
        self.linear = nn.Linear(config.vocos_dim, config.out_channels)
        self.tanh = config.use_tanh_at_final

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """x: (B, input_channels, T); condition: (B, condition_dim). Returns (B, out_channels, T)."""
        frames = run_stages(self.downsample, self.linear_pre(x.transpose(1, 2)))
        frames = self.linear(self.vocos_backbone(frames.transpose(1, 2), condition)).transpose(1, 2)
        return torch.tanh(frames) if self.tanh else frames
