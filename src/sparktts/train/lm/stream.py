"""The order of the data: shuffled windows of clips, cut into batches of similar length by a budget of tokens.

What a pass holds is a pure function of (seed, pass, window, rank); the position is all that must be saved to go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import OptionError
from .sequences import Document

BATCHES_PER_WINDOW = 32  # many batches to mix, few enough that building them is never felt


class BatchStream:
    """Endless batches of documents.

    make: the document of clip i, with random numbers of its own; lengths: estimated ids of each clip; budget: ids of a
    batch. Several processes take turns within a window. Raises OptionError when there are too few clips for them.
    """

    def __init__(
        self,
        make: Callable[[int, np.random.Generator], Document],
        lengths: list[int],
        budget: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not lengths:
            raise OptionError("There are no clips to train on: every one was left out.")
        self._make, self._budget, self._seed = make, budget, seed
        self._rank, self._world = rank, world_size
        mean = sum(lengths) / len(lengths)
        self._size = max(world_size, int(BATCHES_PER_WINDOW * world_size * budget / mean) + 1)
        self._count = len(lengths)
        self.epoch = self.window = self.index = 0
        self._loaded: tuple[int, int] | None = None
        self._batches: list[list[Document]] = []

    def next(self) -> list[Document]:
        """The next batch: documents in order of length."""
        tried = 0
        while True:
            self._load()
            if self.index < len(self._batches):
                self.index += 1
                return self._batches[self.index - 1]
            self.index, self.window = 0, self.window + 1
            tried += 1
            if self.window * self._size >= self._count:
                self.epoch, self.window = self.epoch + 1, 0
            if tried > 2 * (self._count // self._size + 2):
                raise OptionError(f"{self._count} clips are too few for {self._world} processes.")

    def state_dict(self) -> dict[str, Any]:
        """The position."""
        return {"epoch": self.epoch, "window": self.window, "index": self.index}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to a position."""
        self.epoch, self.window, self.index = state["epoch"], state["window"], state["index"]

    def _load(self) -> None:
        if self._loaded == (self.epoch, self.window):
            return
        order = np.random.default_rng([self._seed, self.epoch]).permutation(self._count)
        random = np.random.default_rng([self._seed, self.epoch, self.window, 1])
        chosen = order[self.window * self._size : (self.window + 1) * self._size]
        documents = [self._make(int(index), random) for index in chosen]
        batches = cut(documents, self._budget)
        kept = [batches[index] for index in random.permutation(len(batches))]
        kept = kept[: len(kept) // self._world * self._world]
        self._batches = kept[self._rank :: self._world]
        self._loaded = (self.epoch, self.window)


def cut(documents: list[Document], budget: int) -> list[list[Document]]:
    """Documents in batches of at most `budget` ids (a longer document goes alone), shortest first."""
    batches: list[list[Document]] = []
    used = budget
    for document in sorted(documents, key=lambda document: len(document.ids)):
        used += len(document.ids)
        if used > budget:
            batches.append([])
            used = len(document.ids)
        batches[-1].append(document)
    return batches
