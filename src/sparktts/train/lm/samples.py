"""Sentences that the model says while it learns: through the whole pipeline, heard by judges.

The weights are taken as they are, in memory; only the codec and its files come from a checkpoint.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ...audio.samples import Samples
from ...checkpoint.config import LanguageModelConfig
from ...checkpoint.layout import Checkpoint, checkpoint_directory
from ...checkpoint.stored import Array
from ...engine.base import Engine
from ...engine.ctc import edit_distance
from ...engine.torch.codec import TorchCodec
from ...engine.torch.devices import choose_dtype
from ...engine.torch.language_model import TorchLanguageModel
from ...engine.torch.qwen2 import Qwen2
from ...errors import AudioError, OptionError, SparkTTSError
from ...library import VoiceLibrary
from ...longform import ReadingOptions
from ...pipeline import SparkTTS
from ...types import Language
from ...voice import Provenance, Voice
from ..features.extractors import encode_clip, open_encoder
from ..run import Run
from .export import published_tensors, write_frame
from .options import LanguageModelOptions, SampleOptions

if TYPE_CHECKING:
    from ...evaluate.judges.aligner import AlignerPhonemes
    from ...evaluate.judges.base import Recogniser

Heard = TypeVar("Heard")
FOLDER = "samples"
NAMES = {"wer": "word_error", "cer": "character_error", "pinyin": "pinyin_error"}  # of a recogniser's metrics


class SampleSpeech:
    """Says the sentences of the configuration; made in one process, before the first step, as it may find mistakes."""

    def __init__(self, run: Run, options: LanguageModelOptions, voices: Sequence[Sequence[int]]) -> None:
        """voices: global tokens of clips, which the sentences take in turn. Raises OptionError, CheckpointError."""
        assert options.samples is not None
        self.run, self.options = run, options.samples
        source = checkpoint_directory(self.options.checkpoint or options.codec)
        self.checkpoint = Checkpoint.open_codec(write_frame(options, source, run.out / FOLDER / "model"))
        fingerprint = self.checkpoint.codec_fingerprint
        if fingerprint != Checkpoint(options.codec).codec_fingerprint:
            raise OptionError(f"`samples.checkpoint: {source}` has another codec than `codec: {options.codec}`.")
        self.codec = TorchCodec(self.checkpoint, run.device)
        source_of = Provenance("cloned", Provenance.now())
        self.voices = [Voice(tuple(voice), fingerprint, source_of) for voice in voices]
        self.listener = self._listener()
        self.expected = [self.listener.expected(text) for text in self.options.sentences] if self.listener else []
        self.recogniser = _recogniser(self.options)

    def measure(self, model: Qwen2, step: int) -> dict[str, float]:
        """Says all sentences, keeps and shows the sound, and returns the mean error of each kind that is judged."""
        tts = SparkTTS(self.checkpoint, self._engine(model), VoiceLibrary())
        found: dict[str, list[float]] = defaultdict(list)
        for number, sentence in enumerate(self.options.sentences):
            samples = self._say(tts, number, sentence, step)
            for name, rate in self._errors(number, sentence, samples):
                found[name].append(rate)
        return {name: float(np.mean(rates)) for name, rates in found.items()}

    def _engine(self, model: Qwen2) -> Engine:
        device, dtype = self.run.device, choose_dtype("auto", self.run.device)
        speaker = TorchLanguageModel(TrainedWeights(model), device, dtype)
        return Engine("torch", str(device), str(dtype), lambda: self.codec, lambda: speaker)

    def _say(self, tts: SparkTTS, number: int, sentence: str, step: int) -> Samples | None:
        """None: nothing came out. Checks are off: a model that has hardly learnt is cut at its budget, and judged."""
        voice = self.voices[number % len(self.voices)]
        try:
            audio = tts.say(sentence, voice=voice, seed=number, reading=ReadingOptions(checks=False))
        except SparkTTSError as error:
            self.run.say(f"Sample {number} at step {step}: {error}")
            return None
        if not len(audio.samples):
            return None
        audio.save(self.run.out / FOLDER / f"step-{step}-{number}.wav")
        self.run.log_audio(step, f"sample {number}", audio.samples, audio.sample_rate)
        return audio.samples

    def _errors(self, number: int, sentence: str, samples: Samples | None) -> Iterator[tuple[str, float]]:
        if self.listener is not None:
            expected = self.expected[number]
            said = _heard(self.listener.heard, samples) or []
            yield "phoneme_error", edit_distance(said, expected) / len(expected)
        if self.recogniser is not None:
            from ...evaluate.lists import Item
            from ...evaluate.metrics import text_errors

            language = Item("", sentence).language
            spoken: Language = "en" if language == "en" else "zh"
            text = _heard(partial(self.recogniser.transcribe, language=spoken), samples) or ""
            for metric, errors in text_errors(sentence, text, language).items():
                yield NAMES[metric], errors.rate

    def _listener(self) -> AlignerPhonemes | None:
        """The aligner that the options name, or that of the checkpoint, through the features that it knows."""
        from ...engine.torch.aligner import Aligner
        from ...evaluate.judges.aligner import AlignerPhonemes

        options, checkpoint, device = self.options, self.checkpoint, self.run.device
        if options.aligner is None and not checkpoint.options.aligner:
            return None
        aligner = Aligner.load(options.aligner or checkpoint, device)
        if options.features is None:
            own = self.codec.parts.wav2vec2
            return AlignerPhonemes(aligner.require(own.fingerprints), self.codec.features, "")
        encoder = open_encoder(options.features, device)
        listen = partial(encode_clip, encoder, device=device)
        return AlignerPhonemes(aligner.require(encoder.fingerprints), listen, "")


class TrainedWeights:
    """A model that is being trained, as the engine reads a checkpoint's."""

    def __init__(self, model: Qwen2) -> None:
        self.lm: LanguageModelConfig = model.config
        self._tensors = dict(published_tensors(model))

    def lm_tensors(self, skip: Collection[str] = ()) -> Iterator[tuple[str, Array]]:
        """Name and float32 values of each tensor."""
        for name in self._tensors:
            if name not in skip:
                yield name, self.lm_mapped(name)[0]

    def lm_mapped(self, name: str) -> tuple[Array, str]:
        """One tensor, and its type."""
        return self._tensors[name].detach().float().cpu().numpy(), "F32"


def _heard(listen: Callable[[Samples], Heard], samples: Samples | None) -> Heard | None:
    """None for speech too short to be heard, too."""
    if samples is None:
        return None
    try:
        return listen(samples)
    except AudioError:
        return None


def _recogniser(options: SampleOptions) -> Recogniser | None:
    """Raises OptionError for a judge that is not there."""
    if options.judge is None:
        return None
    from ...evaluate.judges.packages import PackageFiles
    from ...evaluate.judges.registry import open_judge

    packages = PackageFiles.beside(os.environ.get("SPARKTTS_JUDGES") or None)
    recogniser: Recogniser = open_judge("recogniser", options.judge, packages)
    return recogniser
