"""Language models for several threads: their sequences run in the same steps, and come and go as they like."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..errors import GenerationError
from ..sampling import SamplingOptions
from .base import Grammar, Handle, IdSet, LanguageModel, Samples

GRACE = 0.004  # seconds for which a step waits for readers that are about to ask for it as well
# Steps in a row where there are several seats: waking their threads costs as much as a step of a small model.
BURST = 8
AHEAD = 64  # ids that wait for a thread at which no more are made for it; if it gives up, they were made for nothing


class Lanes:
    """Language models with the same weights that step at the same time, each for its share of the threads.

    A small model gains little from larger batches and from several cores for a step: then it is faster to have more.
    """

    def __init__(self, loads: Sequence[Callable[[], LanguageModel]]) -> None:
        """loads: gives each of them when it is first needed."""
        self._lanes = [SharedModel(load) for load in loads]

    def seat(self) -> Seat:
        """A language model for one thread: where the fewest sequences run, and the fewest seats were given."""
        lane = min(self._lanes, key=lambda lane: (lane.running, lane.seats))
        return lane.seat()

    @property
    def steps(self) -> int:
        """Counted since the beginning."""
        return sum(lane.steps for lane in self._lanes)

    @property
    def tokens(self) -> int:
        """Counted since the beginning."""
        return sum(lane.tokens for lane in self._lanes)


class SharedModel:
    """Hands out seats. Whoever asks for a step takes it for all who ask at that time; the others get their part of it.

    Where there are several, it is some steps at once: each seat then has its ids one by one, and asks again after the
    last. Those whose text is closed get theirs whether they ask or not, so that the model need not stand still while
    threads deal with what they have. The model is touched by one thread at a time.
    steps, tokens, seats: counted since the beginning; running: sequences.
    """

    def __init__(self, load: Callable[[], LanguageModel]) -> None:
        """load: gives the model when it is first needed."""
        self._load = load
        self._changed = threading.Condition()  # never held while the model computes: what is ready can be fetched
        self._busy = False  # somebody has the model
        self._waiting = 0  # threads that want it for something short
        self._asking: dict[Seat, None] = {}
        self._expected: set[Seat] = set()  # had a part in the last step and must ask for the next one
        self._speaking: dict[Seat, None] = {}  # have sequences; in the order in which they came
        self.steps = self.tokens = self.seats = self.running = 0

    def seat(self) -> Seat:
        """A language model for one thread."""
        self.seats += 1
        return Seat(self)

    def add(self, seat: Seat, prompt: Sequence[int], sampling: SamplingOptions, grammar: Grammar) -> Handle:
        with self._alone() as model:
            handle = model.add(prompt, sampling, _Gated(grammar, seat))
            seat.grammars[handle] = grammar
            self._speaking[seat] = None
            self.running += 1
            return handle

    def cancel(self, seat: Seat, handle: Handle) -> None:
        with self._alone() as model:
            model.cancel(handle)
            self.running -= seat.forget(handle)
            if not seat.grammars:
                self._speaking.pop(seat, None)
                self._expected.discard(seat)

    def logits(self, ids: Sequence[int]) -> Samples:
        with self._alone() as model:
            return model.logits(ids)

    @contextmanager
    def _alone(self) -> Iterator[LanguageModel]:
        """The model, for something short: steps that several wait for end early for it."""
        with self._changed:
            self._waiting += 1
            try:
                while self._busy:
                    self._changed.wait()
            except BaseException:  # Ctrl-C
                self._changed.notify_all()
                raise
            finally:
                self._waiting -= 1
            self._busy = True
        try:
            yield self._load()
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def step(self, seat: Seat) -> None:
        """Gives a seat something that it has not said, or a failure."""
        with self._changed:
            self._asking[seat] = None
            self._expected.discard(seat)  # the last one who is expected wakes nobody: it takes the step itself
            until = time.monotonic() + GRACE
            while not seat.ready and (delay := self._delay(until)) != 0:
                self._changed.wait(delay)
            if seat.ready:
                self._asking.pop(seat, None)
                return
            seats = self._asking | {other: None for other in self._speaking if other.may_run_ahead}
            self._asking = {}
            self._expected.clear()
            self._busy = True
        try:
            self._step_for_all(list(seats))
        finally:
            self._leave()

    def _delay(self, until: float) -> float | None:
        """Seconds for which somebody who asks should wait; None: until something has changed."""
        if self._busy or self._waiting:
            return None
        return max(0.0, until - time.monotonic()) if self._expected else 0.0

    def _step_for_all(self, seats: Sequence[Seat]) -> None:
        """Steps of every sequence of these seats."""
        try:
            self._run(seats, BURST if len(seats) > 1 else 1)
        except GenerationError:
            # One sequence cannot go on, and the model does not tell which: the others must not fail with it.
            for seat in seats:
                try:
                    self._run([seat], 1)
                except GenerationError as error:
                    seat.failure = error
        except BaseException as error:
            for seat in seats:
                seat.failure = error
        for seat in seats:
            if not seat.grammars:
                self._speaking.pop(seat, None)
        self._expected.update(seat for seat in seats if seat.comes_back and seat not in self._asking)

    def _run(self, seats: Sequence[Seat], steps: int) -> None:
        """So many steps, or fewer: if all seats wait for words or have ended before, or a thread wants the model."""
        for seat in seats:
            seat.open = True
        try:
            while steps and any(seat.open for seat in seats):
                said = self._load().step()
                self.running -= sum(seat.take(said) for seat in seats)
                self.steps += 1
                self.tokens += len(said)
                steps = 0 if self._waiting else steps - 1
        finally:
            for seat in seats:
                seat.open = False


@dataclass(eq=False)
class Seat:
    """A LanguageModel for one thread. What it says of a sequence may lag behind the sequence's grammar by some ids.

    open: its sequences go on, as their thread waits in `step` or has no say in them; spoke: its last step gave
    something; ahead: what its steps gave and nobody has asked for yet; failure: what ends them after that.
    """

    shared: SharedModel
    grammars: dict[Handle, Grammar] = field(default_factory=dict)
    open: bool = False
    spoke: bool = False
    ahead: deque[dict[Handle, int]] = field(default_factory=deque)
    failure: BaseException | None = None

    def add(self, prompt: Sequence[int], sampling: SamplingOptions, grammar: Grammar) -> Handle:
        """Queues a sequence; its first id comes with one of the next calls of `step`."""
        return self.shared.add(self, prompt, sampling, grammar)

    def step(self) -> dict[Handle, int]:
        """One sampled id for every running sequence of this seat but those that wait."""
        if not self.ready:
            self.shared.step(self)
        if self.ahead:
            return self.ahead.popleft()
        failure, self.failure = self.failure, None
        assert failure is not None
        raise failure

    def cancel(self, handle: Handle) -> None:
        """Drops a sequence, running or not."""
        self.shared.cancel(self, handle)

    def logits(self, ids: Sequence[int]) -> Samples:
        """(n, vocabulary) float32 scores after each of the n ids."""
        return self.shared.logits(ids)

    @property
    def ready(self) -> bool:
        """Whether `step` has something to say."""
        return bool(self.ahead) or self.failure is not None

    @property
    def closed(self) -> bool:
        """Whether its sequences take no words from their thread any more, so that they may run ahead of it."""
        return all(grammar.closed for grammar in self.grammars.values())

    @property
    def may_run_ahead(self) -> bool:
        """Whether it may have a part in a step that it has not asked for."""
        return bool(self.grammars) and self.closed and self.failure is None and len(self.ahead) < AHEAD

    @property
    def comes_back(self) -> bool:
        """Whether the next step is worth waiting for it: it did not wait for words, and does not run ahead."""
        return bool(self.grammars) and not self.closed and self.failure is None and self.spoke

    def take(self, said: dict[Handle, int]) -> int:
        """Its part of a step, if it was open. Sequences that are done are forgotten; if none speaks, it closes.

        Returns how many are done.
        """
        if not self.open:
            return 0
        own = {handle: said[handle] for handle in self.grammars if handle in said}
        going = {handle: grammar for handle, grammar in self.grammars.items() if not grammar.done}
        done, self.grammars = len(self.grammars) - len(going), going
        if own or not self.ahead:
            self.ahead.append(own)
        self.open = self.spoke = bool(own)
        return done

    def forget(self, handle: Handle) -> int:
        """A sequence that was cancelled, and what it said. Returns how many ran: one, or none that was done before."""
        for said in [said for said in self.ahead if said.pop(handle, None) is not None and not said]:
            self.ahead.remove(said)
        return 0 if self.grammars.pop(handle, None) is None else 1


class _Gated:
    """A grammar that waits while its own thread is elsewhere: only that thread may change it."""

    def __init__(self, grammar: Grammar, seat: Seat) -> None:
        self._grammar, self._seat = grammar, seat

    @property
    def done(self) -> bool:
        return self._grammar.done

    @property
    def closed(self) -> bool:
        return self._grammar.closed

    @property
    def waiting(self) -> bool:
        return not self._seat.open or self._grammar.waiting

    def forced(self) -> tuple[int, ...]:
        return self._grammar.forced()

    def legal(self) -> IdSet:
        return self._grammar.legal()

    def accept(self, token: int) -> None:
        self._grammar.accept(token)
