"""Networks that learn to tell recordings from what the codec makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from .options import DiscriminatorOptions

SLOPE = 0.1
BANDS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # edges, as shares of the spectrum


def _conv(inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)) -> nn.Module:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return cast(nn.Module, weight_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding)))


class PeriodDiscriminator(nn.Module):
    """Looks at samples that are `period` apart. Source: HiFi-GAN, arXiv 2010.05646, section 2.3."""

    def __init__(self, period: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.period = period
        widths = [1, *channels]
        self.convs = nn.ModuleList(
            _conv(a, b, (5, 1), (3 if i < len(channels) - 1 else 1, 1))
            for i, (a, b) in enumerate(zip(widths, channels, strict=False))
        )
        self.verdict = _conv(widths[-1], 1, (3, 1))

    def forward(self, samples: Tensor) -> list[Tensor]:
        """samples: (B, N). Returns every layer's output, the verdict last."""
        samples = F.pad(samples, (0, -samples.shape[1] % self.period), mode="reflect")
        x, layers = samples.view(len(samples), 1, -1, self.period), []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
            layers.append(x)
        return [*layers, self.verdict(x)]


class BandDiscriminator(nn.Module):
    """Looks at the complex spectrum of one resolution, each band with layers of its own.

    Source: arXiv 2306.06546, section 3.3.
    """

    def __init__(self, window: int, channels: int) -> None:
        super().__init__()
        self.window = window
        bins = window // 2 + 1
        self.edges = [round(edge * bins) for edge in BANDS]
        self.bands = nn.ModuleList(self._stack(channels) for _ in BANDS[1:])
        self.verdict = _conv(channels, 1, (3, 3))

    def _stack(self, channels: int) -> nn.ModuleList:
        strided = [_conv(channels, channels, (3, 9), (1, 2)) for _ in range(3)]
        return nn.ModuleList([_conv(2, channels, (3, 9)), *strided, _conv(channels, channels, (3, 3))])

    def forward(self, samples: Tensor) -> list[Tensor]:
        """samples: (B, N). Returns every layer's output, the verdict last."""
        window = torch.hann_window(self.window, device=samples.device)
        spectrum = torch.stft(
            samples.float(), self.window, self.window // 4, window=window, pad_mode="reflect", return_complex=True
        )
        image = torch.view_as_real(spectrum).permute(0, 3, 2, 1)  # (B, 2, frames, bins)
        layers, ends = [], []
        for band, low, high in zip(self.bands, self.edges, self.edges[1:], strict=False):
            x = image[..., low:high]
            for conv in cast(nn.ModuleList, band):
                x = F.leaky_relu(conv(x), SLOPE)
                layers.append(x)
            ends.append(x)
        return [*layers, self.verdict(torch.cat(ends, dim=-1))]


class Discriminators(nn.Module):
    """All of them; each judges samples after its mean is taken off and its peak scaled."""

    def __init__(self, options: DiscriminatorOptions) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            [
                *(PeriodDiscriminator(period, options.period_channels) for period in options.periods),
                *(BandDiscriminator(window, options.window_channels) for window in options.windows),
            ]
        )

    def forward(self, samples: Tensor) -> list[list[Tensor]]:
        """samples: (B, N). Returns the layers of each discriminator."""
        samples = samples - samples.mean(dim=1, keepdim=True)
        samples = 0.8 * samples / samples.abs().amax(dim=1, keepdim=True).clamp(min=1e-4)
        return [member(samples) for member in self.members]
