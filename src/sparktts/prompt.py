"""Prompts, and whole training sequences: what the model reads, and the grammar of what it says.

    clone    <|task_tts|> content(text) [style] global_token(speaker) semantic_token(...
    create   <|task_controllable_tts|> content(text) style(gender pitch speed)
             -> acoustic_token(pitch_value speed_value) global_token(speaker) semantic_token(...

Where text comes on demand (`on_demand`), content holds the first two words and the others stand among the semantics.
Source: arXiv 2503.01710, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from .errors import InvalidTokens, OptionError
from .grammar import Choose, Force, SpeechGrammar
from .on_demand import Marks, on_demand_grammar, on_demand_layout, opening
from .tokenizer import SparkTokenizer, TokenFamily

__all__ = [
    "SPEAKER_TOKENS",
    "Choose",
    "Controls",
    "Force",
    "Prompt",
    "PromptBuilder",
    "SpeechGrammar",
    "SpokenText",
    "TrainingSequence",
]
SPEAKER_TOKENS = 32
MODERATE_RATE = 4.2  # syllables a second
PACES = (1.75, 1.4, 1.0, 0.8, 0.7)  # durations at the speed levels, relative to moderate: very low .. very high
_KEPT_WORDS = 1 << 16  # encoded words that are remembered: training meets the same ones again and again


@dataclass(frozen=True)
class Controls:
    """What a style block says: numbers of label tokens, and exact values that are prefilled. None: the model decides.

    gender: 0 female, 1 male; pitch_label, speed_label: 0 very low .. 4 very high;
    pitch_value: mel 0..1000; speed_value: syllables a second 0..10.
    """

    gender: int | None = None
    pitch_label: int | None = None
    speed_label: int | None = None
    pitch_value: int | None = None
    speed_value: int | None = None

    @property
    def pace(self) -> float:
        """How long speech takes, relative to moderate speech, as far as speed was asked for."""
        if self.speed_value is not None:
            return min(max(MODERATE_RATE / (self.speed_value + 0.5), 0.5), 4.0)  # the value was rounded down
        return 1.0 if self.speed_label is None else PACES[self.speed_label]


@dataclass(frozen=True)
class Prompt:
    """What the language model is fed, and what may follow."""

    ids: tuple[int, ...]
    grammar: SpeechGrammar


@dataclass(frozen=True)
class SpokenText:
    """What a clip says, and its tokens.

    text: as the text front-end gives it (text first); words: the same in words (on demand), with word_ends, the
    number of semantic tokens at which each of them ends, rising, as many as words. semantic: (T,) codes at 50 Hz.
    """

    semantic: Sequence[int]
    text: str = ""
    words: Sequence[str] = ()
    word_ends: Sequence[int] = ()

    def __post_init__(self) -> None:
        if len(self.words) != len(self.word_ends):
            raise InvalidTokens(f"There are {len(self.word_ends)} ends of words for {len(self.words)} words.")


NOTHING_SPOKEN = SpokenText(())


class TrainingSequence(NamedTuple):
    """A whole sequence. ids: prompt, output and the stop; targets: True where the model says the id itself, so that
    the id has a loss (forced ids and the prompt have none). ids[i] is predicted at position i - 1."""

    ids: list[int]
    targets: list[bool]


class PromptBuilder:
    """Builds prompts, and the training sequences that equal them, from a checkpoint's own token ids."""

    def __init__(self, tokenizer: SparkTokenizer) -> None:
        self.tokenizer = tokenizer
        self.marks = Marks(tokenizer.start["content"], tokenizer.end["content"], tokenizer.stop)
        self._encode_word = lru_cache(_KEPT_WORDS)(tokenizer.encode)

    def clone(
        self,
        text: str,
        speaker: Sequence[int],
        transcript: str = "",
        semantic: Sequence[int] = (),
        controls: Controls = Controls(),
    ) -> Prompt:
        """Prompt that speaks `text` with the voice of 32 global tokens.

        With the transcript and semantic tokens of the reference clip the model continues the clip. Pitch and speed
        labels add a style block (exact values do not apply: the published model was not trained to take them here).
        Raises InvalidTokens for tokens outside the codebooks.
        """
        t = self.tokenizer
        ids = self._clone_head(transcript + text, speaker, controls)
        start = (t.start["semantic_token"], *_codes(t.semantic, semantic))
        speak = Choose(t.semantic, stop=t.stop)
        if semantic:
            return Prompt((*ids, *start), SpeechGrammar((speak,)))
        return Prompt(tuple(ids), SpeechGrammar((Force(start), speak)))

    def clone_on_demand(
        self,
        words: Sequence[str],
        speaker: Sequence[int],
        before: SpokenText = NOTHING_SPOKEN,
        controls: Controls = Controls(),
        *,
        closed: bool = True,
    ) -> Prompt:
        """Like `clone`, for a model that asks for its words.

        words: what to say; before: words and tokens of the reference clip, which the model continues. closed False:
        more words will be given to the grammar; two must be known. Raises InvalidTokens, TextError.
        """
        t = self.tokenizer
        whole = [*before.words, *words]
        ids = self._clone_head(opening(whole), speaker, controls)
        steps: tuple[Force | Choose, ...] = (Choose(t.semantic, stop=t.stop),)
        if before.words:
            ids += [t.start["semantic_token"], *_flat(self._stream(whole, before, 0))]
        else:
            steps = (Force((t.start["semantic_token"],)), *steps)
        encode, pace = self._encode_word, controls.pace
        grammar = on_demand_grammar(steps, whole, len(before.words), closed, self.marks, encode, pace)
        return Prompt(tuple(ids), grammar)

    def create(self, text: str, controls: Controls) -> Prompt:
        """Prompt that makes up a voice and speaks `text` with it. Raises OptionError without a gender.

        Labels that are None are moderate; values that are given are prefilled, the others the model chooses.
        """
        return Prompt(self._create_head(text, controls), SpeechGrammar(self._creation(controls)))

    def create_on_demand(self, words: Sequence[str], controls: Controls, *, closed: bool = True) -> Prompt:
        """Like `create`, for a model that asks for its words. closed False: more words will be given to the grammar.

        Raises OptionError without a gender, TextError without enough words.
        """
        ids = self._create_head(opening(words), controls)
        steps = self._creation(controls)
        return Prompt(ids, on_demand_grammar(steps, words, 0, closed, self.marks, self._encode_word, controls.pace))

    def training_clone(
        self,
        spoken: SpokenText,
        speaker: Sequence[int],
        before: SpokenText = NOTHING_SPOKEN,
        controls: Controls = Controls(),
    ) -> TrainingSequence:
        """The sequence of `clone` (or `clone_on_demand`, if `spoken` has words) with what the model is to say.

        speaker: (32,) global codes of the reference; before: the reference clip when its transcript is in the prompt;
        its text must end as `clone` needs it (a space where one belongs). Raises InvalidTokens.
        """
        t = self.tokenizer
        if spoken.words:
            whole = [*before.words, *spoken.words]
            head = self._clone_head(opening(whole), speaker, controls)
            past = _flat(self._stream(whole, before, 0)) if before.words else []
            stream = self._stream(whole, spoken, len(before.words))
        else:
            head = self._clone_head(before.text + spoken.text, speaker, controls)
            past = _codes(t.semantic, before.semantic)
            stream = [(_codes(t.semantic, spoken.semantic), True)]
        return _training([([*head, t.start["semantic_token"], *past], False), *stream, ([t.stop], True)])

    def training_create(
        self,
        spoken: SpokenText,
        speaker: Sequence[int],
        controls: Controls,
        pitch_value: int,
        speed_value: int,
    ) -> TrainingSequence:
        """The sequence of `create` (or `create_on_demand`, if `spoken` has words) with what the model is to say.

        controls: gender and levels (None: moderate); its exact values are not read: pitch_value (mel) and speed_value
        (syllables a second) are what the model says. speaker: (32,) codes of the same clip.
        Raises InvalidTokens, OptionError without a gender.
        """
        t = self.tokenizer
        if spoken.words:
            head = self._create_head(opening(spoken.words), controls)
            stream = self._stream(spoken.words, spoken, 0)
        else:
            head = self._create_head(spoken.text, controls)
            stream = [(_codes(t.semantic, spoken.semantic), True)]
        values = [t.pitch_value.id(pitch_value), t.speed_value.id(speed_value)]
        return _training(
            [
                ([*head, t.start["acoustic_token"]], False),
                (values, True),
                ([t.end["acoustic_token"], t.start["global_token"]], False),
                (_codes(t.speaker, speaker, SPEAKER_TOKENS), True),
                ([t.end["global_token"], t.start["semantic_token"]], False),
                *stream,
                ([t.stop], True),
            ]
        )

    def _stream(self, words: Sequence[str], spoken: SpokenText, first: int) -> list[tuple[list[int], bool]]:
        """Semantics of the words from `first` on, with their requests and answers."""
        codes = _codes(self.tokenizer.semantic, spoken.semantic)
        encoded = [self._encode_word(word) for word in words]
        return on_demand_layout(encoded, spoken.word_ends, codes, self.marks, first)

    def _clone_head(self, text: str, speaker: Sequence[int], controls: Controls) -> list[int]:
        t = self.tokenizer
        ids = [t.task_tts, *self._content(text), *self._labels(controls, gender=False)]
        return ids + self._enclosed("global_token", _codes(t.speaker, speaker, SPEAKER_TOKENS))

    def _create_head(self, text: str, controls: Controls) -> tuple[int, ...]:
        if controls.gender is None:
            raise OptionError("Creating a voice needs a gender: female or male.")
        return (self.tokenizer.task_create, *self._content(text), *self._labels(controls, gender=True))

    def _creation(self, controls: Controls) -> tuple[Force | Choose, ...]:
        t = self.tokenizer
        return (
            Force((t.start["acoustic_token"],)),
            _value(t.pitch_value, controls.pitch_value),
            _value(t.speed_value, controls.speed_value),
            Force((t.end["acoustic_token"], t.start["global_token"])),
            Choose(t.speaker, count=SPEAKER_TOKENS),
            Force((t.end["global_token"], t.start["semantic_token"])),
            Choose(t.semantic, stop=t.stop),
        )

    def _content(self, text: str) -> list[int]:
        return self._enclosed("content", self.tokenizer.encode(text))

    def _enclosed(self, mark: str, ids: Sequence[int]) -> list[int]:
        return [self.tokenizer.start[mark], *ids, self.tokenizer.end[mark]]

    def _labels(self, controls: Controls, gender: bool) -> list[int]:
        """The style block; when cloning only what was asked for, when creating all three."""
        t, moderate = self.tokenizer, 2 if gender else None
        pitch = moderate if controls.pitch_label is None else controls.pitch_label
        speed = moderate if controls.speed_label is None else controls.speed_label
        chosen = (
            (t.gender, controls.gender if gender else None),
            (t.pitch_label, pitch),
            (t.speed_label, speed),
        )
        ids = [family.id(number) for family, number in chosen if number is not None]
        return self._enclosed("style_label", ids) if ids else []


def _training(pieces: Sequence[tuple[Sequence[int], bool]]) -> TrainingSequence:
    return TrainingSequence(_flat(pieces), [target for piece, target in pieces for _ in piece])


def _flat(pieces: Sequence[tuple[Sequence[int], bool]]) -> list[int]:
    return [token for piece, _ in pieces for token in piece]


def _value(family: TokenFamily, number: int | None) -> Force | Choose:
    return Choose(family, count=1) if number is None else Force((family.id(number),))


def _codes(family: TokenFamily, codes: Sequence[int], count: int | None = None) -> list[int]:
    if count is not None and len(codes) != count:
        raise InvalidTokens(f"A voice has {count} global tokens, not {len(codes)}.")
    if len(codes) and not (min(codes) >= 0 and max(codes) < family.count):
        raise InvalidTokens(
            f"The {family.name} tokens must be 0 to {family.count - 1}, not {min(codes)} to {max(codes)}."
        )
    return [family.first + int(code) for code in codes]
