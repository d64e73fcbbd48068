"""Spark-TTS as real software: clone voices, create voices and read long text in Chinese and English.

from sparktts import SparkTTS, Style
tts = SparkTTS.from_pretrained("path-or-repo")
tts.say("Hello.", style=Style(gender="female")).save("hello.wav")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .audio.audio import Audio
    from .errors import SparkTTSError
    from .longform import ReadingOptions
    from .pipeline import SparkTTS
    from .sampling import SamplingOptions
    from .style import Style
    from .text import TextOptions
    from .voice import Voice

__version__ = "0.1.0"
__all__ = [
    "Audio",
    "ReadingOptions",
    "SamplingOptions",
    "SparkTTS",
    "SparkTTSError",
    "Style",
    "TextOptions",
    "Voice",
]

_HOMES = {
    "Audio": "audio.audio",
    "ReadingOptions": "longform",
    "SamplingOptions": "sampling",
    "SparkTTS": "pipeline",
    "SparkTTSError": "errors",
    "Style": "style",
    "TextOptions": "text",
    "Voice": "voice",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
