"""GE2E speaker encoder (three LSTM layers, Apache-2.0, 256 values) from the weights of the package resemblyzer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...audio.samples import Samples
from .base import Embedding, unit
from .features import slaney_bank
from .packages import PackageFiles, needed

PIP = "resemblyzer"
SIZE, HOP, BINS = 400, 160, 40
WINDOW, STEP = 160, 77  # frames that the network hears at once, and from one window to the next
QUIET = 10 ** (-30 / 20)  # clips below this RMS are raised to it


class GE2E:
    """Mean of the embeddings of overlapping windows of 1.6 s."""

    def __init__(self, packages: PackageFiles) -> None:
        """Raises JudgeMissing."""
        weights = packages.file("resemblyzer", "pretrained.pt", PIP)
        try:
            import torch
        except ImportError:
            raise needed("torch", "torch") from None
        state: dict[str, Any] = torch.load(weights, map_location="cpu", weights_only=True)["model_state"]
        self._lstm, self._linear = torch.nn.LSTM(BINS, 256, 3, batch_first=True).eval(), torch.nn.Linear(256, 256)
        for network, prefix in ((self._lstm, "lstm."), (self._linear, "linear.")):
            own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            network.load_state_dict(own)
        self._bank = torch.from_numpy(slaney_bank(BINS, SIZE))
        self.name = f"GE2E (resemblyzer {packages.version('resemblyzer')})"

    def embed(self, samples: Samples) -> Embedding:
        """(256,) of length 1."""
        import torch

        loudness = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
        gain = QUIET / loudness if 0 < loudness < QUIET else 1.0
        with torch.inference_mode():
            mel = self._mel(torch.from_numpy(samples * np.float32(gain)))
            mel = torch.nn.functional.pad(mel, (0, 0, 0, max(0, WINDOW - len(mel))))
            windows = mel.unfold(0, WINDOW, STEP).transpose(1, 2)
            _, (hidden, _) = self._lstm(windows)
            each = torch.nn.functional.normalize(torch.relu(self._linear(hidden[-1])), dim=1)
        return unit(each.mean(0).numpy())

    def _mel(self, samples: Any) -> Any:
        """(frames, 40) power."""
        import torch

        spectrum = torch.stft(
            samples, SIZE, HOP, window=torch.hann_window(SIZE), pad_mode="constant", return_complex=True
        )
        return (self._bank @ spectrum.abs() ** 2).T
