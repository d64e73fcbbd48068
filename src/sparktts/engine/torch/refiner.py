"""Corrects the spectrum of a source-filter decoder's samples: what envelopes and a source cannot tell."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...audio.spectra import GAIN_LIMITS, QUIETEST
from ...checkpoint.config import RefinerConfig
from .convnext import ConvNeXtBackbone
from .vocos_decoder import overlap_add


class Refiner(nn.Module):
    """Multiplies each bin of a short-time spectrum by a complex number; untrained, by one.

    The phase of harmonics comes with the samples, so only its error is learnt. Frame j of the spectrum is centred on
    sample hop * j + hop / 2.
    """

    def __init__(self, config: RefinerConfig, input_channel: int, token_hop: int) -> None:
        super().__init__()
        self.config, self.rate = config, token_hop // config.hop
        bins = config.n_fft // 2 + 1
        self.backbone = ConvNeXtBackbone(bins + input_channel, config.vocos_num_layers, config.backbone)
        self.head = nn.Linear(config.vocos_dim, 2 * bins)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, samples: Tensor, x: Tensor) -> Tensor:
        """samples: (B, token_hop * T); x: (B, input_channel, T), the frames that they were made of.

        Returns (B, token_hop * T) samples.
        """
        hop, n_fft = self.config.hop, self.config.n_fft
        edge = (n_fft - hop) // 2
        window = torch.hann_window(n_fft, device=samples.device)
        spectrum = torch.fft.rfft(F.pad(samples, (edge, edge)).unfold(1, n_fft, hop) * window)
        level = spectrum.abs().clamp(min=QUIETEST).log().transpose(1, 2)
        heard = torch.cat([level, x.repeat_interleave(self.rate, dim=2)], dim=1)
        gain, turn = cast(Tensor, self.head(self.backbone(heard))).float().chunk(2, dim=-1)
        frames = torch.fft.irfft(spectrum * torch.polar(gain.clamp(*GAIN_LIMITS).exp(), turn), n_fft) * window
        weight = overlap_add(window.square().expand(1, frames.shape[1], -1), hop)
        refined = overlap_add(frames, hop) / weight.clamp(min=1e-8)
        return refined[:, edge : edge + samples.shape[1]]
