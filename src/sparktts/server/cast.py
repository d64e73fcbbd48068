"""Who stands behind a voice's name: kept voices, presets, and the names of OpenAI's voices."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..longform import ReadingOptions
from ..pipeline import SAMPLE_TEXT
from ..style import Style
from ..types import Gender
from .errors import BAD, ApiError

if TYPE_CHECKING:
    from ..pipeline import SparkTTS
    from ..voice import Voice

DEFAULT = "default"
_FEMALE = ("alloy", "nova", "shimmer", "coral", "sage", "marin")
_MALE = ("onyx", "echo", "fable", "ash", "ballad", "verse", "cedar")
ALIASES: dict[str, tuple[Gender, int]] = {
    **{name: ("female", place) for place, name in enumerate(_FEMALE)},
    **{name: ("male", place) for place, name in enumerate(_MALE)},
}


class Cast:
    """Voices by name. An alias is one of the model's presets, or a voice that the model creates, always the same."""

    def __init__(self, tts: SparkTTS) -> None:
        self._tts = tts
        self._lock = threading.Lock()
        self._created: dict[str, Voice] = {}

    def get(self, name: str) -> Voice:
        """Takes a while for the first use of a created voice. Raises ApiError for an unknown name, VoiceError."""
        if name in self._tts.voices:
            return self._tts.voice(self._tts.voices.get(name))  # never by path: names come from strangers
        if name == DEFAULT:
            chosen = self._tts.checkpoint.options.default_voice
            return self.get(chosen if chosen in self._tts.voices else _FEMALE[0])  # type: ignore[arg-type]
        if name.lower() in ALIASES:
            return self._alias(name.lower())
        known = ", ".join([*self._tts.voices.names(), DEFAULT, *ALIASES])
        raise ApiError(BAD, f"There is no voice named {name!r:.80}; known voices: {known}.", "voice", "voice_not_found")

    def _alias(self, name: str) -> Voice:
        gender, place = ALIASES[name]
        if presets := self._presets(gender):
            return self._tts.voice(self._tts.voices.get(presets[place % len(presets)]))
        with self._lock:
            if name not in self._created:
                style, unchecked = Style(gender=gender), ReadingOptions(checks=False)
                voice = self._tts.say(SAMPLE_TEXT["en"], style=style, seed=place, reading=unchecked).voice
                assert voice is not None
                self._created[name] = voice
            return self._created[name]

    def _presets(self, gender: Gender) -> list[str]:
        voices = self._tts.voices
        return [name for name in voices.names() if voices.is_preset(name) and voices.get(name).gender == gender]
