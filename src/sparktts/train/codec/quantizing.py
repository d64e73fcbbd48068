"""The semantic quantiser while it learns: its losses, and entries that nothing falls on get a new place."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...checkpoint.config import QuantizerConfig
from ...engine.torch.vector_quantizer import SemanticQuantizer
from ..run import Run
from .processes import sum_of_all

DECAY = 0.99
CANDIDATES = 2048  # vectors of each process among which new entries are drawn
GRACE = 1.5  # thresholds that a moved entry is counted as at first: it has 40 steps to be of use
JITTER = 0.01  # of their deviation, so that no two are equal


class Quantized(NamedTuple):
    vectors: Tensor  # (B, input_dim, T)
    tokens: Tensor  # (B, T)
    latent: Tensor  # (B, codebook_dim, T), what was quantised
    loss: Tensor
    spread: Tensor  # how unevenly the frames' directions fill the dimensions of the codebook, 0 or more


class LearningQuantizer(SemanticQuantizer):
    """The same network with a running count of frames per entry and step, `cluster_size`, as in published files."""

    cluster_size: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        self.config = config
        self.register_buffer("cluster_size", torch.zeros(config.codebook_size))

    def learn(self, z: Tensor, continuous: bool = False) -> Quantized:
        """z: (B, input_dim, T). The loss pulls frames to their entries, and entries to their frames; where entries are
        found by direction, as if all values varied by 1.

        continuous: the vectors are those of the frames themselves, which no entry draws near yet.
        """
        latent = self.in_project(z)
        tokens = self._nearest(latent)
        entries = self.codebook(tokens).transpose(1, 2)
        spread, unit = unevenness(latent), 1.0
        if self.by_direction:
            # Only directions tell entries apart. Lengths would be pushed by gradients that they cannot follow, and grow
            # until entries lag behind; so frames get the length of their entries, and entries keep theirs.
            length = entries.detach().norm(dim=1, keepdim=True)
            latent, entries = F.normalize(latent, dim=1) * length, F.normalize(entries, dim=1) * length
            unit = math.sqrt(latent.shape[1]) / length
        if continuous:
            return Quantized(self.out_project(latent), tokens, latent, 0.0 * entries.sum(), spread)
        commitment = F.mse_loss(latent * unit, entries.detach() * unit)
        codebook = F.mse_loss(entries * unit, latent.detach() * unit)
        loss = self.config.commitment * commitment + self.config.codebook_loss_weight * codebook
        return Quantized(self.out_project(latent + (entries - latent).detach()), tokens, latent, loss, spread)

    @torch.no_grad()
    def revive(self, run: Run, tokens: Tensor, latent: Tensor, generator: np.random.Generator) -> Tensor:
        """Counts, and moves entries that hardly anything falls on to frames of this step. Returns which moved.

        Equal in all processes: counts are summed, frames gathered, generator shared.
        The threshold is that of the configuration, in frames per step, scaled where a step has fewer frames than
        there are entries.
        """
        counts = run.sum(torch.bincount(tokens.flatten(), minlength=len(self.cluster_size)).float())
        frames = float(tokens.numel() * run.world_size)
        share = frames / len(self.cluster_size)
        self.cluster_size.mul_(DECAY).add_(counts, alpha=1 - DECAY)
        threshold = self.config.threshold_ema_dead_code * min(1.0, share)
        dead = (self.cluster_size < threshold).nonzero().flatten()
        if not len(dead):
            return dead
        own = latent.detach().float().transpose(1, 2).flatten(0, 1)
        own = own[torch.linspace(0, len(own) - 1, min(len(own), CANDIDATES), device=own.device).long()]
        found = run.gather(own)
        picked = generator.choice(len(found), len(dead), replace=len(dead) > len(found))
        noise = torch.from_numpy(generator.standard_normal((len(dead), found.shape[1])).astype(np.float32))
        new = found[torch.from_numpy(picked).to(found.device)]
        self.codebook.weight[dead] = new + JITTER * found.std(dim=0) * noise.to(new.device)
        self.cluster_size[dead] = GRACE * threshold
        return dead


def unevenness(latent: Tensor) -> Tensor:
    """Mean negative logarithm of the variances of directions along their axes, in units of an even share.

    latent: (B, dims, T) of each process; all count together. 0 when all dimensions are used alike; large when some are
    not used at all, as happens where entries follow the frames and frames the entries: most of what a token could tell
    is lost then.
    """
    directions = F.normalize(latent.transpose(1, 2).flatten(0, 1), dim=1)
    dims, total = directions.shape[1], sum_of_all(torch.full((), float(len(directions)), device=latent.device))
    centred = directions - sum_of_all(directions.sum(dim=0)) / total
    moments = sum_of_all(centred.T @ centred) / total * dims
    floor = 1e-4 * torch.eye(dims, device=moments.device)
    return -torch.logdet(moments + floor) / dims
