"""A decoder at the token rate: ConvNeXt, then an inverse STFT. Source: Vocos, arXiv 2306.00814."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ...audio.spectra import LOUDEST
from ...checkpoint.config import VocosConfig
from .convnext import ConvNeXtBackbone


class VocosDecoder(nn.Module):
    """Frame vectors to samples, some 50 times cheaper than transposed convolutions.

    Frame t is centred on sample hop * t + hop / 2.
    """

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.hop, self.n_fft = config.hop, config.n_fft
        self.backbone = ConvNeXtBackbone(config.input_channel, config.vocos_num_layers, config.backbone)
        self.head = nn.Linear(config.vocos_dim, config.n_fft + 2)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, input_channel, T) at the token rate. Returns (B, hop * T) samples, unbounded."""
        # The spectrum in float32, whatever the network computes in.
        magnitude, phase = cast(Tensor, self.head(self.backbone(x))).float().chunk(2, dim=-1)
        magnitude = magnitude.exp().clamp(max=LOUDEST)
        window = torch.hann_window(self.n_fft, device=x.device)
        frames = torch.fft.irfft(torch.complex(magnitude * phase.cos(), magnitude * phase.sin()), self.n_fft)
        weight = overlap_add(window.square().expand(1, frames.shape[1], -1), self.hop)
        edge = (self.n_fft - self.hop) // 2
        length = self.hop * frames.shape[1]
        samples = overlap_add(frames * window, self.hop) / weight.clamp(min=1e-8)
        return samples[:, edge : edge + length]


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """(B, T, n) frames, each hop after the one before -> (B, hop * T + n' - hop), n' = n rounded up to a multiple."""
    batch, count, size = frames.shape
    parts = -(-size // hop)
    if size < parts * hop:
        frames = torch.nn.functional.pad(frames, (0, parts * hop - size))
    pieces = frames.reshape(batch, count, parts, hop)
    total = frames.new_zeros(batch, count + parts - 1, hop)
    for part in range(parts):
        total = total + torch.nn.functional.pad(pieces[:, :, part], (0, 0, part, parts - 1 - part))
    return total.flatten(1)
