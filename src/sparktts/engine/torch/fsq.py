"""Finite scalar quantisation: each latent dimension is rounded to one of a few levels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

BOUND_EPS = 1e-3


class FiniteScalarQuantizer(nn.Module):
    """Vectors to single integers and back; the first level varies fastest within the integer.

    Source: arXiv 2309.15505, section 3.
    """

    def __init__(self, dim: int, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.project_in = nn.Linear(dim, len(self.levels))
        self.project_out = nn.Linear(len(self.levels), dim)

    @property
    def codebook_size(self) -> int:
        return math.prod(self.levels)

    def quantize(self, x: Tensor) -> Tensor:
        """Codes of vectors. x: (..., dim). Returns (...) int64."""
        return self._to_codes(torch.round(self._bound(self.project_in(x))))

    def embed(self, codes: Tensor) -> Tensor:
        """Vectors of codes. codes: (...) int64. Returns (..., dim)."""
        levels, strides = self._levels(codes.device)
        digits = (codes.unsqueeze(-1) // strides) % levels
        half = levels // 2
        vectors: Tensor = self.project_out((digits - half).to(self.project_out.weight.dtype) / half)
        return vectors

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Quantised vectors (..., dim), through which gradients pass straight, and codes (...)."""
        bounded = self._bound(self.project_in(x))
        rounded = bounded + (torch.round(bounded) - bounded).detach()
        half = self._levels(x.device)[0] // 2
        return self.project_out(rounded / half), self._to_codes(rounded.detach().round())

    def _bound(self, z: Tensor) -> Tensor:
        """Squashes each dimension so that rounding yields exactly its number of levels."""
        levels = self._levels(z.device)[0].to(z.dtype)
        half = (levels - 1) * (1 + BOUND_EPS) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0).to(z.dtype)  # an even count has no middle level
        return torch.tanh(z + torch.atanh(offset / half)) * half - offset

    def _to_codes(self, rounded: Tensor) -> Tensor:
        levels, strides = self._levels(rounded.device)
        return ((rounded.to(torch.int64) + levels // 2) * strides).sum(dim=-1)

    def _levels(self, device: torch.device) -> tuple[Tensor, Tensor]:
        strides = [math.prod(self.levels[:i]) for i in range(len(self.levels))]
        return torch.tensor(self.levels, device=device), torch.tensor(strides, device=device)
