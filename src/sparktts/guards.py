"""What can go wrong with an utterance while and after the model writes it, and how it is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

TOKENS_PER_SECOND = 50
MAX_TOKENS = 3000  # one minute: what the published system allows
STUCK_WINDOW = 90  # tokens; 1.8 s, longer than any pause inside a sentence
STUCK_VARIETY = 4  # a window with no more different tokens than this is no speech
SLACK_SECONDS = 2.0
OVERLONG = 2.5  # times the expected duration
OVERSHORT = 0.3


class Problem(StrEnum):
    """Why an attempt is no good, in words that complete "the model ..."."""

    SILENT = "wrote no speech"
    OVERLONG = "did not stop"
    STUCK = "repeated itself"
    OVERSHORT = "stopped far too early"


@dataclass(frozen=True)
class Guard:
    """Limits of one utterance, from its expected duration in seconds."""

    expected: float

    @property
    def budget(self) -> int:
        """Semantic tokens after which the model is stopped."""
        return min(MAX_TOKENS, round(TOKENS_PER_SECOND * (OVERLONG * self.expected + SLACK_SECONDS)))

    def while_speaking(self, semantic: Sequence[int]) -> Problem | None:
        """Called after each token. semantic: (t,) codes so far."""
        if len(semantic) >= self.budget:
            return Problem.OVERLONG
        if len(semantic) >= STUCK_WINDOW and len(semantic) % 10 == 0:
            return Problem.STUCK if len(set(semantic[-STUCK_WINDOW:])) <= STUCK_VARIETY else None
        return None

    def when_done(self, semantic: Sequence[int]) -> Problem | None:
        """Called once the model has stopped by itself. semantic: (T,) codes."""
        if not semantic:
            return Problem.SILENT
        if self.expected >= 1.0 and len(semantic) < OVERSHORT * self.expected * TOKENS_PER_SECOND:
            return Problem.OVERSHORT
        return None

    def good(self, semantic: Sequence[int], problem: Problem) -> int:
        """Tokens before the point at which an attempt went wrong, as far as that can be told. semantic: (t,) codes."""
        if problem is Problem.STUCK:
            repeated, at = set(semantic[-STUCK_WINDOW:]), len(semantic)
            while at and semantic[at - 1] in repeated:
                at -= 1
            return at
        if problem is Problem.OVERLONG:
            return min(len(semantic), round(TOKENS_PER_SECOND * self.expected))
        return len(semantic)

    def hardly_begun(self, tokens: int) -> bool:
        """Whether so little of the utterance is spoken in `tokens` that it should be begun again."""
        return tokens < OVERSHORT * self.expected * TOKENS_PER_SECOND
