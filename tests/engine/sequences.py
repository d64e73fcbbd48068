"""What tests of language models share: a grammar without rules, and the golden prompts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sparktts.engine.base import IdSet, LanguageModel
from sparktts.sampling import SamplingOptions

GREEDY = SamplingOptions(temperature=0.0)
Golden = Mapping[str, np.ndarray]


class Anything:
    """A grammar that allows the whole vocabulary, for a fixed number of ids."""

    def __init__(self, vocabulary: int, count: int) -> None:
        self._legal, self._count = IdSet(((0, vocabulary),)), count
        self.taken: list[int] = []
        self.waiting = False

    @property
    def done(self) -> bool:
        return len(self.taken) >= self._count

    def forced(self) -> tuple[int, ...]:
        return ()

    def legal(self) -> IdSet:
        return self._legal

    def accept(self, token: int) -> None:
        self.taken.append(token)


def names(golden: Golden) -> list[str]:
    return [key.split(".")[1] for key in golden if key.startswith("prompt.") and key.endswith(".ids")]


def run(model: LanguageModel, prompt: list[int], count: int) -> list[int]:
    """The greedy continuation of a prompt, over the whole vocabulary."""
    grammar = Anything(model.config.vocab_size, count)  # type: ignore[attr-defined]
    handle = model.add(prompt, GREEDY, grammar)
    tokens = []
    while not grammar.done:
        tokens.append(model.step()[handle])
    return tokens
