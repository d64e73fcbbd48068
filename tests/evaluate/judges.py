"""Judges that hear length, spectrum and loudness: deterministic, quick, and known to `--asr python:MODULE:NAME`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparktts.audio.samples import Samples
from sparktts.evaluate.judges import Judges
from sparktts.types import Language

WORDS = ("the", "quick", "fox", "ran", "home")


class ByLength:
    """Hears one more word, or character, with each half second."""

    name = "by-length 1"

    def __init__(self) -> None:
        self.calls = 0

    def transcribe(self, samples: Samples, language: Language) -> str:
        self.calls += 1
        count = 1 + len(samples) // 8000 % 5
        return "你好世界吗"[:count] if language == "zh" else " ".join(WORDS[:count])


class Bands:
    """Eight bands of the spectrum."""

    name = "bands 1"

    def embed(self, samples: Samples) -> np.ndarray:
        spectrum = np.abs(np.fft.rfft(samples))
        return np.array([band.mean() for band in np.array_split(spectrum, 8)], dtype=np.float32)


class Loudness:
    """1 for silence, 5 for full scale."""

    name = "loudness 1"

    def score(self, samples: Samples) -> float:
        return 1 + 4 * float(np.abs(samples).max())


class Nothing:
    """Not a judge."""

    name = "nothing"


def judges() -> Judges:
    return Judges(ByLength(), Bands(), Loudness())


def lines_of(out: Path) -> list[str]:
    return (out / "results.jsonl").read_text(encoding="utf-8").splitlines()
