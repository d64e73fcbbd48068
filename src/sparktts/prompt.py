"""The token grammar: what a prompt looks like, which ids may follow it, and how the output reads.

    clone    <|task_tts|> content(text) [style] global_token(speaker) semantic_token(...
    create   <|task_controllable_tts|> content(text) style(gender pitch speed)
             -> acoustic_token(pitch_value speed_value) global_token(speaker) semantic_token(...

Everything is done by ids, never over decoded text. Source: arXiv 2503.01710, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .engine.base import IdSet
from .errors import InvalidTokens, OptionError
from .tokenizer import SparkTokenizer, TokenFamily

SPEAKER_TOKENS = 32


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


@dataclass(frozen=True)
class Force:
    """Ids that come next without a choice."""

    ids: tuple[int, ...]


@dataclass(frozen=True)
class Choose:
    """Ids of one family, sampled `count` times, or until `stop` comes."""

    family: TokenFamily
    count: int | None = None
    stop: int | None = None

    @property
    def legal(self) -> IdSet:
        """The ids that may be sampled."""
        stops = [] if self.stop is None else [(self.stop, self.stop + 1)]
        return IdSet(tuple(sorted([self.family.span, *stops])))


@dataclass
class SpeechGrammar:
    """State machine of one sequence (the `Grammar` protocol), and the reader of what it has accepted."""

    steps: tuple[Force | Choose, ...]
    _at: int = 0
    _taken: int = 0
    _legal: IdSet | None = None
    _read: dict[str, list[int]] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """True once the stop id has been accepted."""
        return self._at >= len(self.steps)

    def forced(self) -> tuple[int, ...]:
        """Ids to feed before the next choice; each call takes them."""
        ids: list[int] = []
        while not self.done and isinstance(step := self.steps[self._at], Force):
            ids += step.ids
            self._enter(self._at + 1)
        return tuple(ids)

    def legal(self) -> IdSet:
        """Ids among which the next one is sampled."""
        if self._legal is None:
            self._legal = self._choice().legal
        return self._legal

    def accept(self, token: int) -> None:
        """Moves on by one sampled id. Raises InvalidTokens when it is not legal."""
        choice = self._choice()
        if token not in self.legal():
            raise InvalidTokens(f"The id {token} cannot come here in the token grammar.")
        if token == choice.stop:
            self._enter(self._at + 1)
            return
        self._read.setdefault(choice.family.name, []).append(choice.family.number(token))
        self._taken += 1
        if self._taken == choice.count:
            self._enter(self._at + 1)

    def read(self, family: TokenFamily) -> tuple[int, ...]:
        """Numbers accepted so far of one family, in order."""
        return tuple(self._read.get(family.name, ()))

    def _choice(self) -> Choose:
        step = self.steps[self._at] if not self.done else None
        if not isinstance(step, Choose):
            raise InvalidTokens("The token grammar expects no id here: feed what it forces first.")
        return step

    def _enter(self, at: int) -> None:
        self._at, self._taken, self._legal = at, 0, None


@dataclass(frozen=True)
class Prompt:
    """What the language model is fed, and what may follow."""

    ids: tuple[int, ...]
    grammar: SpeechGrammar


class PromptBuilder:
    """Builds prompts from a checkpoint's own token ids."""

    def __init__(self, tokenizer: SparkTokenizer) -> None:
        self.tokenizer = tokenizer

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
        ids = [t.task_tts, *self._content(transcript + text), *self._labels(controls, gender=False)]
        ids += self._enclosed("global_token", _codes(t.speaker, speaker, SPEAKER_TOKENS))
        opening = [t.start["semantic_token"], *_codes(t.semantic, semantic)]
        speak = Choose(t.semantic, stop=t.stop)
        if semantic:
            return Prompt((*ids, *opening), SpeechGrammar((speak,)))
        return Prompt(tuple(ids), SpeechGrammar((Force(tuple(opening)), speak)))

    def create(self, text: str, controls: Controls) -> Prompt:
        """Prompt that makes up a voice and speaks `text` with it. Raises OptionError without a gender.

        Labels that are None are moderate; values that are given are prefilled, the others the model chooses.
        """
        if controls.gender is None:
            raise OptionError("Creating a voice needs a gender: female or male.")
        t = self.tokenizer
        ids = (t.task_create, *self._content(text), *self._labels(controls, gender=True))
        steps = (
            Force((t.start["acoustic_token"],)),
            _value(t.pitch_value, controls.pitch_value),
            _value(t.speed_value, controls.speed_value),
            Force((t.end["acoustic_token"], t.start["global_token"])),
            Choose(t.speaker, count=SPEAKER_TOKENS),
            Force((t.end["global_token"], t.start["semantic_token"])),
            Choose(t.semantic, stop=t.stop),
        )
        return Prompt(ids, SpeechGrammar(steps))

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
