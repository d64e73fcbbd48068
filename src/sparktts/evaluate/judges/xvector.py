"""Speaker encoders of a hub or a directory, by transformers (WavLM, wav2vec2, UniSpeech with an x-vector head)."""

from __future__ import annotations

import importlib.metadata

from ...audio.samples import Samples
from .base import SAMPLE_RATE, Embedding, at_least, unit
from .packages import PackageFiles, of_transformers, on_best_device


class XVector:
    """xvector:DIR or xvector:NAME, for example microsoft/wavlm-base-plus-sv."""

    def __init__(self, model: str, packages: PackageFiles) -> None:
        """Raises JudgeMissing."""
        self._extractor, network = of_transformers(model, "speaker", "AutoFeatureExtractor", "AutoModelForAudioXVector")
        self._network, self._device = on_best_device(network)
        self.name = f"x-vector {model} (transformers {importlib.metadata.version('transformers')})"

    def embed(self, samples: Samples) -> Embedding:
        """(d,) of length 1."""
        import torch

        heard = at_least(samples, SAMPLE_RATE)
        inputs = self._extractor(heard, sampling_rate=SAMPLE_RATE, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            return unit(self._network(**inputs).embeddings[0].cpu().numpy())
