"""The two narrow interfaces that every engine implements; everything above them is shared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NewType, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ..sampling import SamplingOptions

Samples = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]
Handle = NewType("Handle", int)


@dataclass(frozen=True)
class IdSet:
    """The ids that may come next: ascending half-open ranges, hashable, so that engines cache one sliced head each."""

    ranges: tuple[tuple[int, int], ...]

    @property
    def ids(self) -> Tokens:
        """(n,) ids in ascending order."""
        return np.concatenate([np.arange(a, b, dtype=np.int64) for a, b in self.ranges])

    def __len__(self) -> int:
        return sum(b - a for a, b in self.ranges)

    def __contains__(self, token: object) -> bool:
        return isinstance(token, (int, np.integer)) and any(a <= token < b for a, b in self.ranges)


class Grammar(Protocol):
    """What may follow, for one sequence. The engine asks; the grammar keeps the state.

    The engine feeds the prompt, then repeats: feed `forced()`, sample one id from `legal()`, call `accept(id)`,
    until `done`. While it is `waiting`, the engine leaves the sequence out of its steps; afterwards it takes
    `forced()` again.
    """

    @property
    def done(self) -> bool:
        """True once the sequence has ended; the engine then forgets it."""

    @property
    def waiting(self) -> bool:
        """True while what is to be fed next is not known yet (text that arrives while it is spoken)."""

    @property
    def closed(self) -> bool:
        """True once nothing but `accept` and `forced` changes it: no text will arrive."""

    def forced(self) -> tuple[int, ...]:
        """Ids that follow without a choice. The engine feeds them and does not return them; each call takes them."""

    def legal(self) -> IdSet:
        """Ids among which the next one is sampled."""

    def accept(self, token: int) -> None:
        """Moves on by one sampled id. Raises InvalidTokens for an id that is not legal."""


@runtime_checkable
class LanguageModel(Protocol):
    """Autoregressive model over token ids; sequences join and leave while others run."""

    def add(self, prompt: Sequence[int], sampling: SamplingOptions, grammar: Grammar) -> Handle:
        """Queues a sequence; its first id comes with the next `step`."""

    def step(self) -> dict[Handle, int]:
        """One sampled id for every running sequence but those that wait; those that are done have left after it."""

    @property
    def ready(self) -> bool:
        """Whether the next `step` has its ids at hand, so that what is done with these may wait for those."""

    def cancel(self, handle: Handle) -> None:
        """Drops a sequence, running or not."""

    def logits(self, ids: Sequence[int]) -> Samples:
        """(n, vocabulary) float32 scores after each of the n ids: no grammar, no sampling. For diagnosis and tests."""


@runtime_checkable
class Codec(Protocol):
    """Speech to tokens and back."""

    sample_rate: int
    hop: int  # samples per semantic token
    context: int  # semantic tokens on each side that influence a sample
    fingerprint: str  # equal for codecs whose tokens mean the same

    def speaker_tokens(self, audio: Samples) -> Tokens:
        """(32,) global tokens of a voice. audio: (N,) samples as the speaker encoder sees them."""

    def semantic_tokens(self, audio: Samples) -> Tokens:
        """(T,) semantic tokens at 50 Hz. audio: (N,) whole clip."""

    def decode(
        self, semantic: Tokens, speaker: Tokens, state: Any = None, keep: tuple[int, int] | None = None
    ) -> tuple[Samples, Any]:
        """Waveform of one window. semantic: (T,), speaker: (32,).

        keep: tokens start..stop of the window are what the caller keeps, the others are context (None: all).
        state: None at the beginning of an utterance, afterwards what the decode that ended at this window's `start`
        returned; it is that of a running source, such as the phase of an impulse train, and None for most codecs.
        Returns (hop*T,) samples and the state at `stop`. Raises InvalidTokens.
        """


class ClipAligner(Protocol):
    """Finds the words of a clip."""

    def word_times(self, audio: Samples, words: Sequence[str]) -> Sequence[tuple[float, float]]:
        """(start, end) in seconds of each word. audio: (N,) whole clip; words: as the language model reads them.

        Raises TextError when they cannot be found.
        """

    def error_rate(self, audio: Samples, words: Sequence[str]) -> float:
        """Phonemes heard wrong, missed or added per phoneme of the words. audio: (N,) clip. Raises TextError."""


class Engine:
    """A codec and a language model on one device; each is loaded on first use, so codec tools load one only.

    aligner: loads the word recogniser of a checkpoint that has one; cloning with a transcript needs it where the
    language model asks for its words. decoders: threads that may decode at once. lanes: language models that may step
    at once where several calls run; beside: gives another one with the weights of a first.
    """

    def __init__(
        self,
        name: str,
        device: str,
        dtype: str,
        codec: Callable[[], Codec],
        language_model: Callable[[], LanguageModel],
        aligner: Callable[[], ClipAligner] | None = None,
        decoders: int = 1,
        lanes: int = 1,
        beside: Callable[[LanguageModel], LanguageModel] | None = None,
    ) -> None:
        self.name, self.device, self.dtype, self.decoders = name, device, dtype, decoders
        self._lanes, self._beside, self._loading = lanes, beside, threading.Lock()
        self._load_codec, self._load_language_model, self._load_aligner = codec, language_model, aligner

    @cached_property
    def codec(self) -> Codec:
        """The codec. Raises CheckpointError when its weights are bad."""
        return self._load_codec()

    @cached_property
    def language_model(self) -> LanguageModel:
        """The language model. Raises CheckpointError when its weights are bad."""
        return self._load_language_model()

    @property
    def language_models(self) -> list[Callable[[], LanguageModel]]:
        """What gives each of those that may step at once: the language model, and others beside it."""
        beside = self._beside
        return [self._first, *(cache(lambda: beside(self._first())) for _ in range(self._lanes - 1) if beside)]

    def _first(self) -> LanguageModel:
        with self._loading:  # by one thread
            return self.language_model

    @cached_property
    def aligner(self) -> ClipAligner | None:
        """The word recogniser, if there is one. Raises CheckpointError when its weights are bad."""
        return None if self._load_aligner is None else self._load_aligner()
