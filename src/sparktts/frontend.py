"""What the language model reads of a text: the text itself or its phonemes, whole or in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import TextError
from .on_demand import plain_words, word_ends
from .prompt import SpokenText
from .text.exact import without_exact
from .types import Language

if TYPE_CHECKING:
    from .checkpoint.config import CodecOptions
    from .voice import Voice


@dataclass(frozen=True)
class Frontend:
    """phonemes: the model reads those, not letters; on_demand: it asks for its words while it speaks."""

    phonemes: bool = False
    on_demand: bool = False

    @classmethod
    def of(cls, options: CodecOptions) -> Frontend:
        """That of a checkpoint."""
        return cls(options.text_frontend == "phonemes", options.text_order == "on_demand")

    def text(self, text: str, language: Language) -> str:
        """An utterance as the content block holds it. Raises TextError, OptionError where packages are missing."""
        return " ".join(self.words(text, language)) if self.phonemes else without_exact(text)

    def words(self, text: str, language: Language) -> tuple[str, ...]:
        """An utterance in words. Raises TextError, OptionError where packages are missing."""
        if self.phonemes:
            from .text.phonemes import phonemize

            return phonemize(text, language)
        words = plain_words(without_exact(text))
        if not words:
            raise TextError("There is nothing to say in the text: it has no letters and no numbers.")
        return words

    def transcript(self, transcript: str, language: Language) -> str:
        """A transcript as it stands before a text in this language, which goes on after it."""
        return self.text(transcript, language) + self.joint(transcript, language) if transcript else ""

    def joint(self, transcript: str, language: Language) -> str:
        """What stands between a transcript and a text: a full stop after a bare word, a space in English.

        Words in phonemes have a space between them in any language.
        """
        if self.phonemes:
            return " "
        bare = transcript[-1:].isascii() and transcript[-1:].isalnum()
        return ("." if bare else "") + (" " if language == "en" else "")

    def spoken(self, voice: Voice, language: Language, rate: float) -> SpokenText | None:
        """Words and tokens of a voice's clip, for a model that asks for its words; rate: tokens a second.

        None without word times, or with those of other words than the model reads.
        """
        words = tuple(word.text for word in voice.words)
        if not voice.transcript or not words or words != self.words(voice.transcript, language):
            return None
        times = [(word.start, word.end) for word in voice.words]
        return SpokenText(voice.semantic, words=words, word_ends=word_ends(times, len(voice.semantic), rate))
