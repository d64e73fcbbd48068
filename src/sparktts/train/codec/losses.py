"""Losses of the codec."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ...audio.mel import MelSpectrogram
from ...engine.torch.aligner import AlignerNetwork
from ...evaluate.judges.ge2e_network import GE2ENetwork

MEL_FLOOR = 1e-5
# Mel bands of the resolutions: about one for six samples of the window, as in Descript's codec (arXiv 2306.06546).
SAMPLES_PER_BAND = 6.4


def mel_spectrogram(mel: MelSpectrogram, samples: Tensor) -> Tensor:
    """As audio.mel computes it, with gradients. samples: (B, N). Returns (B, num_mels, 1 + N // hop_length)."""
    window, filters = _mel_constants(mel, samples.device)
    samples = samples.float()
    pad = mel.n_fft // 2
    padded = F.pad(samples.unsqueeze(1), (pad, pad), mode="reflect").squeeze(1)
    spectrum = torch.stft(padded, mel.n_fft, mel.hop_length, mel.win_length, window, center=False, return_complex=True)
    # The root of a zero has no gradient.
    magnitude = (spectrum.real.square() + spectrum.imag.square()).clamp(min=1e-12).sqrt()
    return filters @ magnitude


@lru_cache(maxsize=32)
def _mel_constants(mel: MelSpectrogram, device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):
        return torch.hann_window(mel.win_length, device=device), torch.tensor(mel.filters(), device=device)


def resolutions(windows: Sequence[int], sample_rate: int) -> list[MelSpectrogram]:
    """The spectrograms that the mel loss compares."""
    base = MelSpectrogram(sample_rate=sample_rate, mel_fmin=0.0, mel_fmax=sample_rate / 2)
    return [
        replace(
            base, n_fft=size, win_length=size, hop_length=size // 4, num_mels=max(1, round(size / SAMPLES_PER_BAND))
        )
        for size in windows
    ]


def mel_distance(real: Tensor, fake: Tensor, mels: Sequence[MelSpectrogram]) -> Tensor:
    """Mean absolute difference of log10 mel spectrograms, summed over the resolutions. real, fake: (B, N)."""
    total = fake.new_zeros((), dtype=torch.float32)
    for mel in mels:
        a = mel_spectrogram(mel, real).clamp(min=MEL_FLOOR).log10()
        b = mel_spectrogram(mel, fake).clamp(min=MEL_FLOOR).log10()
        total = total + F.l1_loss(b, a)
    return total


def phoneme_loss(aligner: AlignerNetwork, real: Tensor, rebuilt: Tensor) -> Tensor:
    """What a recogniser no longer hears in rebuilt features: divergence of its outputs from those on the real ones.

    real, rebuilt: (B, dim, T). Nats, mean of the frames.
    """
    lengths = torch.full((len(real),), real.shape[2], device=real.device)
    with torch.no_grad():
        expected = aligner(real.float().transpose(1, 2), lengths)
    heard = aligner(rebuilt.float().transpose(1, 2), lengths)
    return F.kl_div(heard, expected, reduction="none", log_target=True).sum(dim=-1).mean()


def identity_loss(voices: GE2ENetwork, real: Tensor, made: Tensor) -> Tensor:
    """1 - cosine of the voices of recording and sound, mean of the batch. real, made: (B, N) at 16 kHz."""
    with torch.no_grad():
        expected = voices(real.float())
    return 1 - F.cosine_similarity(voices(made.float()), expected).mean()


def discriminator_loss(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Least squares (arXiv 1611.04076): real is 1, made is 0. Per discriminator its layers; the last is the verdict."""
    terms = [
        (1 - r[-1].float()).square().mean() + f[-1].float().square().mean() for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).sum()


def adversarial_loss(fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """How far the discriminators are from taking what was made for real, summed over them."""
    return torch.stack([(1 - layers[-1].float()).square().mean() for layers in fake]).sum()


def feature_loss(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean absolute difference inside the discriminators, summed over them and their layers."""
    terms = [
        F.l1_loss(b.float(), a.detach().float())
        for r, f in zip(real, fake, strict=True)
        for a, b in zip(r[:-1], f[:-1], strict=True)
    ]
    return torch.stack(terms).sum()


def f0_loss(log_f0: Tensor, target: Tensor, voiced: Tensor) -> Tensor:
    """Mean absolute error over voiced frames, in octaves. All (B, T); target: natural logarithm of Hz."""
    error = (log_f0 - target).abs() * voiced
    return error.sum() / voiced.sum().clamp(min=1.0) / math.log(2)
