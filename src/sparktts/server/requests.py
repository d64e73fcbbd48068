"""What clients may ask for: OpenAI's fields, and the project's own beside them."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..longform import ReadingOptions
from ..sampling import SamplingOptions
from ..style import Style, parse_amount
from ..text import TextOptions
from ..types import Level
from .errors import BAD, ApiError

AudioFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
PCM_RATE = 24000  # what clients of `pcm` expect
MAX_NAME = 200
Amount = Annotated[str | float | None, Field(description="A level, such as `high`, or a number.")]
Text = Annotated[str, Field(max_length=1_000_000)]


class VoiceId(BaseModel):
    """A voice by its id, as newer clients name it."""

    model_config = ConfigDict(extra="forbid")
    id: Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


class Manner(BaseModel):
    """Who speaks and how: all fields but the text and the model."""

    model_config = ConfigDict(extra="ignore")

    voice: Annotated[str, Field(min_length=1, max_length=MAX_NAME)] | VoiceId = "default"
    response_format: AudioFormat = "mp3"
    speed: Annotated[float, Field(ge=0.25, le=4.0, description="Faster or slower at the same pitch.")] = 1.0
    instructions: Annotated[str | None, Field(max_length=10_000, description="Ignored, with a warning.")] = None
    # Beyond OpenAI's.
    reference_audio: Annotated[
        str | None, Field(description="A clip to clone, as base64 or a data URL, in place of `voice`.")
    ] = None
    reference_text: Annotated[str | None, Field(max_length=2000, description="What is said in the clip.")] = None
    gender: Annotated[Literal["female", "male"] | None, Field(description="Creates a voice.")] = None
    pitch: Amount = None
    style_speed: Amount = None
    seed: Annotated[int | None, Field(ge=0, lt=2**63)] = None
    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] = 50
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    repetition_penalty: Annotated[float, Field(ge=0.5, le=5)] = 1.0
    language: Annotated[Literal["auto", "zh", "en"], Field(description="How numbers are read.")] = "auto"
    normalize: Annotated[bool, Field(description="Numbers, dates and units in words.")] = True
    pauses: Annotated[float, Field(ge=0, le=5, description="Factor of the silences between sentences.")] = 1.0
    checks: Annotated[bool, Field(description="Sentences that fail are tried again.")] = True
    retries: Annotated[int, Field(ge=0, le=20)] = 2
    exact: Annotated[bool, Field(description="Samples as without streaming; they come later.")] = False

    @field_validator("speed", "temperature", "top_p", "repetition_penalty", "pauses", "pitch", "style_speed")
    @classmethod
    def _finite(cls, value: object) -> object:
        if isinstance(value, float) and not abs(value) < float("inf"):
            raise ValueError("must be a finite number")
        return value

    @property
    def voice_name(self) -> str:
        return self.voice if isinstance(self.voice, str) else self.voice.id

    def style(self) -> Style | None:
        """Gender, pitch and speed, if any is given. Raises OptionError."""
        if self.gender is self.pitch is self.style_speed is None:
            return None
        return Style(self.gender, _amount(self.pitch), _amount(self.style_speed))

    def sampling(self) -> SamplingOptions:
        return SamplingOptions(self.temperature, self.top_k, self.top_p, self.repetition_penalty, self.seed)

    def text_options(self) -> TextOptions:
        language = None if self.language == "auto" else self.language
        return TextOptions(normalize=self.normalize, language=language, pauses=self.pauses)

    def reading(self) -> ReadingOptions:
        return ReadingOptions(checks=self.checks, retries=self.retries)

    def clip(self) -> bytes | None:
        """The bytes of the inline clip. Raises ApiError if it is not base64."""
        if self.reference_audio is None:
            return None
        text = self.reference_audio
        if text.startswith("data:"):
            head, comma, text = text.partition(",")
            if not comma or not head.endswith(";base64"):
                raise ApiError(BAD, "reference_audio is no data URL in base64.", "reference_audio")
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise ApiError(BAD, "reference_audio is not base64.", "reference_audio") from None


class SpeechRequest(Manner):
    """A text to be spoken."""

    model: Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
    input: Annotated[Text, Field(min_length=1)]
    stream_format: Literal["audio", "sse"] = "audio"
    include_report: Annotated[
        bool, Field(description="With `sse`: the last event tells what happened to each sentence.")
    ] = False


def _amount(value: str | float | None) -> Level | float | None:
    return parse_amount(value) if isinstance(value, str) else value
