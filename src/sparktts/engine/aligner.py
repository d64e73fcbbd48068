"""The word recogniser, whatever computes its network: when words are said, which phonemes are heard."""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..checkpoint.aligner import AlignerConfig
from ..errors import CheckpointError, TextError
from . import ctc
from .base import Samples

BATCH = 32  # clips that are aligned together
STRESS = "ˈˌ"  # stress has no time of its own
# A word's first sound lights up about so many frames after the word begins; a longer gap between words is a pause.
LEAD = 3
LOST = -1e3  # the score where nothing can be aligned

Features = npt.NDArray[Any]  # (T, input_dim)
Word = tuple[float, float]


@dataclass(frozen=True)
class Alignment:
    """When each word of a clip is said.

    times: (start, end) in s of each word; together they cover the clip, and a pause belongs to the word before it;
    score, word_scores: mean log-probability per phoneme of the clip, and of each word (0 is certain); reason: why the
    alignment is poor, as the end of a sentence about the clip, or None.
    """

    times: tuple[Word, ...]
    score: float
    word_scores: tuple[float, ...]
    reason: str | None = None

    @property
    def good(self) -> bool:
        """Whether words and speech agree."""
        return self.reason is None


class WordAligner(ABC):
    """A trained recogniser. features: (T, input_dim) of a clip; words: phoneme groups, punctuation and all."""

    def __init__(self, config: AlignerConfig) -> None:
        self.config = config

    @abstractmethod
    def log_probs(self, features: Sequence[Features]) -> Sequence[npt.NDArray[np.float32]]:
        """(T, symbols + 1) log-probabilities of the outputs at each frame, for up to BATCH clips."""

    def word_times(self, features: Features, words: Sequence[str]) -> tuple[list[Word], float]:
        """(start, end) in s of each word, covering the clip, and the score, however poor: `align` judges it.

        Raises TextError where nothing can be aligned.
        """
        alignment = self.align(features, words)
        if alignment.score == LOST:
            raise TextError(f"The transcript cannot be aligned with the recording: {alignment.reason}; check both.")
        return list(alignment.times), alignment.score

    def align(self, features: Features, words: Sequence[str]) -> Alignment:
        """When each word is said; a poor alignment says why it is poor."""
        return self.align_batch([features], [words])[0]

    def align_batch(self, features: Sequence[Features], words: Sequence[Sequence[str]]) -> list[Alignment]:
        """`align` for many clips, together and much faster."""
        found: dict[int, Alignment] = {}
        for chosen, log_probs in self._listen(features):
            spellings = [[self.spell(word) for word in words[i]] for i in chosen]
            targets = [[symbol for word in spelling for symbol in word] for spelling in spellings]
            paths = ctc.viterbi(log_probs, targets)
            for i, frames, spelling, path in zip(chosen, log_probs, spellings, paths, strict=True):
                found[i] = self._judged(path, spelling, len(frames))
        return [found[i] for i in range(len(features))]

    def phonemes(self, features: Features) -> list[str]:
        """What is heard, without stress and punctuation: the likeliest output of each frame, read off."""
        return self.phonemes_batch([features])[0]

    def phonemes_batch(self, features: Sequence[Features]) -> list[list[str]]:
        """`phonemes` for many clips."""
        heard: dict[int, list[str]] = {}
        for chosen, log_probs in self._listen(features):
            for i, frames in zip(chosen, log_probs, strict=True):
                heard[i] = [self.config.symbols[s - 1] for s in ctc.collapse(frames.argmax(-1))]
        return [heard[i] for i in range(len(features))]

    def error_rate(self, features: Features, words: Sequence[str]) -> float:
        """Phonemes heard wrong, missed or added per phoneme of the words. Raises TextError for words without any."""
        return self.error_rates([features], [words])[0]

    def error_rates(self, features: Sequence[Features], words: Sequence[Sequence[str]]) -> list[float]:
        """`error_rate` for many clips."""
        rates = []
        for heard, said in zip(self.phonemes_batch(features), words, strict=True):
            expected = self.spelled(said)
            rates.append(ctc.edit_distance(heard, expected) / len(expected))
        return rates

    def spelled(self, words: Sequence[str]) -> list[str]:
        """The phonemes of words, as `phonemes` gives those of speech. Raises TextError for words without any."""
        expected = [self.config.symbols[s - 1] for word in words for s in self.spell(word)]
        if not expected:
            raise TextError(f"The words {' '.join(words)!r:.60} hold no phoneme that the aligner knows.")
        return expected

    def spell(self, word: str) -> list[int]:
        """The outputs that a word stands for; stress, punctuation and what it does not know are left out."""
        return [self._outputs[symbol] for symbol in split_symbols(word) if symbol in self._outputs]

    @cached_property
    def _outputs(self) -> dict[str, int]:
        return {symbol: i for i, symbol in enumerate(self.config.symbols, start=1)}

    def _listen(self, features: Sequence[Features]) -> Iterator[tuple[list[int], Sequence[npt.NDArray[np.float32]]]]:
        """Clips of like length together: their numbers, and (T, symbols + 1) log-probabilities of each."""
        for clip in features:
            if clip.ndim != 2 or clip.shape[1] != self.config.input_dim:
                raise CheckpointError(
                    f"The aligner reads features of {self.config.input_dim} values per frame, not of shape "
                    f"{clip.shape}: it was trained on those of another model."
                )
        order = sorted(range(len(features)), key=lambda i: len(features[i]))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            yield chosen, self.log_probs([features[i] for i in chosen])

    def _judged(self, path: ctc.Path | None, spelling: Sequence[Sequence[int]], frames: int) -> Alignment:
        count = sum(map(len, spelling))
        if path is None or not count:
            reason = f"it has {frames} frames, too few for {count} phonemes" if count else "its words hold no phoneme"
            return Alignment(tuple((0.0, 0.0) for _ in spelling), LOST, tuple(LOST for _ in spelling), reason)
        bounds = word_bounds(path, [len(word) for word in spelling], frames)
        sums = np.concatenate([[0.0], np.cumsum(path.log_probs, dtype=np.float64)])
        word_scores = tuple(
            float((sums[stop] - sums[start]) / len(word)) if word else 0.0
            for word, (start, stop) in zip(spelling, pairwise(bounds), strict=True)
        )
        score = float(sums[-1] / count)
        rate = self.config.frame_rate
        times = tuple((start / rate, stop / rate) for start, stop in pairwise(bounds))
        return Alignment(times, score, word_scores, self._reason(score, word_scores))

    def _reason(self, score: float, word_scores: Sequence[float]) -> str | None:
        if score < self.config.threshold:
            return f"what is heard is not its words (score {score:.2f}, at least {self.config.threshold:.2f} needed)"
        worst = min(range(len(word_scores)), key=word_scores.__getitem__)
        if word_scores[worst] < self.config.word_threshold:
            return (
                f"word {worst + 1} is not heard (score {word_scores[worst]:.2f}, at least "
                f"{self.config.word_threshold:.2f} needed)"
            )
        return None


