"""One call of `say`: prepared text becomes tokens, tokens become sound, and a report says how it went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .errors import OptionError
from .longform import Reader, ReadingOptions, Spoken
from .prompt import NOTHING_SPOKEN, Controls, Prompt, PromptBuilder, SpokenText
from .report import Report, UtteranceReport
from .sampling import SamplingOptions
from .style import Style, describe
from .text import PreparedText, Utterance, count_syllables, estimate_seconds
from .text.spans import dominant_language
from .voice import Provenance, Voice
from .windows import decode_in_windows

if TYPE_CHECKING:
    from .audio.audio import Audio
    from .engine.base import Samples
    from .pipeline import Progress, SparkTTS

DEFAULT_STYLE = Style(gender="female")


class Reading:
    """One call of `say`: the voice may become known only with its first utterance."""

    def __init__(
        self,
        tts: SparkTTS,
        prepared: PreparedText,
        voice: Voice | None,
        style: Style | None,
        sampling: SamplingOptions,
        options: ReadingOptions,
    ) -> None:
        self.tts, self.prepared, self.voice, self.sampling, self.options = (
            tts,
            prepared,
            voice,
            sampling,
            options,
        )
        self.style = style or (Style() if voice else DEFAULT_STYLE)
        self.creating = voice is None
        self.notes = [*prepared.notes, *(voice.warnings if voice else ())]
        self.builder = PromptBuilder(tts.tokenizer)
        self.frontend = tts.frontend
        self.before = self._before(voice)
        if self.creating and self.style.gender is None:
            raise OptionError("Creating a voice needs a gender, female or male; or give a voice to speak with.")

    def audio(self, progress: Progress | None) -> Audio:
        from .audio.audio import Audio
        from .audio.join import join

        started = time.perf_counter()
        pieces, reports = [], []
        for spoken in self._spoken():
            pieces.append(self._piece(spoken))
            reports.append(self._report(spoken, len(pieces[-1])))
            if progress is not None:
                progress(len(reports), max(len(reports), len(self.prepared.utterances)))
        samples = join(pieces, [report.pause for report in reports], self.tts.sample_rate)
        elapsed = time.perf_counter() - started
        report = self._summary(len(samples), elapsed, reports)
        return Audio(samples, self.tts.sample_rate, report, self.voice, metadata(report))

    def _spoken(self) -> Iterator[Spoken]:
        utterances = self.prepared.utterances
        if not self.creating:
            yield from self._reader(self.options).read(utterances)
            return
        # The voice comes out of the first utterance, so that one is said before the others may run beside each other.
        for spoken in self._reader(replace(self.options, batch_size=1)).read(utterances[:1]):
            if self.voice is None:
                self.voice = self._created(spoken)
            yield spoken
        yield from self._reader(self.options).read(utterances[1:], first=1)

    def _reader(self, options: ReadingOptions) -> Reader:
        tokenizer = self.tts.tokenizer
        assert self.sampling.seed is not None
        return Reader(
            self.tts.engine.language_model,
            self._prompt,
            tokenizer.semantic,
            tokenizer.speaker,
            self.sampling,
            self.sampling.seed,
            options,
            self._rate_factor(),
        )

    def _prompt(self, utterance: Utterance) -> Prompt:
        voice, controls, language = self.voice, self._controls(utterance), utterance.language
        if self.frontend.on_demand:
            words = self.frontend.words(utterance.text, language)
            if voice is None:
                return self.builder.create_on_demand(words, controls)
            return self.builder.clone_on_demand(words, voice.speaker, self.before, controls)
        text = self.frontend.text(utterance.text, language)
        if voice is None:
            return self.builder.create(text, controls)
        transcript = self.frontend.transcript(voice.transcript or "", language)
        return self.builder.clone(text, voice.speaker, transcript, voice.semantic, controls)

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

    def _rate_factor(self) -> float:
        """Expected duration relative to the default rate, from the style or the clip with its transcript."""
        first = self.prepared.utterances[0]
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
        if not spoken.semantic:
            return np.zeros(0, dtype=np.float32)
        assert self.voice is not None
        codec = self.tts.engine.codec
        return decode_in_windows(codec, np.array(spoken.semantic), np.array(self.voice.speaker))

    def _report(self, spoken: Spoken, samples: int) -> UtteranceReport:
        utterance = spoken.utterance
        if not self.options.checks and spoken.problems:
            self.notes.append(
                f"The model {spoken.problems[-1].value} for {utterance.source!r}; checks are off, so it was kept."
            )
        return UtteranceReport(
            source=utterance.source,
            text=utterance.text,
            seconds=samples / self.tts.sample_rate,
            pause=utterance.pause,
            seed=spoken.seed,
            retries=spoken.retries,
            problems=tuple(problem.value for problem in spoken.problems),
        )

    def _summary(self, samples: int, elapsed: float, reports: list[UtteranceReport]) -> Report:
        engine = self.tts.engine
        assert self.voice is not None
        assert self.sampling.seed is not None
        return Report(
            model=self.tts.checkpoint.name,
            engine=engine.name,
            device=engine.device,
            dtype=engine.dtype,
            voice=self.voice.id,
            seed=self.sampling.seed,
            style=describe(self._controls(self.prepared.utterances[0]), exact=self.creating),
            seconds=samples / self.tts.sample_rate,
            elapsed=elapsed,
            utterances=tuple(reports),
            notes=tuple(self.notes),
        )


def metadata(report: Report) -> dict[str, str]:
    """What every saved file says about itself."""
    from .audio.audio import SYNTHETIC_NOTICE

    origin = f"model {report.model}, voice {report.voice}, seed {report.seed}"
    return {"comment": f"{SYNTHETIC_NOTICE} ({origin})", "title": "Synthetic speech", "artist": "sparktts"}
