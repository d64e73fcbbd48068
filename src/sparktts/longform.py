"""Long text: utterances through the language model, each within its budget, tried again when it goes wrong.

Nothing is dropped in silence: every utterance comes back as `Spoken`, or `GenerationError` names the sentence. Who
listens while the model writes also gets `Heard` and `TakenBack`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np

from .checkpoint.config import MAX_TAKES
from .engine.base import Handle, LanguageModel
from .errors import GenerationError, OptionError
from .guards import Guard, Problem
from .on_demand import OnDemandGrammar
from .prompt import Prompt
from .sampling import SamplingOptions
from .text import Utterance, split_utterance
from .text.split import CLAUSE_PAUSE
from .tokenizer import SparkTokenizer

MAX_SPLITS = 2  # times one sentence is halved before giving up


@dataclass(frozen=True)
class ReadingOptions:
    """How a text is read. checks False: no guards, no retries; an utterance that does not stop is cut at its budget.

    batch_size: utterances that run at once. 1 repeats exactly for a seed; more is faster, but sums in a batch may
    differ in the last bits, and then so may the speech. takes: times that each utterance is said, side by side, for the
    model's recogniser to choose the one that it understands best; None: as many as the model was tuned for (`takes` in
    its config.yaml), else 1. Streams say everything once. Raises OptionError.
    """

    checks: bool = True
    retries: int = 2
    batch_size: int = 1
    takes: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.retries <= 20:
            raise OptionError(f"The number of retries must be 0 to 20, not {self.retries}.")
        if not 1 <= self.batch_size <= 256:
            raise OptionError(f"The batch size must be 1 to 256, not {self.batch_size}.")
        if self.takes is not None and not 1 <= self.takes <= MAX_TAKES:
            raise OptionError(f"The number of takes must be 1 to {MAX_TAKES}, not {self.takes}.")


@dataclass(frozen=True)
class Spoken:
    """An utterance in tokens. semantic: (T,) codes; speaker: (32,) codes the model chose, empty when cloning.

    follows: only where a listener had heard the beginning of an attempt that then went wrong, so that it was cut: what
    comes next is the whole utterance once more ("again"), the rest of its words ("rest"), or "nothing" of it.
    """

    utterance: Utterance
    semantic: tuple[int, ...]
    speaker: tuple[int, ...]
    seed: int
    retries: int
    problems: tuple[Problem, ...]
    follows: Literal["", "again", "rest", "nothing"] = ""


@dataclass(frozen=True)
class Heard:
    """What the utterance whose turn it is says, while the model writes it. One comes after every step of the model.

    codes: semantic codes since the last one, perhaps none; speaker: (32,) as in Spoken, once they are known.
    """

    utterance: Utterance
    codes: tuple[int, ...]
    speaker: tuple[int, ...]


@dataclass(frozen=True)
class TakenBack:
    """What was heard of the utterance whose turn it is does not count: another attempt begins."""


Event = Heard | TakenBack | Spoken


class Growing(Protocol):
    """An utterance whose text is still arriving."""

    @property
    def utterance(self) -> Utterance:
        """As far as it is known."""

    @property
    def closed(self) -> bool:
        """Whether that is all of it."""

    def update(self) -> bool:
        """Takes what has arrived; True if that changed something."""

    def close(self) -> None:
        """Nothing more belongs to it: what arrives later is another utterance."""


class Source(Protocol):
    """Where utterances come from."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was dropped or read in an unusual way so far, as sentences."""

    def next(self) -> Utterance | Growing | None:
        """The next one; None if there is none at present. Raises StopIteration after the last."""

    def wait(self, idle: bool) -> None:
        """Returns when `next`, or a growing utterance, may have something. idle: no sequence runs meanwhile."""

    def close(self) -> None:
        """Nothing more is wanted: whoever waits goes on. May be called by another thread."""


