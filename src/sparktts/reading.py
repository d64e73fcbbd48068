"""One call of `say` or `stream`: utterances become tokens, tokens become sound, and a report says how it went."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from .audio.loudness import normalize_volume
from .audio.pitch import median_pitch
from .audio.silence import trim_silence
from .checkpoint.config import MAX_TAKES
from .errors import OptionError
from .longform import Event, Growing, Reader, ReadingOptions, Source, Spoken, Utterances
from .on_demand import OnDemandGrammar
from .prompt import NOTHING_SPOKEN, Controls, Prompt, PromptBuilder, SpokenText
from .report import Report, UtteranceReport
from .sampling import SamplingOptions
from .style import Style, describe
from .text import Preparation, PreparedText, TextOptions, Utterance, count_syllables, estimate_seconds
from .text.spans import dominant_language
from .voice import Provenance, Voice
from .windows import decode_in_windows

if TYPE_CHECKING:
    from .audio.audio import Audio
    from .engine.base import Samples
    from .pipeline import Progress, SparkTTS

DEFAULT_STYLE = Style(gender="female")
STYLE_WEIGHT = 2.5  # of a take's pace and pitch, beside what of it is misheard; measured: docs/ember.md
SOUNDS_KEPT = MAX_TAKES  # of all takes of one utterance
_FOLLOWS = {"again": " and said again", "rest": ", and the rest of it said next", "nothing": ""}


class Prepared(Utterances):
    """Source of a text that is prepared as a whole."""

    def __init__(self, text: PreparedText) -> None:
        super().__init__(text.utterances)
        self._notes, self.count = text.notes, len(text.utterances)

    @property
    def notes(self) -> tuple[str, ...]:
        return self._notes


class Gradual(Utterances):
    """Source of a text that is prepared while it is spoken. Raises TextError at once if nothing of it can be spoken."""

    def __init__(self, text: str, options: TextOptions) -> None:
        self._preparation = Preparation(text, options)
        utterances = iter(self._preparation)
        super().__init__(chain((next(utterances),), utterances))

    @property
    def notes(self) -> tuple[str, ...]:
        return self._preparation.notes


class Reading:
    """One call of `say` or `stream`: the voice may become known only with its first utterance."""

    def __init__(
        self,
        tts: SparkTTS,
        source: Source,
        voice: Voice | None,
        style: Style | None,
        sampling: SamplingOptions,
        options: ReadingOptions,
    ) -> None:
        self.tts, self.source, self.voice, self.sampling, self.options = tts, source, voice, sampling, options
        self.style = style or (Style() if voice else DEFAULT_STYLE)
        self.creating = voice is None
        self.notes = list(voice.warnings if voice else ())
        self.builder = PromptBuilder(tts.tokenizer)
        self.frontend = tts.frontend
        self.before = self._before(voice)
        self.first: Utterance | None = None
        self._factor: float | None = None
        self._sounds: dict[tuple[tuple[int, ...], tuple[int, ...]], Samples] = {}
        if self.creating and self.style.gender is None:
            raise OptionError("Creating a voice needs a gender, female or male; or give a voice to speak with.")

    def audio(self, progress: Progress | None, count: int) -> Audio:
        """What all events come to. count: utterances that are expected."""
        from .audio.audio import Audio
        from .audio.join import join_timed

        started = time.perf_counter()
        pieces, reports = [], []
        for spoken in self.events(takes=self.tts.takes(self.options)):
            if not isinstance(spoken, Spoken):
                continue
            pieces.append(self._piece(spoken))
            reports.append(self.report_of(spoken))
            if progress is not None:
                progress(len(reports), max(len(reports), count))
        samples, spans = join_timed(pieces, [report.pause for report in reports], self.tts.sample_rate)
        reports = [report.placed(*span) for report, span in zip(reports, spans, strict=True)]
        elapsed = time.perf_counter() - started
        report = self.summary(len(samples), elapsed, reports)
        return Audio(samples, self.tts.sample_rate, report, self.voice, self.metadata)

    @property
    def metadata(self) -> dict[str, str]:
        """What every saved file says about itself."""
        from .audio.audio import SYNTHETIC_NOTICE

        voice = f"voice {self.voice.id}, " if self.voice else ""
        origin = f"model {self.tts.checkpoint.name}, {voice}seed {self.sampling.seed}"
        return {"comment": f"{SYNTHETIC_NOTICE} ({origin})", "title": "Synthetic speech", "artist": "sparktts"}

    def events(self, kept: Callable[[], int] = lambda: 0, takes: int = 1) -> Generator[Event, None, None]:
        """What happens to the utterances, as `Reader.events`; `kept` as there. The model is used by this thread."""
        first, together = 0, replace(self.options, takes=takes)
        if self.creating:
            # The voice comes out of the first utterance, so that one is said alone; the others may run together.
            first, alone = 1, replace(together, batch_size=1, takes=self._voices_tried(takes))
            for event in self._reader(alone, kept).events(_OnlyFirst(self.source)):
                if isinstance(event, Spoken) and self.voice is None:
                    self.voice = self._created(event)
                yield event
        yield from self._reader(together, kept).events(self.source, first)

    def _voices_tried(self, takes: int) -> int:
        """A voice is chosen once, and speaks on: unless told how many, twice as many takes of the first utterance."""
        return takes if takes == 1 or self.options.takes else min(2 * takes, MAX_TAKES)

    def _reader(self, options: ReadingOptions, kept: Callable[[], int]) -> Reader:
        assert self.sampling.seed is not None
        return Reader(
            self.tts.language_model(),
            self._prompt,
            self.tts.tokenizer,
            self.sampling,
            self.sampling.seed,
            options,
            self._expected,
            self._extend,
            kept,
            None if options.takes == 1 else self._fault,
        )

    def _fault(self, spoken: Spoken) -> float:
        """How badly an utterance is said: the share of its phonemes that the model's recogniser hears otherwise, and
        how far pace and pitch are from what was asked for."""
        assert self.tts.engine.aligner is not None
        utterance = spoken.utterance
        samples = normalize_volume(self._sound(spoken))
        words = self.frontend.words(utterance.text, utterance.language)
        with self.tts.encoding:
            misread = self.tts.engine.aligner.error_rate(samples, words)
        return misread + STYLE_WEIGHT * (self._off_pace(utterance, samples) + self._off_pitch(samples))

    def _off_pace(self, utterance: Utterance, samples: Samples) -> float:
        """By what factor it is too slow or too fast, as its logarithm; 0 where no pace was asked for."""
        if self.style.speed is None:
            return 0.0
        rate = self.tts.sample_rate
        seconds = max(len(trim_silence(samples, rate)) / rate, 0.1)
        return abs(math.log(seconds / self._expected(utterance)))

    def _off_pitch(self, samples: Samples) -> float:
        """The same of a pitch that is outside of what was asked for."""
        band = self.style.pitch_band(self.voice.gender if self.voice else None)
        found = None if band is None else median_pitch(samples, self.tts.sample_rate)
        if band is None or found is None:
            return 0.0
        return max(math.log(band[0] / found), math.log(found / band[1]), 0.0)

    def _prompt(self, utterance: Utterance, *, skip: int = 0, closed: bool = True) -> Prompt:
        voice, controls, language = self.voice, self._controls(utterance), utterance.language
        self.first = self.first or utterance
        if self.frontend.on_demand:
            words = self._words(utterance, skip, closed)
            if voice is None:
                return self.builder.create_on_demand(words, controls, closed=closed)
            return self.builder.clone_on_demand(words, voice.speaker, self.before, controls, closed=closed)
        text = self.frontend.text(utterance.text, language)
        if voice is None:
            return self.builder.create(text, controls)
        transcript = self.frontend.transcript(voice.transcript or "", language)
        return self.builder.clone(text, voice.speaker, transcript, voice.semantic, controls)

    def _words(self, utterance: Utterance, skip: int, closed: bool) -> Sequence[str]:
        """What is to be said of an utterance; the last word of one that is still arriving may yet change."""
        words = self.frontend.words(utterance.text, utterance.language)
        return words[skip:] if closed else words[skip:-1]

    def _extend(self, prompt: Prompt, utterance: Utterance, skip: int, closed: bool) -> None:
        grammar = prompt.grammar
        assert isinstance(grammar, OnDemandGrammar)
        grammar.append_words(self._words(utterance, skip, closed)[grammar.own_words :])
        if closed:
            grammar.close()

    def _before(self, voice: Voice | None) -> SpokenText:
        """The clip that a model which asks for its words goes on from."""
        if voice is None or not voice.transcript or not self.frontend.on_demand:
            return NOTHING_SPOKEN
        codec = self.tts.engine.codec
        spoken = self.frontend.spoken(voice, dominant_language(voice.transcript), codec.sample_rate / codec.hop)
        if spoken is None:
            self.notes.append(
                "The transcript of the voice was not used: this model needs to know when each word of it is said, and "
                "the voice does not tell; clone it again with this model."
            )
        return spoken or NOTHING_SPOKEN

    def _controls(self, utterance: Utterance) -> Controls:
        return self.style.controls(utterance.language, self.voice.gender if self.voice else None)

    def _expected(self, utterance: Utterance) -> float:
        if self._factor is None:
            self._factor = self._rate_factor(utterance)
        return utterance.seconds * self._factor

    def _rate_factor(self, first: Utterance) -> float:
        """Expected duration relative to the default rate, from the style or the clip with its transcript."""
        usual = count_syllables(first.text) / max(estimate_seconds(first.text), 0.1)
        rate = self.style.rate(first.language)
        if rate is not None and usual > 0:
            return float(np.clip(usual / rate, 0.5, 4.0))
        if self.voice is not None and self.voice.transcript:
            spoken = len(self.voice.semantic) * self.tts.engine.codec.hop / self.tts.sample_rate
            return float(np.clip(spoken / max(estimate_seconds(self.voice.transcript), 0.1), 0.5, 2.5))
        return 1.0

    def _created(self, spoken: Spoken) -> Voice:
        provenance = Provenance(
            kind="created",
            created=Provenance.now(),
            model=self.tts.checkpoint.name,
            style=f"{self.style.gender}; {describe(self._controls(spoken.utterance), exact=True)}".rstrip("; "),
            seed=spoken.seed,
        )
        codec = self.tts.engine.codec.fingerprint
        return Voice(spoken.speaker, codec, provenance, gender=self.style.gender)

    def _piece(self, spoken: Spoken) -> Samples:
        return self._sound(spoken) if spoken.semantic else np.zeros(0, dtype=np.float32)

    def _sound(self, spoken: Spoken) -> Samples:
        """What an utterance sounds like; of the last few, which a choice has listened to, without decoding again."""
        if spoken.speaker:
            speaker = spoken.speaker
        else:
            assert self.voice is not None
            speaker = self.voice.speaker
        codes = (spoken.semantic, speaker)
        if codes not in self._sounds:
            with self.tts.decoding:
                decoded = decode_in_windows(self.tts.engine.codec, np.array(spoken.semantic), np.array(speaker))
            self._sounds[codes] = decoded
            if len(self._sounds) > SOUNDS_KEPT:
                del self._sounds[next(iter(self._sounds))]
        return self._sounds[codes]

    def report_of(self, spoken: Spoken) -> UtteranceReport:
        """The record of an utterance; what a listener should know of it goes into the notes."""
        utterance = spoken.utterance
        seconds = len(spoken.semantic) * self.tts.engine.codec.hop / self.tts.sample_rate
        if spoken.follows:
            self.notes.append(
                f"The model {spoken.problems[-1].value} for {utterance.source!r}, whose beginning had been heard: "
                f"it was cut after {seconds:.1f} s{_FOLLOWS[spoken.follows]}."
            )
        if not self.options.checks and spoken.problems:
            self.notes.append(
                f"The model {spoken.problems[-1].value} for {utterance.source!r}; checks are off, so it was kept."
            )
        return UtteranceReport(
            source=utterance.source,
            text=utterance.text,
            seconds=seconds,
            pause=utterance.pause,
            seed=spoken.seed,
            retries=spoken.retries,
            problems=tuple(problem.value for problem in spoken.problems),
        )

    def summary(self, samples: int, elapsed: float, reports: Sequence[UtteranceReport]) -> Report:
        """The report of the whole. samples: of sound; elapsed: seconds."""
        engine = self.tts.engine
        assert self.voice is not None
        assert self.first is not None
        assert self.sampling.seed is not None
        return Report(
            model=self.tts.checkpoint.name,
            engine=engine.name,
            device=engine.device,
            dtype=engine.dtype,
            voice=self.voice.id,
            seed=self.sampling.seed,
            style=describe(self._controls(self.first), exact=self.creating),
            seconds=samples / self.tts.sample_rate,
            elapsed=elapsed,
            utterances=tuple(reports),
            notes=(*self.source.notes, *self.notes),
        )


class _OnlyFirst:
    """The first utterance of a source."""

    def __init__(self, source: Source) -> None:
        self._source, self._given = source, False

    @property
    def notes(self) -> tuple[str, ...]:
        return self._source.notes

    def next(self) -> Utterance | Growing | None:
        if self._given:
            raise StopIteration
        given = self._source.next()
        self._given = given is not None
        return given

    def wait(self, idle: bool) -> None:
        self._source.wait(idle)

    def close(self) -> None:
        self._source.close()
