"""Whether a recording can be trained on; each reason has a name that clips are counted by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..audio.samples import Samples
from ..audio.silence import speech_bounds
from ..errors import AudioError, SparkTTSError
from .audio_source import SAMPLE_RATE, decode_clip, exists

REASONS = {
    "bad_line": "the line of the manifest cannot be read",
    "no_audio": "the line names no audio",
    "empty_text": "there is no transcript",
    "unknown_language": "the language is no code",
    "duplicate_id": "the id comes a second time",
    "missing_file": "the file is not there",
    "unreadable": "the file cannot be decoded",
    "non_finite": "samples are NaN or infinite",
    "too_short": "too little sound",
    "too_long": "too long",
    "silent": "no sound",
    "clipped": "cut off at full scale",
    "no_syllables": "the transcript holds nothing to speak",
    "speed_range": "impossible pace: text and sound do not belong together",
    "speed_outlier": "pace far from the corpus: text and sound may not belong together",
    "no_phonemes": "the transcript cannot be read as phonemes",
    "poor_alignment": "the words are not found in the sound",
}
LOW_RATE = "low_rate"
FLAGS = {LOW_RATE: "recorded below 16 kHz: kept, but it sounds dull"}
_CLIPPED_LEVEL = 0.98
_CLIPPED_RUN = 3  # samples in a row: a single peak at full scale is not clipping
_CLIPPED_SHARE = 0.002  # of the sound; a clip that is a little clipped still teaches


class Unfit(Exception):
    """A clip must be left out. reason: a key of REASONS; detail: one sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, eq=False)
class Recording:
    """A clip that passed. samples: (N,) float32 at `rate` Hz, its own; start, end: where its sound is, in samples."""

    samples: Samples
    rate: int
    start: int
    end: int

    @property
    def seconds(self) -> float:
        """Length of the whole file."""
        return len(self.samples) / self.rate

    @property
    def sounding(self) -> float:
        """Seconds between the first and the last sound."""
        return (self.end - self.start) / self.rate

    @property
    def flags(self) -> list[str]:
        """What is odd about a clip that is kept: keys of FLAGS."""
        return [LOW_RATE] if self.rate < SAMPLE_RATE else []


def check_recording(root: str, audio: str, shortest: float, longest: float) -> Recording:
    """Reads a clip and judges its sound. shortest, longest: seconds, of the sound and of the file. Raises Unfit."""
    try:
        if not exists(root, audio):
            raise Unfit("missing_file", f"There is no '{audio}'.")
        samples, rate = decode_clip(root, audio, longest + 1.0)
    except AudioError as error:
        raise Unfit("non_finite" if "NaN or infinite" in str(error) else "unreadable", str(error)) from None
    except SparkTTSError as error:  # a tar that is broken
        raise Unfit("unreadable", str(error)) from None
    if len(samples) > longest * rate:
        raise Unfit("too_long", f"'{audio}' is longer than {longest:g} s.")
    start, end = speech_bounds(samples, rate)
    if start == end:
        raise Unfit("silent", f"'{audio}' is silent.")
    if end - start < shortest * rate:
        raise Unfit("too_short", f"'{audio}' has only {(end - start) / rate:.2f} s of sound, less than {shortest:g} s.")
    clipped = clipped_share(samples[start:end])
    if clipped >= _CLIPPED_SHARE:
        raise Unfit("clipped", f"'{audio}' is cut off at full scale in {100 * clipped:.1f} % of its samples.")
    return Recording(samples, rate, start, end)


def clipped_share(samples: Samples) -> float:
    """Share of samples that stand at full scale for several samples in a row. samples: (N,)."""
    edges = np.flatnonzero(np.diff(np.abs(samples) >= _CLIPPED_LEVEL, prepend=False, append=False))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= _CLIPPED_RUN].sum()) / max(1, samples.size)
