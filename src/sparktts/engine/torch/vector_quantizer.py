"""The semantic codebook: factorised vector quantisation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoint.config import QuantizerConfig


class SemanticQuantizer(nn.Module):
    """One codebook in a narrow space; a frame's token is the nearest entry, by direction or by distance.

    Source: arXiv 2503.01710, section 3; factorised codes: arXiv 2110.04627, section 3.2.
    """

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.in_project = nn.Conv1d(config.input_dim, config.codebook_dim, kernel_size=1)
        self.out_project = nn.Conv1d(config.codebook_dim, config.input_dim, kernel_size=1)
        self.codebook = nn.Embedding(config.codebook_size, config.codebook_dim)
        self.by_direction = config.use_l2_normalize

    def quantize(self, z: Tensor) -> Tensor:
        """Tokens of encoder outputs. z: (B, input_dim, T). Returns (B, T) int64."""
        return self._nearest(self.in_project(z))

    def embed(self, tokens: Tensor) -> Tensor:
        """Vectors of tokens. tokens: (B, T) int64. Returns (B, input_dim, T)."""
        vectors: Tensor = self.out_project(self.codebook(tokens).transpose(1, 2))
        return vectors

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Quantised vectors (B, input_dim, T), through which gradients pass straight, and tokens (B, T)."""
        latent = self.in_project(z)
        tokens = self._nearest(latent)
        entries = self.codebook(tokens).transpose(1, 2)
        return self.out_project(latent + (entries - latent).detach()), tokens

    def _nearest(self, latent: Tensor) -> Tensor:
        frames, entries = latent.transpose(1, 2), self.codebook.weight
        if self.by_direction:
            frames, entries = F.normalize(frames, dim=-1), F.normalize(entries, dim=-1)
        # Squared distance, less the part that is the same for every entry.
        return (entries.square().sum(dim=-1) - 2 * (frames @ entries.T)).argmin(dim=-1)
