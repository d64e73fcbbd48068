"""GE2E speaker encoder (three LSTM layers, Apache-2.0, 256 values) from the weights of the package resemblyzer."""

from __future__ import annotations

import numpy as np

from ...audio.samples import Samples
from .base import Embedding, unit
from .packages import JudgeMissing, PackageFiles, needed

PIP = "resemblyzer"
QUIET = 10 ** (-30 / 20)  # clips below this RMS are raised to it


class GE2E:
    """Mean of the embeddings of overlapping windows of 1.6 s."""

    def __init__(self, packages: PackageFiles) -> None:
        """Raises JudgeMissing."""
        weights = packages.file("resemblyzer", "pretrained.pt", PIP)
        try:
            from .ge2e_network import GE2ENetwork
        except ImportError:
            raise needed("torch", "torch") from None
        try:
            self._network = GE2ENetwork.load(weights)
        except (RuntimeError, KeyError) as error:
            raise JudgeMissing(f"the weights of GE2E do not fit: {str(error).splitlines()[0]}") from None
        self.name = f"GE2E (resemblyzer {packages.version('resemblyzer')})"

    def embed(self, samples: Samples) -> Embedding:
        """(256,) of length 1."""
        import torch

        loudness = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
        gain = QUIET / loudness if 0 < loudness < QUIET else 1.0
        with torch.inference_mode():
            return unit(self._network(torch.from_numpy(samples * np.float32(gain))[None])[0].numpy())
