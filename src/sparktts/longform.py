"""Long text: utterances through the language model, each within its budget, tried again when it goes wrong.

Nothing is dropped in silence: every utterance comes back as `Spoken`, or `GenerationError` names the sentence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .engine.base import Handle, LanguageModel
from .errors import GenerationError, OptionError
from .guards import Guard, Problem
from .prompt import Prompt
from .sampling import SamplingOptions
from .text import Utterance, split_utterance
from .tokenizer import TokenFamily

MAX_SPLITS = 2  # times one sentence is halved before giving up


@dataclass(frozen=True)
class ReadingOptions:
    """How a text is read. checks False: no guards, no retries; an utterance that does not stop is cut at its budget.

    batch_size: utterances that run at once. 1 repeats exactly for a seed; more is faster, but sums in a batch may
    differ in the last bits, and then so may the speech. Raises OptionError.
    """

    checks: bool = True
    retries: int = 2
    batch_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.retries <= 20:
            raise OptionError(f"The number of retries must be 0 to 20, not {self.retries}.")
        if not 1 <= self.batch_size <= 256:
            raise OptionError(f"The batch size must be 1 to 256, not {self.batch_size}.")


@dataclass(frozen=True)
class Spoken:
    """An utterance in tokens. semantic: (T,) codes; speaker: (32,) codes the model chose, empty when cloning."""

    utterance: Utterance
    semantic: tuple[int, ...]
    speaker: tuple[int, ...]
    seed: int
    retries: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class _Task:
    """An utterance to be said. order: its place in the text, extended by halvings; sentence: what it is a part of."""

    order: tuple[int, ...]
    utterance: Utterance
    sentence: str
    attempt: int = 0
    problems: tuple[Problem, ...] = ()


@dataclass
class _Take:
    """One attempt at a task, while the model writes it."""

    task: _Task
    prompt: Prompt
    guard: Guard
    seed: int
    semantic: list[int] = field(default_factory=list)


class Reader:
    """Says utterances with one language model.

    prompts: makes the prompt of an utterance. rate_factor: expected duration relative to the default speaking rate.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompts: Callable[[Utterance], Prompt],
        semantic: TokenFamily,
        speaker: TokenFamily,
        sampling: SamplingOptions,
        seed: int,
        options: ReadingOptions,
        rate_factor: float = 1.0,
    ) -> None:
        self._model, self._prompts, self._options = model, prompts, options
        self._families = semantic, speaker
        self._sampling, self._seed, self._rate_factor = sampling, seed, rate_factor
        self._queue: deque[_Task] = deque()
        self._takes: dict[Handle, _Take] = {}

    def read(self, utterances: Sequence[Utterance], first: int = 0) -> Iterator[Spoken]:
        """Yields every utterance in order, halves of split ones in their place.

        first: number of utterances of the same text said before, so that each keeps its own seed.
        Raises GenerationError naming the sentence that cannot be said; other sequences are cancelled then.
        """
        self._queue = deque(
            _Task((first + index,), utterance, utterance.source) for index, utterance in enumerate(utterances)
        )
        finished: dict[tuple[int, ...], Spoken] = {}
        try:
            while self._queue or self._takes or finished:
                while (order := self._next_in_order(finished)) is not None:
                    yield finished.pop(order)
                self._start()
                for handle, token in self._model.step().items():
                    self._observe(handle, token, finished)
        finally:
            for handle in self._takes:
                self._model.cancel(handle)
            self._takes.clear()

    def _next_in_order(self, finished: dict[tuple[int, ...], Spoken]) -> tuple[int, ...] | None:
        """The first finished utterance, if nothing before it is still to come."""
        if not finished:
            return None
        waiting = [task.order for task in self._queue] + [take.task.order for take in self._takes.values()]
        first = min(finished)
        return first if first < min(waiting, default=(1 << 62,)) else None

    def _start(self) -> None:
        while self._queue and len(self._takes) < self._options.batch_size:
            task = self._queue.popleft()
            prompt = self._prompts(task.utterance)
            seed = derived_seed(self._seed, task.order, task.attempt)
            take = _Take(task, prompt, Guard(task.utterance.seconds * self._rate_factor), seed)
            handle = self._model.add(prompt.ids, replace(self._sampling, seed=seed), prompt.grammar)
            self._takes[handle] = take

    def _observe(self, handle: Handle, token: int, finished: dict[tuple[int, ...], Spoken]) -> None:
        take = self._takes[handle]
        low, high = self._families[0].span
        if low <= token < high:
            take.semantic.append(token - low)
        problem = self._problem(take)
        if problem is None and not take.prompt.grammar.done:
            return
        if not take.prompt.grammar.done:
            self._model.cancel(handle)
        del self._takes[handle]
        if problem is None or not self._options.checks:
            finished[take.task.order] = self._spoken(take, problem)
        else:
            self._try_again(take.task, problem)

    def _problem(self, take: _Take) -> Problem | None:
        if take.prompt.grammar.done:
            return take.guard.when_done(take.semantic)
        problem = take.guard.while_speaking(take.semantic)
        return problem if self._options.checks or problem is Problem.OVERLONG else None

    def _spoken(self, take: _Take, problem: Problem | None) -> Spoken:
        problems = take.task.problems if problem is None else (*take.task.problems, problem)
        speaker = take.prompt.grammar.read(self._families[1])
        return Spoken(take.task.utterance, tuple(take.semantic), speaker, take.seed, take.task.attempt, problems)

    def _try_again(self, task: _Task, problem: Problem) -> None:
        """Another seed; then halves, each with its own attempts; then the error that names the sentence."""
        problems = (*task.problems, problem)
        if task.attempt < self._options.retries:
            self._queue.appendleft(replace(task, attempt=task.attempt + 1, problems=problems))
            return
        utterance = task.utterance
        halves = split_utterance(utterance, utterance.seconds / 2) if len(task.order) <= MAX_SPLITS else (utterance,)
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


def derived_seed(seed: int, order: tuple[int, ...], attempt: int) -> int:
    """Seed of one attempt. The first attempt at the first utterance has the text's own, so that any utterance can be
    said again alone with the seed of its report."""
    if order == (0,) and attempt == 0:
        return seed
    return int(np.random.SeedSequence([seed, attempt, len(order), *order]).generate_state(1, np.uint32)[0])
