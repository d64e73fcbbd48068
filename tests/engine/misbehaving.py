"""A language model that misbehaves on purpose: real grammar, real sampling order, scripted ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sparktts.engine.base import Grammar, Handle, Samples
from sparktts.sampling import SamplingOptions

Script = Callable[[int, int], int | None]  # (attempt number, position) -> code of the next semantic token, None: stop


@dataclass
class ScriptedModel:
    """LanguageModel whose n-th sequence follows `script(n, position)` while it speaks, and takes a legal id before."""

    semantic_first: int
    stop: int
    script: Script
    started: int = 0
    most_at_once: int = 0
    seeds: list[int | None] = field(default_factory=list)
    prompts: list[tuple[int, ...]] = field(default_factory=list)
    running: dict[Handle, tuple[Grammar, int, list[int]]] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return False

    def add(self, prompt: Sequence[int], sampling: SamplingOptions, grammar: Grammar) -> Handle:
        handle = Handle(self.started)
        self.started += 1
        self.seeds.append(sampling.seed)
        self.prompts.append(tuple(prompt))
        grammar.forced()
        self.running[handle] = (grammar, int(handle), [])
        self.most_at_once = max(self.most_at_once, len(self.running))
        return handle

    def step(self) -> dict[Handle, int]:
        chosen = {}
        for handle, (grammar, number, spoken) in list(self.running.items()):
            legal = grammar.legal()
            if self.semantic_first in legal:
                code = self.script(number, len(spoken))
                token = self.stop if code is None else self.semantic_first + code
                spoken.append(token)
            else:
                token = int(legal.ids[0]) + number
            grammar.accept(token)
            grammar.forced()
            chosen[handle] = token
            if grammar.done:
                del self.running[handle]
        return chosen

    def cancel(self, handle: Handle) -> None:
        self.running.pop(handle, None)

    def logits(self, ids: Sequence[int]) -> Samples:
        raise NotImplementedError


def babble(number: int, position: int) -> int:
    """Ever new codes."""
    return int(np.random.default_rng([number, position]).integers(0, 8192))


def speak_for(tokens: int) -> Script:
    """Speech of that many tokens, then the stop."""
    return lambda number, position: babble(number, position) if position < tokens else None


def never_stop(number: int, position: int) -> int | None:
    return babble(number, position)


def say_nothing(number: int, position: int) -> int | None:
    return None


def stall(number: int, position: int) -> int | None:
    """Some speech, then the same two codes for ever."""
    return babble(number, position) if position < 20 else 7 + position % 2
