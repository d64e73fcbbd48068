"""How the next id is chosen: options, and the numpy reference that defines their meaning for every engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import OptionError

PUBLISHED_TEMPERATURE = 0.8
COLDEST = 1e-6  # temperature; below it the likeliest id is taken
Logits = npt.NDArray[np.float32] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class SamplingOptions:
    """How ids are sampled. The defaults are the published ones; temperature 0 is greedy.

    temperature None: what the model was tuned for (`temperature` in its config.yaml), else the published 0.8. top_k 0
    and top_p 1 switch those cuts off; repetition_penalty 1 is none; seed None draws a fresh one.
    """

    temperature: float | None = None
    top_k: int = 50
    top_p: float = 0.95
    repetition_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        checks = (
            (
                self.temperature is None or 0.0 <= self.temperature <= 5.0,
                f"temperature must be 0 to 5, not {self.temperature}",
            ),
            (self.top_k >= 0, f"top-k must be 0 (off) or more, not {self.top_k}"),
            (0.0 < self.top_p <= 1.0, f"top-p must be above 0 and at most 1, not {self.top_p}"),
            (
                0.5 <= self.repetition_penalty <= 5.0,
                f"repetition penalty must be 0.5 to 5, not {self.repetition_penalty}",
            ),
            (
                self.seed is None or (isinstance(self.seed, (int, np.integer)) and 0 <= self.seed < 2**63),
                f"seed must be 0 to 2**63 - 1, not {self.seed!r}",
            ),
        )
        for ok, message in checks:
            if not ok:
                raise OptionError(f"The {message}.")


NEAR = 8.0  # logits: a hundred of the ids of speech are so near to the likeliest
MANY = 512  # values from which a few of them are found before they are sorted


class Sampler:
    """Random state and history of one sequence: the same seed and scores give the same ids, whatever runs beside it."""

    def __init__(self, options: SamplingOptions) -> None:
        self.options = options
        temperature = PUBLISHED_TEMPERATURE if options.temperature is None else options.temperature
        self._temperature = temperature if temperature >= COLDEST else 0.0
        self._random = np.random.Generator(np.random.PCG64(options.seed))
        self._seen: set[int] = set()

    def sample(self, scores: npt.NDArray[np.float32], ids: npt.NDArray[np.int64]) -> int:
        """One id. scores: (n,) logits of the legal ids; ids: (n,) those ids in ascending order."""
        logits = self._penalised(scores, ids)
        choice = int(ids[int(np.argmax(logits)) if self._temperature == 0.0 else self._draw(logits)])
        self._seen.add(choice)
        return choice

    def _penalised(self, scores: npt.NDArray[np.float32], ids: npt.NDArray[np.int64]) -> Logits:
        penalty = self.options.repetition_penalty
        if penalty == 1.0 or not self._seen:
            return scores
        logits = scores.astype(np.float64)
        seen = np.isin(ids, np.fromiter(self._seen, dtype=np.int64))
        return np.where(seen, np.where(logits > 0, logits / penalty, logits * penalty), logits)

    def _draw(self, logits: Logits) -> int:
        """Index by top-k, then top-p among what top-k left, then one uniform number through the cumulative sum."""
        order = _largest(logits, self.options.top_k)
        left = logits[order].astype(np.float64)
        weights = np.exp((left - left[0]) / self._temperature)
        cumulative = np.cumsum(weights)
        # The id that crosses top-p is kept, so at least one always is.
        keep = int(np.searchsorted(cumulative, self.options.top_p * cumulative[-1])) + 1
        keep = min(keep, len(order))
        point = self._random.random() * cumulative[keep - 1]
        return int(order[min(int(np.searchsorted(cumulative[:keep], point, side="right")), keep - 1)])


def _largest(logits: Logits, count: int) -> npt.NDArray[np.intp]:
    """Indices of the `count` largest values (all for 0), largest first, ties by index."""
    if not 0 < count < len(logits):
        return np.argsort(-logits, kind="stable")
    # Most are far below the largest: what is near it is found faster than a place among all.
    near: npt.NDArray[np.intp] = (logits >= logits.max() - NEAR).nonzero()[0]
    if len(near) < count:
        near = np.arange(len(logits))
    values = logits[near]
    if len(near) > MANY:
        chosen = values >= np.partition(values, len(near) - count)[len(near) - count]
        near, values = near[chosen], values[chosen]
    return near[(-values).argsort(kind="stable")[:count]]
