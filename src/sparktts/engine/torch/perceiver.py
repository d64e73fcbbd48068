"""Perceiver resampler: a fixed number of learnt queries gathers a clip of any length."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoint.config import SpeakerEncoderConfig


class CrossAttention(nn.Module):
    """Queries attend to themselves and to a context, without positions."""

    def __init__(self, config: SpeakerEncoderConfig) -> None:
        super().__init__()
        dim = config.latent_dim
        self.head_dim = config.perceiver_head_dim
        inner = config.perceiver_heads * self.head_dim
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """queries: (B, Q, dim); context: (B, T, dim). Returns (B, Q, dim)."""
        keys, values = self.to_kv(torch.cat([queries, context], dim=1)).chunk(2, dim=-1)
        split = (-1, self.head_dim)
        heads = (t.unflatten(-1, split).transpose(1, 2) for t in (self.to_q(queries), keys, values))
        attended = F.scaled_dot_product_attention(*heads)
        return cast(Tensor, self.to_out(attended.transpose(1, 2).flatten(2)))


class GatedGelu(nn.Module):
    """The first half of the channels, scaled by the GELU of the second."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., 2 * n). Returns (..., n)."""
        values, gates = x.chunk(2, dim=-1)
        return F.gelu(gates) * values


class RmsNorm(nn.Module):
    """Scales vectors to unit root mean square, then by a gain."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., dim). Returns the same shape."""
        scaled: Tensor = F.normalize(x, dim=-1) * math.sqrt(x.shape[-1]) * self.gamma
        return scaled


def _feed_forward(config: SpeakerEncoderConfig) -> nn.Sequential:
    dim, inner = config.latent_dim, config.ff_inner
    return nn.Sequential(nn.Linear(dim, 2 * inner), GatedGelu(), nn.Linear(inner, dim))


class PerceiverResampler(nn.Module):
    """Frame features of any number to a fixed number of vectors.

    Source: arXiv 2503.01710, section 3; resampler: arXiv 2204.14198, section 3.1.
    """

    def __init__(self, config: SpeakerEncoderConfig) -> None:
        super().__init__()
        self.proj_context = nn.Linear(config.ecapa_features, config.latent_dim)
        self.latents = nn.Parameter(torch.zeros(config.token_num, config.latent_dim))
        self.layers = nn.ModuleList(
            nn.ModuleList([CrossAttention(config), _feed_forward(config)]) for _ in range(config.perceiver_depth)
        )
        self.norm = RmsNorm(config.latent_dim)

    def forward(self, context: Tensor) -> Tensor:
        """context: (B, T, context_dim). Returns (B, queries, dim)."""
        context = self.proj_context(context)
        x = self.latents.expand(len(context), -1, -1)
        for layer in self.layers:
            attention, feed_forward = cast(nn.ModuleList, layer)
            x = x + attention(x, context)
            x = x + feed_forward(x)
        return cast(Tensor, self.norm(x))
