"""The token grammar of one sequence: a state machine over ids that says what may follow, and reads what has come.

Everything is done by ids, never over decoded text. Source: arXiv 2503.01710, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .engine.base import IdSet
from .errors import InvalidTokens
from .tokenizer import TokenFamily


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

    @property
    def waiting(self) -> bool:
        """True while what is to be fed next is not known yet: never, when the whole text is in the prompt."""
        return False

    @property
    def closed(self) -> bool:
        """Whether the whole text is known: always, when it is in the prompt."""
        return True

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
