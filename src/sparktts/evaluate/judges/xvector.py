"""Speaker encoders of a hub or a directory, by transformers (WavLM, wav2vec2, UniSpeech with an x-vector head)."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from ...audio.samples import Samples
from .base import SAMPLE_RATE, Embedding, at_least, unit
from .packages import JudgeMissing, PackageFiles, needed


class XVector:
    """xvector:DIR or xvector:NAME, for example microsoft/wavlm-base-plus-sv."""

    def __init__(self, model: str, packages: PackageFiles) -> None:
        """Raises JudgeMissing."""
        try:
            import torch
            from transformers import AutoFeatureExtractor, AutoModelForAudioXVector
        except ImportError:
            raise needed("torch", "transformers") from None
        loader: Any = AutoFeatureExtractor
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self._extractor = loader.from_pretrained(model)
            network: Any = AutoModelForAudioXVector.from_pretrained(model)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = str(error).split("\n")[0].rstrip(".")
            raise JudgeMissing(f"{model} is no speaker model that transformers can load ({reason}).") from None
        self._network = network.float().eval().to(self._device)
        self.name = f"x-vector {model} (transformers {importlib.metadata.version('transformers')})"

    def embed(self, samples: Samples) -> Embedding:
        """(d,) of length 1."""
        import torch

        heard = at_least(samples, SAMPLE_RATE)
        inputs = self._extractor(heard, sampling_rate=SAMPLE_RATE, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            return unit(self._network(**inputs).embeddings[0].cpu().numpy())
