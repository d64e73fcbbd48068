"""What a judge must do. Anything with these methods is one; nothing has to be inherited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ...audio.samples import Samples
from ...types import Language

SAMPLE_RATE = 16000
Embedding = npt.NDArray[np.float32]


@runtime_checkable
class Recogniser(Protocol):
    """name: model and version, as reports show them."""

    name: str

    def transcribe(self, samples: Samples, language: Language) -> str:
        """What is said in (N,) samples at 16 kHz, N > 0; "" for nothing. The same samples give the same text."""
        ...


@runtime_checkable
class SpeakerEncoder(Protocol):
    """name: model and version, as reports show them."""

    name: str

    def embed(self, samples: Samples) -> Embedding:
        """(d,) values of the voice in (N,) samples at 16 kHz, N > 0; compared by their cosine, of any length."""
        ...


@runtime_checkable
class MosPredictor(Protocol):
    """name: model and version, as reports show them."""

    name: str

    def score(self, samples: Samples) -> float:
        """Mean opinion score, 1 (bad) to 5 (excellent), of (N,) samples at 16 kHz, N > 0."""
        ...


@runtime_checkable
class PhonemeListener(Protocol):
    """name: model and version, as reports show them."""

    name: str

    def expected(self, text: str) -> Sequence[str]:
        """The phonemes of a text, as `heard` writes them. Raises TextError for a text without any."""
        ...

    def heard(self, samples: Samples) -> Sequence[str]:
        """The phonemes that are said in (N,) samples at 16 kHz, N > 0; none for nothing."""
        ...


@dataclass(frozen=True)
class Judges:
    """Who judges; None leaves a column out. notes: sentences on judges that are missing."""

    recogniser: Recogniser | None = None
    speaker: SpeakerEncoder | None = None
    mos: MosPredictor | None = None
    phonemes: PhonemeListener | None = None
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> dict[str, str | None]:
        """Kind -> name of the judge."""
        named = {"recogniser": self.recogniser, "phonemes": self.phonemes, "speaker": self.speaker, "mos": self.mos}
        return {kind: None if judge is None else judge.name for kind, judge in named.items()}


def at_least(samples: Samples, count: int) -> Samples:
    """The samples, repeated until there are `count`: short words must not make a judge fail."""
    return samples if len(samples) >= count else np.resize(samples, count)


def unit(embedding: npt.NDArray[np.floating]) -> Embedding:
    """The embedding with length 1; zeros stay zeros."""
    length = float(np.linalg.norm(embedding))
    return (embedding / length if length else embedding).astype(np.float32)


def cosine(a: Embedding, b: Embedding) -> float:
    """-1 to 1; 0 with an embedding of zeros."""
    return float(unit(a).astype(np.float64) @ unit(b).astype(np.float64))
