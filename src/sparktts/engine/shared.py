"""One language model for several threads: their sequences run in the same steps, and come and go as they like."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..errors import GenerationError
from ..sampling import SamplingOptions
from .base import Grammar, Handle, IdSet, LanguageModel, Samples

GRACE = 0.004  # seconds for which a step waits for readers that are about to ask for it as well


class SharedModel:
    """Hands out seats. Whoever asks for a step takes it for all who ask at that time; the others get their part of it.

    The model is touched by one thread at a time. steps, tokens: counted since the beginning.
    """

    def __init__(self, load: Callable[[], LanguageModel]) -> None:
        """load: gives the model when it is first needed."""
        self._load = load
        self._changed = threading.Condition()
        self._asking: list[Seat] = []
        self._expected: set[Seat] = set()  # had a part in the last step and are not back yet
        self.steps = self.tokens = 0

    def seat(self) -> Seat:
        """A language model for one thread."""
        return Seat(self)

    def add(self, seat: Seat, prompt: Sequence[int], sampling: SamplingOptions, grammar: Grammar) -> Handle:
        with self._changed:
            handle = self._load().add(prompt, sampling, _Gated(grammar, seat))
            seat.grammars[handle] = grammar
            return handle

    def cancel(self, seat: Seat, handle: Handle) -> None:
        with self._changed:
            self._load().cancel(handle)
            seat.grammars.pop(handle, None)
            if not seat.grammars:
                self._expected.discard(seat)
                self._changed.notify_all()

    def logits(self, ids: Sequence[int]) -> Samples:
        with self._changed:
            return self._load().logits(ids)

    def step(self, seat: Seat) -> dict[Handle, int]:
        with self._changed:
            seat.outcome = None
            self._asking.append(seat)
            self._expected.discard(seat)  # the last one who is expected wakes nobody: it takes the step itself
            patience = time.monotonic() + GRACE
            while seat.outcome is None:
                left = patience - time.monotonic()
                if self._expected and left > 0:
                    self._changed.wait(left)
                else:
                    self._step_for_all()
            outcome = seat.outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _step_for_all(self) -> None:
        """One step of every sequence whose thread asks for it."""
        seats, self._asking = self._asking, []
        self._expected.clear()
        try:
            self._deal(seats, self._run(seats))
        except GenerationError:
            # One sequence cannot go on, and the model does not tell which: the others must not fail with it.
            for seat in seats:
                try:
                    self._deal([seat], self._run([seat]))
                except GenerationError as error:
                    seat.outcome = error
        except BaseException as error:
            for seat in seats:
                seat.outcome = error
        self._changed.notify_all()

    def _run(self, seats: Sequence[Seat]) -> dict[Handle, int]:
        for seat in seats:
            seat.open = True
        try:
            said = self._load().step()
        finally:
            for seat in seats:
                seat.open = False
        self.steps += 1
        self.tokens += len(said)
        return said

    def _deal(self, seats: Sequence[Seat], said: dict[Handle, int]) -> None:
        """Gives everyone their ids; sequences that are done are forgotten."""
        for seat in seats:
            own = {handle: said[handle] for handle in seat.grammars if handle in said}
            seat.grammars = {handle: grammar for handle, grammar in seat.grammars.items() if not grammar.done}
            seat.outcome = own
            if own and seat.grammars:
                self._expected.add(seat)


@dataclass(eq=False)
class Seat:
    """A LanguageModel for one thread. open: its sequences may go on, as their thread waits in `step`."""

    shared: SharedModel
    grammars: dict[Handle, Grammar] = field(default_factory=dict)
    open: bool = False
    outcome: dict[Handle, int] | BaseException | None = None

    def add(self, prompt: Sequence[int], sampling: SamplingOptions, grammar: Grammar) -> Handle:
        """Queues a sequence; its first id comes with the next `step`."""
        return self.shared.add(self, prompt, sampling, grammar)

    def step(self) -> dict[Handle, int]:
        """One sampled id for every running sequence of this seat but those that wait."""
        return self.shared.step(self)

    def cancel(self, handle: Handle) -> None:
        """Drops a sequence, running or not."""
        self.shared.cancel(self, handle)

    def logits(self, ids: Sequence[int]) -> Samples:
        """(n, vocabulary) float32 scores after each of the n ids."""
        return self.shared.logits(ids)


class _Gated:
    """A grammar that waits while its own thread is elsewhere: only that thread may change it."""

    def __init__(self, grammar: Grammar, seat: Seat) -> None:
        self._grammar, self._seat = grammar, seat

    @property
    def done(self) -> bool:
        return self._grammar.done

    @property
    def waiting(self) -> bool:
        return not self._seat.open or self._grammar.waiting

    def forced(self) -> tuple[int, ...]:
        return self._grammar.forced()

    def legal(self) -> IdSet:
        return self._grammar.legal()

    def accept(self, token: int) -> None:
        self._grammar.accept(token)
