"""What was said and how it went: one record an utterance and one a text."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class UtteranceReport:
    """One utterance: the user's text, what the model read, and the seed that repeats it when said alone.

    seconds: of speech; pause: of silence after it; problems: of attempts that were thrown away, or cut; start, end:
    its place in the whole sound, in seconds.
    """

    source: str
    text: str
    seconds: float
    pause: float
    seed: int
    retries: int
    problems: tuple[str, ...]
    start: float = 0.0
    end: float = 0.0

    def placed(self, start: float, end: float) -> UtteranceReport:
        """The same at its place in the sound."""
        return replace(self, start=round(start, 3), end=round(end, 3))


@dataclass(frozen=True)
class Report:
    """One text. elapsed: seconds of computing; notes: what was dropped, rewritten or cut, in sentences."""

    model: str
    engine: str
    device: str
    dtype: str
    voice: str
    seed: int
    style: str
    seconds: float
    elapsed: float
    utterances: tuple[UtteranceReport, ...]
    notes: tuple[str, ...]

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing for a second of audio."""
        return self.elapsed / self.seconds if self.seconds else float("inf")

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        rtf = self.real_time_factor if self.seconds else None
        return {**asdict(self), "real_time_factor": rtf}
