"""What tests of language models share: a grammar without rules, the golden prompts, and what every engine must do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sparktts.engine.base import IdSet, LanguageModel
from sparktts.grammar import Choose, Force, SpeechGrammar
from sparktts.sampling import SamplingOptions
from sparktts.tokenizer import TokenFamily

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

    @property
    def closed(self) -> bool:
        return True

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


def check_forced_ids(model: LanguageModel, prompt: list[int], chunk: tuple[int, ...]) -> None:
    """Forced ids between choices count as prompt."""
    whole = TokenFamily("any", 0, model.config.vocab_size)  # type: ignore[attr-defined]
    grammar = SpeechGrammar((Choose(whole, count=2), Force(chunk), Choose(whole, count=3)))
    handle = model.add(prompt, GREEDY, grammar)
    tokens = [model.step()[handle] for _ in range(5)]
    assert model.step() == {}
    assert tokens[:2] == run(model, prompt, 2)
    assert tokens[2:] == run(model, [*prompt, *tokens[:2], *chunk], 3)


def check_joining_and_leaving(model: LanguageModel, golden: Golden) -> None:
    """Sequences join and leave without changing each other."""
    prompts = [golden[f"prompt.{name}.ids"][0].tolist() for name in names(golden)] * 2
    prompts = [prompt[index:] for index, prompt in enumerate(prompts)]
    counts = [9, 3, 14, 1, 6, 11]
    alone = [run(model, prompt, count) for prompt, count in zip(prompts, counts, strict=True)]
    grammars = [Anything(model.config.vocab_size, count) for count in counts]  # type: ignore[attr-defined]
    for prompt, grammar in zip(prompts, grammars, strict=True):
        model.add(prompt, GREEDY, grammar)
        model.step()
        model.step()
    while not all(grammar.done for grammar in grammars):
        model.step()
    assert [grammar.taken for grammar in grammars] == alone
    assert model.step() == {}
