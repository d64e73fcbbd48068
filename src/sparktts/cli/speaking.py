"""From options to speech: what `say` and `say --batch` share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from .console import Bar
from .texts import checked

if TYPE_CHECKING:
    from ..audio.audio import Audio
    from ..longform import ReadingOptions
    from ..pipeline import SparkTTS
    from ..report import Report
    from ..sampling import SamplingOptions
    from ..streaming import Mode, SpeechStream
    from ..style import Style
    from ..text import TextOptions
    from ..voice import Voice


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and what computes it."""

    model: str | None
    engine: str
    device: str
    dtype: str = "auto"
    concurrency: int = 1

    def load(self) -> SparkTTS:
        """Opens the model; its weights are read when first used. Raises CheckpointError, OptionError."""
        from ..pipeline import SparkTTS

        return SparkTTS.from_pretrained(
            self.model, engine=self.engine, device=self.device, dtype=self.dtype, concurrency=self.concurrency
        )


@dataclass(frozen=True)
class Wish:
    """Who speaks and how: from the options of a command, or from a line of a batch. None: not said."""

    voice: str | None = None
    transcript: str | None = None
    gender: str | None = None
    pitch: str | None = None
    speed: str | None = None
    seed: int | None = None

    @property
    def style(self) -> Style | None:
        """Gender, pitch and speed, if any is given. Raises OptionError."""
        from ..style import Style, parse_amount

        if self.gender is self.pitch is self.speed is None:
            return None
        gender: Any = None if self.gender is None else self.gender.strip().lower()
        return Style(gender, parse_amount(self.pitch), parse_amount(self.speed))

    def check(self) -> None:
        """Raises OptionError or TextError for wrong values and for what does not go together."""
        from ..sampling import SamplingOptions

        SamplingOptions(seed=self.seed)
        style = self.style
        if self.transcript is not None:
            if not checked(self.transcript, "The transcript").strip():
                raise OptionError("The transcript is empty: give the words of the clip, or leave it out.")
            if self.voice is None:
                raise OptionError("A transcript belongs to a clip: give the clip as the voice.")
        if style is not None and style.gender is None and self.voice is None:
            raise OptionError("Pitch and speed need a speaker: give a voice, or a gender to create one.")


@dataclass
class Speaker:
    """A loaded model that speaks with the same options again and again; each clip is encoded once."""

    tts: SparkTTS
    text_options: TextOptions
    reading: ReadingOptions
    sampling: SamplingOptions
    _voices: dict[tuple[str, str | None], Voice] = field(default_factory=dict)

    def say(self, text: str, wish: Wish, bar: Bar | None = None) -> Audio:
        """Speech of one text. bar: shows what goes on. Raises SparkTTSError."""
        from ..text import prepare

        style = wish.style
        prepare(text, self.text_options)  # what cannot be read should be said before the weights are loaded
        bar = bar or Bar()
        bar.phase("Reading the voice")
        voice = None if wish.voice is None else self._voice(wish.voice, wish.transcript)
        bar.phase("Loading the model")
        _ = self.tts.engine.codec, self.tts.engine.language_model
        bar.phase("Speaking")
        return self.tts.say(
            text,
            voice=voice,
            style=style,
            seed=wish.seed,
            sampling=self.sampling,
            text_options=self.text_options,
            reading=self.reading,
            progress=bar.speaking,
        )

    def stream(
        self, text: str | Iterable[str], wish: Wish, mode: Mode, look_ahead: int | None, bar: Bar | None = None
    ) -> SpeechStream:
        """The same in chunks. Raises SparkTTSError."""
        from ..text import Preparation

        style = wish.style
        if isinstance(text, str):
            next(iter(Preparation(text, self.text_options)))  # as above
        bar = bar or Bar()
        bar.phase("Reading the voice")
        voice = None if wish.voice is None else self._voice(wish.voice, wish.transcript)
        bar.phase("Loading the model")
        return self.tts.stream(
            text,
            voice=voice,
            style=style,
            mode=mode,
            look_ahead=look_ahead,
            seed=wish.seed,
            sampling=self.sampling,
            text_options=self.text_options,
            reading=self.reading,
        )

    def _voice(self, spec: str, transcript: str | None) -> Voice:
        key = spec, transcript
        if key not in self._voices:
            self._voices[key] = chosen_voice(self.tts, spec, transcript)
        return self._voices[key]


def chosen_voice(tts: SparkTTS, spec: str, transcript: str | None) -> Voice:
    """A voice by name, file or clip; only a clip takes a transcript. Raises VoiceError, OptionError ..."""
    if transcript is None:
        return tts.voice(spec)
    if spec in tts.voices or spec.lower().endswith(".json"):
        raise OptionError(f"The voice {spec} is made already: a transcript can only be given with a clip.")
    return tts.clone(Path(spec), transcript)


def summary(audio: Audio, name: str) -> list[str]:
    """Lines for people: what was made, how fast, and what to know about it."""
    assert audio.report is not None
    return told(audio.report, name)


def told(report: Report, name: str) -> list[str]:
    """The same from the report alone."""
    retries = sum(utterance.retries for utterance in report.utterances)
    again = "" if not retries else f", {retries} {'retry' if retries == 1 else 'retries'}"
    speed = f" in {report.elapsed:.1f} s (RTF {report.real_time_factor:.2f})" if report.seconds else ""
    lines = [f"{name}: {report.seconds:.1f} s of speech{speed}, voice {report.voice}, seed {report.seed}{again}"]
    if report.style:
        lines.append(f"Style: {report.style}")
    return lines + [f"Note: {line}" for line in report.notes]


def record(audio: Audio, **more: Any) -> dict[str, Any]:
    """The report as JSON values, and where the sound is."""
    assert audio.report is not None
    return {**audio.report.to_dict(), **more}
