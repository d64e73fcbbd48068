"""A decoder that filters a source: an impulse train of the predicted pitch, and noise.

The network gives, for every token, pitch, voicing and two spectral envelopes; phase comes from the source and from
minimum-phase filters, so nothing has to learn it. The impulses' phase is a running sum and the noise a function of
the sample's number: both are the state with which the next window goes on.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...audio.source_filter import FIRST_LEVELS, IMPULSE_EPS, LOG_LIMITS, SourceState, band_places
from ...checkpoint.config import SourceFilterConfig
from .convnext import ConvNeXtBackbone
from .refiner import Refiner
from .vocos_decoder import overlap_add


class Controls(NamedTuple):
    """What the network says of each frame."""

    log_f0: Tensor  # (B, T), natural logarithm of Hz
    voicing: Tensor  # (B, T), logits
    harmonic: Tensor  # (B, T, bands), natural logarithm of the gain at points on the mel scale
    noise: Tensor  # (B, T, bands)


class SourceFilterDecoder(nn.Module):
    """Frame vectors to samples; frame t is centred on sample hop * t + hop / 2.

    Source: source-filter model of speech; minimum phase from the real cepstrum (Oppenheim and Schafer).
    """

    def __init__(self, config: SourceFilterConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = ConvNeXtBackbone(config.input_channel, config.vocos_num_layers, config.backbone)
        self.head = nn.Linear(config.vocos_dim, 2 + 2 * config.bands)
        if config.refiner is not None:
            self.refiner = Refiner(config.refiner, config.input_channel, config.hop)

    def controls(self, x: Tensor) -> Controls:
        """x: (B, input_channel, T) at the token rate."""
        c = self.config
        values = cast(Tensor, self.head(self.backbone(x))).float()
        low, high = math.log(c.f0_min), math.log(c.f0_max)
        log_f0 = low + (high - low) * torch.sigmoid(values[..., 0])
        harmonic, noise = values[..., 2:].chunk(2, dim=-1)
        return Controls(
            log_f0,
            values[..., 1],
            (harmonic + FIRST_LEVELS[0]).clamp(*LOG_LIMITS),
            (noise + FIRST_LEVELS[1]).clamp(*LOG_LIMITS),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, input_channel, T). Returns (B, hop * T) samples, unbounded, from the source's beginning."""
        controls = self.controls(x)
        return self.refine(self.synthesize(controls, controls.log_f0.detach(), (controls.voicing > 0).float()), x)

    def refine(self, samples: Tensor, x: Tensor) -> Tensor:
        """Samples (B, hop * T) after the refiner, if there is one. x: (B, input_channel, T)."""
        return cast(Tensor, self.refiner(samples, x)) if self.config.refiner is not None else samples

    def decode(self, x: Tensor, state: SourceState, start: int, stop: int) -> tuple[Tensor, SourceState]:
        """One window, without gradients. x: (1, input_channel, T); state: of the source at frame `start`.

        Returns (1, hop * T) samples, right for frames start..stop, and the state at frame `stop`.
        """
        controls = self.controls(x)
        hop = self.config.hop
        phase = self._phase(controls.log_f0, start * hop, torch.tensor([state.phase], dtype=torch.float64))
        first = torch.tensor([state.position - start * hop], device=x.device)
        samples = self._filter(controls, phase[:, :-1], first, controls.log_f0, (controls.voicing > 0).float())
        after = float(phase[0, stop * hop]) % 1.0
        return self.refine(samples, x), SourceState(after, state.position + (stop - start) * hop)

    def synthesize(
        self,
        controls: Controls,
        log_f0: Tensor,
        voiced: Tensor,
        phase: Tensor | None = None,
        first: Tensor | None = None,
    ) -> Tensor:
        """Samples (B, hop * T) with a given pitch: for training, with that of the recording.

        log_f0, voiced: (B, T); phase: (B,) cycles at the first sample; first: (B,) int64, its number for the noise.
        """
        batch = len(log_f0)
        if phase is None:
            phase = torch.zeros(batch, dtype=torch.float64)
        if first is None:
            first = torch.zeros(batch, dtype=torch.int64)
        cycles = self._phase(log_f0, 0, phase)
        return self._filter(controls, cycles[:, :-1], first.to(log_f0.device), log_f0, voiced)

    def _phase(self, log_f0: Tensor, anchor: int, value: Tensor) -> Tensor:
        """(B, hop * T + 1) cycles of the impulse train in float64; `value` (B,) at sample `anchor`."""
        # On the CPU: the sum needs float64, which some devices lack.
        f0 = self._per_sample(log_f0.detach().cpu().double().exp())
        total = F.pad((f0 / self.config.sample_rate).cumsum(dim=1), (1, 0))
        return total - total[:, anchor : anchor + 1] + value.unsqueeze(1)

    def _filter(self, controls: Controls, cycles: Tensor, first: Tensor, log_f0: Tensor, voiced: Tensor) -> Tensor:
        f0 = self._per_sample(log_f0.detach().exp())
        turns = (cycles - cycles.round()).float().to(f0.device)  # -0.5..0.5, the impulse at 0
        source = impulses(turns, f0, self.config.sample_rate) * self._per_sample(voiced)
        positions = first.unsqueeze(1) + torch.arange(source.shape[1], device=f0.device)
        pulses, hiss = self._frames(source), self._frames(position_noise(positions))
        spectrum = pulses * self._response(controls.harmonic) + hiss * self._response(controls.noise)
        samples = overlap_add(torch.fft.irfft(spectrum, self.config.n_fft), self.config.hop)
        edge = self.config.hop // 2
        return samples[:, edge : edge + source.shape[1]]

    def _frames(self, source: Tensor) -> Tensor:
        """(B, hop * T) -> (B, T, n_fft / 2 + 1): spectra of windows that add up to one."""
        hop = self.config.hop
        padded = F.pad(source, (hop // 2, hop // 2))
        window = torch.hann_window(2 * hop, device=source.device)
        return cast(Tensor, torch.fft.rfft(padded.unfold(1, 2 * hop, hop) * window, self.config.n_fft))

    def _response(self, envelope: Tensor) -> Tensor:
        """(B, T, bands) log gains -> (B, T, n_fft / 2 + 1) complex, of minimum phase."""
        n_fft = self.config.n_fft
        logs = envelope @ _bands_to_bins(self.config, envelope.device)
        cepstrum = torch.fft.irfft(logs, n_fft)
        fold = torch.zeros(n_fft, device=logs.device)
        fold[0] = fold[n_fft // 2] = 1.0
        fold[1 : n_fft // 2] = 2.0
        return torch.exp(torch.fft.rfft(cepstrum * fold))

    def _per_sample(self, frames: Tensor) -> Tensor:
        """(B, T) values of frames -> (B, hop * T), linear between the frames' centres, constant at both ends."""
        hop = self.config.hop
        ends = torch.cat([frames[:, :1], frames, frames[:, -1:]], dim=1)
        share = (torch.arange(hop, device=frames.device, dtype=frames.dtype) / hop).view(1, 1, hop)
        between = torch.lerp(ends[:, :-1, None].expand(-1, -1, hop), ends[:, 1:, None].expand(-1, -1, hop), share)
        return between.flatten(1)[:, hop // 2 : -(hop // 2)]


def impulses(turns: Tensor, f0: Tensor, sample_rate: int) -> Tensor:
    """A band-limited impulse train of unit power: all harmonics below the Nyquist frequency, the last one faded in.

    turns: (B, N) cycles from the nearest impulse, -0.5..0.5; f0: (B, N) Hz.
    """
    harmonics = sample_rate / 2 / f0
    whole = harmonics.floor() - 1
    last = harmonics - harmonics.floor()  # weight of the highest one, so that none appears or vanishes at once
    angle = math.pi * turns
    near = turns.abs() < IMPULSE_EPS
    safe = torch.where(near, torch.full_like(angle, 1.0), angle).sin()
    # Sum of cos(2 k angle) for k = 1..whole: Dirichlet's kernel.
    total = torch.where(near, whole, ((2 * whole + 1) * angle).sin() / (2 * safe) - 0.5)
    total = total + last * (2 * (whole + 1) * angle).cos()
    return total * (2.0 / (whole + last.square())).sqrt()


def position_noise(positions: Tensor) -> Tensor:
    """White noise of unit power, a function of each sample's number alone. positions: int64. Returns float32."""
    # A 32-bit integer hash; multiplied in halves, as the product of two 32-bit numbers would overflow.
    value = positions & 0xFFFFFFFF
    for factor, shift in ((0x7FEB352D, 15), (0x846CA68B, 16)):
        value = value ^ (value >> 16)
        low, high = value & 0xFFFF, value >> 16
        value = (low * factor + (((high * factor) & 0xFFFF) << 16)) & 0xFFFFFFFF
        value = value ^ (value >> shift)
    return (value.float() / 2**31 - 1.0) * math.sqrt(3.0)


_MATRICES: dict[tuple[int, int, int, torch.device], Tensor] = {}


def _bands_to_bins(config: SourceFilterConfig, device: torch.device) -> Tensor:
    """(bands, n_fft / 2 + 1): linear interpolation between points that are equally far apart in mel."""
    key = (config.bands, config.n_fft, config.sample_rate, device)
    if key not in _MATRICES:
        below, share = band_places(config.bands, config.n_fft, config.sample_rate)
        bins = np.arange(len(below))
        matrix = np.zeros((config.bands, len(bins)), np.float32)
        matrix[below, bins] = 1 - share
        matrix[below + 1, bins] = share
        with torch.inference_mode(False):
            _MATRICES[key] = torch.from_numpy(matrix).to(device)
    return _MATRICES[key]