class _Listener(Protocol):
    def features(self, audio: Samples) -> Samples:
        """(T, values) semantic features of a clip."""


class ListeningAligner:
    """A checkpoint's aligner on the features that its codec hears; implements engine.base.ClipAligner."""

    def __init__(self, codec: _Listener, aligner: WordAligner) -> None:
        """codec: the checkpoint's, whose feature model is used and not loaded again."""
        self.codec, self.aligner = codec, aligner

    def word_times(self, audio: Samples, words: Sequence[str]) -> list[Word]:
        """(start, end) in s of each word, covering the clip. audio: (N,) samples. Raises AudioError, TextError."""
        times, _ = self.aligner.word_times(self.codec.features(audio), words)
        return times

    def error_rate(self, audio: Samples, words: Sequence[str]) -> float:
        """Phonemes heard wrong, missed or added per phoneme of the words. Raises AudioError, TextError."""
        return self.aligner.error_rate(self.codec.features(audio), words)


def word_bounds(path: ctc.Path, sizes: Sequence[int], frames: int) -> list[int]:
    """len(sizes) + 1 frames that rise from 0 to the last: word i lasts from bounds[i] to bounds[i + 1].

    sizes: symbols of each word; a word without any gets no time. A word begins a little before its first symbol lights
    up; the rest of a pause belongs to the word before it, as its punctuation does.
    """
    bounds, symbol = [0], sizes[0] if sizes else 0
    for size in sizes[1:]:
        if symbol == 0 or symbol == len(path.starts):  # nothing has sounded yet, or nothing will any more
            bounds.append(0 if symbol == 0 else frames)
        else:
            start = int(path.starts[symbol])
            gap = start - int(path.ends[symbol - 1])
            bounds.append(start - min(LEAD, gap // 2))
        symbol += size
    return [*bounds, frames]


def split_symbols(word: str) -> list[str]:
    """The phonemes of a phoneme group: every character but stress, punctuation and spaces."""
    return [c for c in word if c not in STRESS and unicodedata.category(c)[0] not in "PZC"]
