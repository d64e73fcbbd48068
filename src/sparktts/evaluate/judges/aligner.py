"""The word recogniser of an on-demand model as a judge: which phonemes are said, quickly and offline."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...audio.loudness import normalize_volume
from ...audio.samples import Samples
from ...checkpoint.download import resolve
from ...checkpoint.layout import Checkpoint
from ...engine import load_engine
from ...engine.aligner import ListeningAligner, WordAligner
from ...text import prepare
from .packages import PackageFiles


@dataclass
class AlignerPhonemes:
    """An aligner as a PhonemeListener. listen: samples at 16 kHz to the (T, values) features that it knows."""

    aligner: WordAligner
    listen: Callable[[Samples], npt.NDArray[np.floating[Any]]]
    name: str

    def expected(self, text: str) -> list[str]:
        """Phonemes of a text, without stress and punctuation. Raises TextError."""
        from ...text.phonemes import phonemize

        utterances = prepare(text).utterances
        words = [word for utterance in utterances for word in phonemize(utterance.text, utterance.language)]
        return self.aligner.spelled(words)

    def heard(self, samples: Samples) -> list[str]:
        """Read off the likeliest output of each frame."""
        return self.aligner.phonemes(self.listen(normalize_volume(samples)))


def of_model(model: str, packages: PackageFiles) -> AlignerPhonemes:
    """aligner:DIR. Raises CheckpointError for a model without an aligner, OptionError without an engine."""
    checkpoint = Checkpoint.open_codec(resolve(model))
    name = aligner_name(checkpoint)
    listener = load_engine(checkpoint).aligner
    assert isinstance(listener, ListeningAligner)
    return AlignerPhonemes(listener.aligner, listener.codec.features, name)


def aligner_name(checkpoint: Checkpoint) -> str:
    """Model and weights, for reports. Raises CheckpointError."""
    weights = checkpoint.aligner_dir / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:8] if weights.is_file() else "?"
    return f"aligner of {checkpoint.name} ({digest})"
