"""Text as written becomes utterances as spoken: markup, cleaning, numbers in words, splitting."""

from .duration import count_syllables, estimate_seconds
from .lexicon import load_lexicon
from .prepare import MAX_CHARACTERS, Preparation, PreparedText, TextOptions, prepare
from .spans import language_spans
from .split import Utterance, split_utterance

__all__ = [
    "MAX_CHARACTERS",
    "Preparation",
    "PreparedText",
    "TextOptions",
    "Utterance",
    "count_syllables",
    "estimate_seconds",
    "language_spans",
    "load_lexicon",
    "prepare",
    "split_utterance",
]