class Utterances:
    """Source of utterances that are all there, or are made without waiting."""

    def __init__(self, utterances: Iterable[Utterance]) -> None:
        self._utterances = iter(utterances)

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing was changed."""
        return ()

    def next(self) -> Utterance:
        """The next one."""
        return next(self._utterances)

    def wait(self, idle: bool) -> None:
        """Nothing has to be waited for."""

    def close(self) -> None:
        """Nobody waits."""


class Prompts(Protocol):
    """Makes the prompt of an utterance."""

    def __call__(self, utterance: Utterance, /, *, skip: int = 0, closed: bool = True) -> Prompt:
        """skip: leading words that have been said; closed False: more of its words will come."""


Extend = Callable[[Prompt, Utterance, int, bool], None]


@dataclass(frozen=True)
class _Task:
    """An utterance to be said. order: its place in the text, extended by halvings; sentence: what it is a part of.

    skip: words of it that were said before; growing: where more of it comes from.
    """

    order: tuple[int, ...]
    utterance: Utterance
    sentence: str
    attempt: int = 0
    problems: tuple[Problem, ...] = ()
    skip: int = 0
    growing: Growing | None = None


@dataclass
class _Take:
    """One attempt at a task, while the model writes it."""

    task: _Task
    prompt: Prompt
    guard: Guard
    seed: int
    semantic: list[int] = field(default_factory=list)


_Outcome = tuple[_Take, Problem | None]


class Reader:
    """Says utterances with one language model.

    prompts: makes the prompt of an utterance; expected: seconds that it should take; extend: gives the prompt of a
    growing utterance (prompt, utterance, words to skip, whether that is all) the words it does not have yet;
    kept: how many tokens of the utterance whose turn it is cannot be taken back. When it has answered, that number
    must not change until the next `Spoken` or `TakenBack`. fault: how badly an utterance is said, 0: perfectly; only
    with it there are several takes, and then nothing is Heard.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompts: Prompts,
        tokenizer: SparkTokenizer,
        sampling: SamplingOptions,
        seed: int,
        options: ReadingOptions,
        expected: Callable[[Utterance], float] = lambda utterance: utterance.seconds,
        extend: Extend = lambda prompt, utterance, skip, closed: None,
        kept: Callable[[], int] = lambda: 0,
        fault: Callable[[Spoken], float] | None = None,
    ) -> None:
        self._fault = fault
        self._count = (options.takes or 1) if fault else 1  # takes of an utterance
        self._model, self._prompts, self._options = model, prompts, options
        self._tokenizer = tokenizer
        self._sampling, self._seed = sampling, seed
        self._expected, self._extend, self._kept = expected, extend, kept
        self._source: Source = Utterances(())
        self._ended = False
        self._number = 0  # of the next utterance of the source
        self._told = 0  # tokens of the utterance whose turn it is that came out as Heard
        self._queue: deque[_Task] = deque()
        self._takes: dict[Handle, _Take] = {}
        self._outcomes: dict[tuple[int, ...], list[_Outcome]] = {}  # whose rivals still run

    def read(self, utterances: Sequence[Utterance], first: int = 0) -> Iterator[Spoken]:
        """Yields every utterance in order, halves of split ones in their place. Otherwise as `events`."""
        for event in self.events(Utterances(utterances), first):
            if isinstance(event, Spoken):
                yield event

    def events(self, source: Source, first: int = 0) -> Generator[Event, None, None]:
        """What happens to the utterances in order: of each Heard and TakenBack in turn, then Spoken.

        first: number of utterances of the same text said before, so that each keeps its own seed.
        Raises GenerationError naming the sentence that cannot be said; other sequences are cancelled then.
        """
        self._source, self._number, self._ended, self._told = source, first, False, 0
        finished: dict[tuple[int, ...], Spoken] = {}
        try:
            while True:
                while (order := self._next_in_order(finished)) is not None:
                    self._told = 0
                    yield finished.pop(order)
                self._start()
                if not self._takes:
                    if self._ended:
                        return
                    source.wait(idle=True)
                    continue
                for take in self._takes.values():
                    self._grow(take)
                said = self._model.step()
                if not said:  # every sequence waits for its words
                    source.wait(idle=False)
                for handle, token in said.items():
                    if self._observe(handle, token, finished):
                        yield TakenBack()
                if self._count == 1 and not self._model.ready and (take_on_turn := self._on_turn()):
                    yield self._news(take_on_turn)
        finally:
            for handle in self._takes:
                self._model.cancel(handle)
            self._takes.clear()
            self._outcomes.clear()
            self._queue.clear()

    def _next_in_order(self, finished: dict[tuple[int, ...], Spoken]) -> tuple[int, ...] | None:
        """The first finished utterance, if nothing before it is still to come."""
        if not finished:
            return None
        waiting = [task.order for task in self._queue] + [take.task.order for take in self._takes.values()]
        first = min(finished)
        return first if first < min(waiting, default=(1 << 62,)) else None

    def _on_turn(self) -> _Take | None:
        """The attempt at the first utterance that is not finished, if it runs."""
        take = min(self._takes.values(), key=lambda take: take.task.order, default=None)
        if take is None or any(task.order < take.task.order for task in self._queue):
            return None
        return take

    def _news(self, take: _Take) -> Heard:
        codes = tuple(take.semantic[self._told :])
        self._told += len(codes)
        return Heard(take.task.utterance, codes, take.prompt.grammar.read(self._tokenizer.speaker))

    def _start(self) -> None:
        while len({take.task.order for take in self._takes.values()}) < self._options.batch_size:
            task = self._queue.popleft() if self._queue else self._pull()
            if task is None:
                return
            for number in range(self._count):
                self._begin(task, task.attempt * self._count + number)

    def _begin(self, task: _Task, attempt: int) -> None:
        utterance, more = task.utterance, task.growing is not None
        plain = not task.skip and not more
        prompt = self._prompts(utterance) if plain else self._prompts(utterance, skip=task.skip, closed=not more)
        seed = derived_seed(self._seed, task.order, attempt)
        handle = self._model.add(prompt.ids, replace(self._sampling, seed=seed), prompt.grammar)
        self._takes[handle] = _Take(task, prompt, Guard(self._expected(utterance)), seed)

    def _pull(self) -> _Task | None:
        """The next utterance of the source, if there is one now."""
        if self._ended:
            return None
        try:
            given = self._source.next()
        except StopIteration:
            self._ended = True
            return None
        if given is None:
            return None
        order = (self._number,)
        self._number += 1
        if isinstance(given, Utterance):
            return _Task(order, given, given.source)
        return _Task(order, given.utterance, given.utterance.source, growing=given)

    def _grow(self, take: _Take) -> None:
        growing = take.task.growing
        if growing is None or not growing.update():
            return
        utterance, closed = growing.utterance, growing.closed
        take.task = replace(
            take.task, utterance=utterance, sentence=utterance.source, growing=None if closed else growing
        )
        take.guard = Guard(self._expected(utterance))
        self._extend(take.prompt, utterance, take.task.skip, closed)

    def _observe(self, handle: Handle, token: int, finished: dict[tuple[int, ...], Spoken]) -> bool:
        """Takes one id. True if what was heard of the utterance is taken back."""
        take = self._takes[handle]
        low, high = self._tokenizer.semantic.span
        if low <= token < high:
            take.semantic.append(token - low)
        done = token == self._tokenizer.stop  # the grammar may be ahead of what the model hands out
        problem = self._problem(take, done)
        if problem is None and not done:
            return False
        told = self._told if take is self._on_turn() else 0
        if not done:
            self._model.cancel(handle)
        del self._takes[handle]
        ended = self._outcomes.setdefault(take.task.order, [])
        ended.append((take, problem))
        if any(other.task.order == take.task.order for other in self._takes.values()):
            return False
        take, problem = self._best(self._outcomes.pop(take.task.order))
        if problem is None or not self._options.checks:
            finished[take.task.order] = self._spoken(take, problem)
        elif kept := self._kept() if told else 0:
            finished[take.task.order] = self._cut(take, problem, kept)
        else:
            self._told -= told
            self._try_again(take.task, problem)
            return told > 0
        return False

    def _best(self, ended: Sequence[_Outcome]) -> _Outcome:
        """Of the takes of one utterance the one to go on with: of those that went well, that with the least fault."""
        good = [one for one in ended if one[1] is None]
        if self._fault is None or len(good) < 2:
            return good[0] if good else ended[-1]
        fault = self._fault
        return min(good, key=lambda one: fault(self._spoken(*one)))

    def _problem(self, take: _Take, done: bool) -> Problem | None:
        if done:
            return take.guard.when_done(take.semantic)
        problem = take.guard.while_speaking(take.semantic)
        return problem if self._options.checks or problem is Problem.OVERLONG else None

    def _spoken(self, take: _Take, problem: Problem | None) -> Spoken:
        problems = take.task.problems if problem is None else (*take.task.problems, problem)
        speaker = take.prompt.grammar.read(self._tokenizer.speaker)
        return Spoken(take.task.utterance, tuple(take.semantic), speaker, take.seed, take.task.attempt, problems)

    def _try_again(self, task: _Task, problem: Problem) -> None:
        """Another seed; then halves, each with its own attempts; then the error that names the sentence."""
        problems = (*task.problems, problem)
        if task.attempt < self._options.retries:
            self._queue.appendleft(replace(task, attempt=task.attempt + 1, problems=problems))
            return
        task = _closed(task)
        utterance = task.utterance
        can_split = len(task.order) <= MAX_SPLITS and not task.skip
        halves = split_utterance(utterance, utterance.seconds / 2) if can_split else (utterance,)
        if len(halves) < 2:
            raise GenerationError(
                f"The model {problem.value} for {task.sentence!r}, {len(problems)} times: "
                "rephrase the sentence, try another seed or voice, or switch the checks off."
            )
        tasks = [
            replace(task, order=(*task.order, index), utterance=half, attempt=0, problems=problems)
            for index, half in enumerate(halves)
        ]
        self._queue.extendleft(reversed(tasks))

    def _cut(self, take: _Take, problem: Problem, kept: int) -> Spoken:
        """An attempt whose beginning was heard ends at its last good point.

        Where the words have times, those that are missing are said next; else the whole utterance is begun again if
        hardly anything of it was heard.
        """
        stop, task = max(kept, take.guard.good(take.semantic, problem)), _closed(take.task)
        grammar, rest = take.prompt.grammar, None
        follows: Literal["again", "rest", "nothing"] = "nothing"
        if isinstance(grammar, OnDemandGrammar):
            said = grammar.words_by(stop)
            stop = max(kept, grammar.word_ends[said - 1] if said else 0)
            if said < grammar.own_words:
                follows, rest = "rest", replace(task, skip=task.skip + said)
        elif take.guard.hardly_begun(stop):
            follows, rest = "again", task
        if rest is not None and task.attempt < self._options.retries:
            again = replace(rest, order=(*task.order, 0), attempt=task.attempt + 1, problems=())
            self._queue.appendleft(again)
        else:
            follows = "nothing"
        pause = CLAUSE_PAUSE if follows != "nothing" else task.utterance.pause
        take.task, take.semantic = replace(task, utterance=replace(task.utterance, pause=pause)), take.semantic[:stop]
        return replace(self._spoken(take, problem), follows=follows)


def _closed(task: _Task) -> _Task:
    """The task with the text that is there: what arrives later will be another utterance."""
    if task.growing is None:
        return task
    task.growing.update()
    task.growing.close()
    utterance = task.growing.utterance
    return replace(task, utterance=utterance, sentence=utterance.source, growing=None)


def derived_seed(seed: int, order: tuple[int, ...], attempt: int) -> int:
    """Seed of one attempt. The first attempt at the first utterance has the text's own, so that any utterance can be
    said again alone with the seed of its report."""
    if order == (0,) and attempt == 0:
        return seed
    return int(np.random.SeedSequence([seed, attempt, len(order), *order]).generate_state(1, np.uint32)[0])
