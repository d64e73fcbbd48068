"""GE2E's network: samples to an embedding of the voice, differentiable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .features import slaney_bank

SIZE, HOP, BINS = 400, 160, 40
WINDOW, STEP = 160, 77  # frames that the network hears at once, and from one window to the next
WIDTH, LAYERS = 256, 3


class GE2ENetwork(nn.Module):
    """Three LSTM layers over a mel power spectrum. Source: arXiv 1710.10467, weights of the package resemblyzer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(BINS, WIDTH, LAYERS, batch_first=True)
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("bank", torch.from_numpy(slaney_bank(BINS, SIZE)), persistent=False)
        self.register_buffer("window", torch.hann_window(SIZE), persistent=False)

    @classmethod
    def load(cls, path: Path) -> GE2ENetwork:
        """path: resemblyzer's pretrained.pt. Raises OSError, RuntimeError, KeyError."""
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        network = cls()
        network.load_state_dict({k: v for k, v in state.items() if k.startswith(("lstm.", "linear."))})
        return network.eval().requires_grad_(False)

    def forward(self, samples: Tensor) -> Tensor:
        """(B, 256) of length 1, the mean over windows of 1.6 s. samples: (B, N) at 16 kHz."""
        mel = self._mel(samples)
        mel = F.pad(mel, (0, 0, 0, max(0, WINDOW - mel.shape[1])))
        windows = mel.unfold(1, WINDOW, STEP).transpose(2, 3)  # (B, windows, frames, bins)
        _, (hidden, _) = self.lstm(windows.flatten(0, 1))
        each = F.normalize(torch.relu(self.linear(hidden[-1])), dim=1)
        return F.normalize(each.reshape(*windows.shape[:2], WIDTH).mean(1), dim=1)

    def _mel(self, samples: Tensor) -> Tensor:
        """(B, frames, 40) power."""
        window, bank = self.get_buffer("window"), self.get_buffer("bank")
        spectrum = torch.stft(samples, SIZE, HOP, window=window, pad_mode="constant", return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return (bank @ power).transpose(1, 2)
