"""SparkTTS: the one path from text to audio, used by every interface."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .bundled import default_model
from .engine.shared import Lanes
from .errors import InvalidTokens, OptionError, VoiceError
from .frontend import Frontend
from .library import VoiceLibrary
from .longform import ReadingOptions
from .reading import Gradual, Prepared, Reading
from .sampling import SamplingOptions
from .style import Style
from .text import TextOptions, prepare
from .text.spans import dominant_language
from .tokenizer import SparkTokenizer
from .turns import Turns
from .types import Language, Reference
from .voice import Provenance, Voice, Word
from .windows import decode_in_windows

if TYPE_CHECKING:
    from .audio.audio import Audio
    from .audio.read import AudioSource
    from .audio.reference import ReferenceClip
    from .checkpoint.layout import Checkpoint
    from .engine.base import Engine, LanguageModel, Samples, Tokens
    from .longform import Source
    from .streaming import Mode, SpeechStream

MAX_TRANSCRIPT_SECONDS = 15.0  # a longer clip leaves the model too little room for the new text
SAMPLE_TEXT = {
    "en": "This is how my voice sounds when I read a sentence aloud.",
    "zh": "这就是我朗读一句话时的声音。",
}
Progress = Callable[[int, int], None]


class SparkTTS:
    """A loaded model. Make one with `from_pretrained`; so many calls as it says run at a time, others wait in order."""

    def __init__(self, checkpoint: Checkpoint, engine: Engine, voices: VoiceLibrary, concurrency: int = 1) -> None:
        if concurrency < 1:
            raise OptionError(f"At least one call must be able to run, not {concurrency}.")
        self.checkpoint, self.engine, self.voices = checkpoint, engine, voices
        self.turn = Turns(concurrency)  # for the language model
        self.encoding = threading.RLock()  # held while one of the codec's encoders runs
        self.decoding = Turns(engine.decoders)  # for each decode: a stream decodes in a thread of its own
        self.has_decoded = False  # whether the decoder's weights have been read
        self.shared = None if concurrency == 1 else Lanes(engine.language_models)

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str] | None = None,
        *,
        engine: str = "auto",
        device: str = "auto",
        dtype: str = "auto",
        voices: str | os.PathLike[str] | None = None,
        concurrency: int = 1,
    ) -> SparkTTS:
        """Opens a model; weights are loaded when first used.

        model: a directory in the Spark-TTS layout, or the repository name of a downloaded one; None: the environment's
        SPARKTTS_MODEL, else Ember, which is part of the package. device: auto, cpu, cuda, cuda:N, mps, npu. dtype of
        the language model: auto, fp32, bf16. voices: directory of the voice library. concurrency: calls,
        each in a thread of its own, that may run at once; their sentences go through the language model together.
        Raises CheckpointError, OptionError.
        """
        from .checkpoint.download import resolve
        from .checkpoint.layout import Checkpoint
        from .engine import load_engine

        checkpoint = Checkpoint.open(resolve(os.fspath(model or default_model())))
        library = VoiceLibrary(None if voices is None else Path(voices), checkpoint.presets)
        return cls(checkpoint, load_engine(checkpoint, engine, device, dtype, concurrency), library, concurrency)

    @cached_property
    def tokenizer(self) -> SparkTokenizer:
        """The checkpoint's tokenizer."""
        return SparkTokenizer.from_file(self.checkpoint.tokenizer_path)

    @cached_property
    def frontend(self) -> Frontend:
        """What the language model reads of a text."""
        return Frontend.of(self.checkpoint.options)

    def language_model(self) -> LanguageModel:
        """The model for one call: where several run at once, a seat at one that they share."""
        return self.engine.language_model if self.shared is None else self.shared.seat()

    @property
    def sample_rate(self) -> int:
        """Samples a second of everything this model speaks."""
        return self.engine.codec.sample_rate

    def clone(
        self,
        clip: AudioSource,
        transcript: str | None = None,
        *,
        reference: Reference = "whole",
        consent: str | None = None,
        keep_clip: bool = False,
    ) -> Voice:
        """The voice of a recording, in any language.

        clip: file, bytes, file object, or (samples, rate). transcript: what is said in it; then the clip's prosody and
        pace are copied too (at most 15 s of clip). reference: "whole" clip (up to 60 s), or the published "first-6s".
        consent: a note on the speaker's permission, kept in the voice. keep_clip: keeps the recording in the voice, so
        that another model can encode it again. Raises AudioError, OptionError.
        """
        loaded = self._load_reference(clip, reference)
        return self._voice_of(loaded, _name(clip), transcript, reference, consent, keep_clip)

    def create(
        self, style: Style, text: str | None = None, *, language: Language = "en", seed: int | None = None
    ) -> Voice:
        """A new voice from gender, pitch and speed. text: what it is tried on (a stock sentence by default).

        Raises OptionError, GenerationError.
        """
        if language not in SAMPLE_TEXT:
            raise OptionError(f"{language!r} is not a language: use {' or '.join(SAMPLE_TEXT)}.")
        voice = self.say(text or SAMPLE_TEXT[language], style=style, seed=seed).voice
        assert voice is not None
        return voice

    def say(
        self,
        text: str,
        *,
        voice: Voice | str | os.PathLike[str] | None = None,
        style: Style | None = None,
        seed: int | None = None,
        sampling: SamplingOptions | None = None,
        text_options: TextOptions | None = None,
        reading: ReadingOptions | None = None,
        progress: Progress | None = None,
    ) -> Audio:
        """Speech of a text of any length, in one voice.

        voice: a Voice, a name in the library, a voice file or a clip to clone. style: without a voice, creates one;
        with a voice, its pitch and speed. With neither, the model's default voice speaks, or a new female one.
        seed: the same one gives the same speech on one engine (with `batch_size` 1). progress is called with
        (utterances done, in all).
        Returns Audio with samples (N,) float32, report and voice.
        Raises TextError, OptionError, VoiceError, AudioError, GenerationError.
        """
        prepared = prepare(text, text_options or TextOptions())
        given = self._speaker(voice, style)
        source = Prepared(prepared)
        with self.turn:
            one = Reading(self, source, given, style, self.sampling(sampling, seed), reading or ReadingOptions())
            return one.audio(progress, source.count)

    def stream(
        self,
        text: str | Iterable[str],
        *,
        voice: Voice | str | os.PathLike[str] | None = None,
        style: Style | None = None,
        mode: Mode = "low-latency",
        look_ahead: int | None = None,
        seed: int | None = None,
        sampling: SamplingOptions | None = None,
        text_options: TextOptions | None = None,
        reading: ReadingOptions | None = None,
    ) -> SpeechStream:
        """The same speech in chunks, while it is written. Use it in a `with` block, or close it.

        text: a text, or pieces of one that are still arriving, such as those of a chat model; a thread takes them as
        they come. mode: "exact" samples are those of `say`, but for what joining changes (see docs/long-text.md), and
        come later by all the context that the decoder has; "low-latency" ones come `look_ahead` tokens of 20 ms after
        they are written, and differ a little. The others as for `say`.
        Yields Chunk; the stream's `report` is there at the end. Raises TextError, OptionError, VoiceError, AudioError
        at once, GenerationError and what is wrong with later text while you take chunks.
        """
        from .streaming import SpeechStream

        options = text_options or TextOptions()
        source: Source
        if isinstance(text, str):
            source = Gradual(text, options)
        else:
            from .arriving import ArrivingText

            source = ArrivingText(text, options, self.frontend)
        given = self._speaker(voice, style)
        one = Reading(self, source, given, style, self.sampling(sampling, seed), reading or ReadingOptions())
        return SpeechStream(self, one, mode, look_ahead)

    def encode(self, clip: AudioSource, reference: Reference = "whole") -> tuple[Tokens, Tokens]:
        """Tokens of a recording: speaker (32,) and semantic (T,) at 50 Hz. Raises AudioError, CheckpointError."""
        samples = self._load_reference(clip, reference).samples
        with self.encoding:
            return self._speaker_tokens(samples, reference), self.engine.codec.semantic_tokens(samples)

    def decode(self, semantic: Sequence[int] | Tokens, speaker: Sequence[int] | Tokens) -> Audio:
        """Waveform of tokens. semantic: (T,) codes at 50 Hz; speaker: (32,). Raises InvalidTokens."""
        from .audio.audio import Audio

        with self.decoding:
            samples = decode_in_windows(self.engine.codec, _codes(semantic), _codes(speaker))
        return Audio(samples, self.sample_rate)

    def voice(self, spec: Voice | str | os.PathLike[str]) -> Voice:
        """A voice of this model's codec, from a Voice, a library name, a voice file or a clip. Raises VoiceError."""
        if isinstance(spec, Voice):
            return self._adopted(spec)
        name = os.fspath(spec)
        if name in self.voices:
            return self._adopted(self.voices.get(name))
        path = Path(name)
        if path.suffix.lower() == ".json":
            return self._adopted(Voice.load(path))
        if path.is_file():
            return self.clone(path)
        if path.suffix or len(path.parts) > 1:
            raise VoiceError(f"There is no voice file or clip {name}: check the path.")
        return self.voices.get(name)

    def sampling(self, options: SamplingOptions | None = None, seed: int | None = None) -> SamplingOptions:
        """What is in force where these are asked for: the model's temperature, and a new seed, where there is none."""
        options = options or SamplingOptions()
        temperature = self.checkpoint.options.temperature if options.temperature is None else options.temperature
        seeds = (seed, options.seed, secrets.randbelow(1 << 32))
        return replace(options, temperature=temperature, seed=next(s for s in seeds if s is not None))

    def takes(self, reading: ReadingOptions) -> int:
        """How often each utterance of `say` is said. Raises OptionError where nobody could choose among the takes."""
        wanted = reading.takes or self.checkpoint.options.takes
        if wanted == 1 or (self.frontend.on_demand and self.engine.aligner is not None):
            return wanted
        if reading.takes is None:
            return 1
        raise OptionError("Several takes need a model with a recogniser (`aligner` in its config.yaml) to choose one.")

    def _speaker(self, voice: Voice | str | os.PathLike[str] | None, style: Style | None) -> Voice | None:
        """Who speaks; None: a voice that is yet to be created."""
        if voice is None and (style is None or style.gender is None):
            voice = self.checkpoint.options.default_voice
        return None if voice is None else self.voice(voice)

    def _voice_of(
        self,
        clip: ReferenceClip,
        name: str | None,
        transcript: str | None,
        reference: Reference,
        consent: str | None,
        keep_clip: bool,
    ) -> Voice:
        transcript = transcript.strip() if transcript else None
        seconds = len(clip.samples) / self.sample_rate
        if transcript and seconds > MAX_TRANSCRIPT_SECONDS:
            raise OptionError(
                f"With a transcript the clip may last {MAX_TRANSCRIPT_SECONDS:g} s, not {seconds:.1f} s: "
                "cut clip and transcript, or clone without the transcript."
            )
        with self.encoding:
            semantic = self.engine.codec.semantic_tokens(clip.samples) if transcript else ()
            speaker = self._speaker_tokens(clip.samples, reference)
            words = self._word_times(clip.samples, transcript) if transcript else ()
        provenance = Provenance(
            kind="cloned",
            created=Provenance.now(),
            model=self.checkpoint.name,
            source_sha256=clip.source_sha256,
            source_name=name,
            reference=reference,
            consent=consent,
        )
        return Voice(
            speaker=tuple(int(token) for token in speaker),
            codec=self.engine.codec.fingerprint,
            provenance=provenance,
            transcript=transcript,
            semantic=tuple(int(token) for token in semantic),
            words=words,
            clip=_opus(clip.samples, self.sample_rate) if keep_clip else None,
            warnings=clip.warnings,
        )

    def _word_times(self, samples: Samples, transcript: str) -> tuple[Word, ...]:
        """When each word of a transcript is said, if the language model needs to know and there is a recogniser."""
        if not self.frontend.on_demand or (aligner := self.engine.aligner) is None:
            return ()
        words = self.frontend.words(transcript, dominant_language(transcript))
        times = aligner.word_times(samples, words)
        return tuple(Word(word, float(start), float(end)) for word, (start, end) in zip(words, times, strict=True))

    def _load_reference(self, clip: AudioSource, reference: Reference) -> ReferenceClip:
        from .audio.reference import load_reference

        return load_reference(clip, reference, volume_normalize=self.checkpoint.options.volume_normalize)

    def _adopted(self, voice: Voice) -> Voice:
        """The voice itself, or encoded again by this codec from its clip."""
        if voice.codec == self.engine.codec.fingerprint:
            return voice
        if voice.clip is None:
            raise VoiceError(
                f"This voice was made with another codec ({voice.codec}, not {self.engine.codec.fingerprint}) and "
                "keeps no clip to encode again: clone it again with this model."
            )
        reference: Reference = "first-6s" if voice.provenance.reference == "first-6s" else "whole"
        again = self.clone(voice.clip, voice.transcript, reference=reference)
        provenance = replace(voice.provenance, model=self.checkpoint.name)
        return replace(again, gender=voice.gender, clip=voice.clip, provenance=provenance)

    def _speaker_tokens(self, samples: Samples, reference: Reference) -> Tokens:
        from .audio.reference import reference_window

        return self.engine.codec.speaker_tokens(reference_window(samples, reference))


def _codes(tokens: Sequence[int] | Tokens) -> Tokens:
    try:
        array = np.asarray(tokens)
    except ValueError:  # lists of unequal lengths
        array = np.empty(0, dtype=object)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise InvalidTokens("Tokens must be whole numbers in flat lists.")
    return array.astype(np.int64)


def _name(clip: object) -> str | None:
    return Path(os.fspath(clip)).name if isinstance(clip, (str, os.PathLike)) else None


def _opus(samples: Samples, sample_rate: int) -> bytes:
    from .audio.write import encode_audio

    return encode_audio(samples, sample_rate, "opus")
