"""Any Whisper of a hub or a directory, by transformers."""

from __future__ import annotations

import importlib.metadata

from ...audio.samples import Samples
from ...types import Language
from .base import SAMPLE_RATE
from .packages import PackageFiles, of_transformers, on_best_device

WINDOW = 30.0  # seconds that the model hears at once


class TransformersWhisper:
    """whisper:DIR or whisper:NAME. Greedy."""

    def __init__(self, model: str, packages: PackageFiles) -> None:
        """Raises JudgeMissing."""
        self._processor, network = of_transformers(
            model, "Whisper", "WhisperProcessor", "WhisperForConditionalGeneration"
        )
        self._model, self._device = on_best_device(network)
        self.name = f"whisper {model} (greedy, transformers {importlib.metadata.version('transformers')})"

    def transcribe(self, samples: Samples, language: Language) -> str:
        """What is said; more than 30 s go through the model window by window."""
        import torch

        long = len(samples) > WINDOW * SAMPLE_RATE
        inputs = self._processor(
            samples,
            sampling_rate=SAMPLE_RATE,
            return_tensors="pt",
            return_attention_mask=True,
            truncation=not long,
            padding="longest" if long else "max_length",
        ).to(self._device)
        with torch.inference_mode():
            # A model for English alone takes no language.
            asked = {"language": language, "task": "transcribe"} if self._multilingual else {}
            ids = self._model.generate(**inputs, return_timestamps=long, do_sample=False, num_beams=1, **asked)
        return str(self._processor.batch_decode(ids, skip_special_tokens=True)[0]).strip()

    @property
    def _multilingual(self) -> bool:
        return bool(getattr(self._model.generation_config, "is_multilingual", False))
