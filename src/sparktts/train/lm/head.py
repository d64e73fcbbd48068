"""The loss over the ids that the grammar lets compete, on the rows of the tied embedding that these ids have.

While it speaks, the model chooses among the semantic tokens, the stop and the request for a word; for a voice, among
the global tokens; and so on. Each target is scored within its own set, as in inference, so that no probability is
ever trained for ids that cannot come. The loss and its gradients are made together, a few hundred positions at a time,
so that the scores of all positions never exist at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from ...tokenizer import SparkTokenizer

CHUNK = 256  # positions at a time: their scores stay in the processor's cache


@dataclass(frozen=True)
class Family:
    """Ids that compete with each other. name: for reports; ids: (n,) ascending."""

    name: str
    ids: Tensor


def families(tokenizer: SparkTokenizer) -> tuple[Family, ...]:
    """The sets of ids among which the model chooses: speech, voice, exact pitch, exact speed."""
    speech = [*range(*tokenizer.semantic.span), tokenizer.stop, tokenizer.start["content"]]
    sets: list[tuple[str, Sequence[int]]] = [("speech", sorted(speech))]
    for name, family in (
        ("voice", tokenizer.speaker),
        ("pitch", tokenizer.pitch_value),
        ("speed", tokenizer.speed_value),
    ):
        sets.append((name, range(*family.span)))
    return tuple(Family(name, torch.tensor(list(ids))) for name, ids in sets)


class LegalHead:
    """Rows of the legal ids of one vocabulary, and the loss over them."""

    def __init__(self, sets: Sequence[Family], vocabulary: int) -> None:
        self.names = [family.name for family in sets]
        self.ids = torch.cat([family.ids for family in sets])
        self.spans: list[tuple[int, int]] = []
        self._family = torch.full((vocabulary,), -1, dtype=torch.long)
        self._number = torch.zeros(vocabulary, dtype=torch.long)
        start = 0
        for index, family in enumerate(sets):
            self.spans.append((start, start + len(family.ids)))
            self._family[family.ids] = index
            self._number[family.ids] = torch.arange(len(family.ids))
            start += len(family.ids)

    def to(self, device: torch.device) -> LegalHead:
        """Moves the tables; returns itself."""
        self.ids, self._family, self._number = (t.to(device) for t in (self.ids, self._family, self._number))
        return self

    def loss(self, hidden: Tensor, rows: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, tuple[Tensor, int]]]:
        """Sum of -log p over the targets, and for each set its own sum (detached) and count.

        hidden: (N, width); rows: (legal ids, width), the head at `ids`; targets: (N,) ids, -1: no loss. A target that
        is in no set has no loss either: it is never chosen.
        """
        family = torch.where(targets >= 0, self._family[targets.clamp(min=0)], -1)
        total = hidden[:0].sum().float()  # zero, and part of the graph even where nothing is to be learnt
        parts: dict[str, tuple[Tensor, int]] = {}
        for index, (start, end) in enumerate(self.spans):
            where = (family == index).nonzero().squeeze(1)
            if len(where):
                part = _linear_loss(hidden.index_select(0, where), rows[start:end], self._number[targets[where]])
                total = total + part
                parts[self.names[index]] = (part.detach(), len(where))
        return total, parts


class _LinearLoss(torch.autograd.Function):
    """Sum of cross-entropies of x @ rows.T, with the gradients computed in the same pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        needed = any(ctx.needs_input_grad)
        total = torch.zeros((), device=x.device)
        weight = rows.to(x.dtype)
        grad_x = torch.empty_like(x) if needed else None
        grad_rows = torch.zeros(rows.shape, dtype=torch.float32, device=x.device) if needed else None
        for start in range(0, len(x), CHUNK):
            part, wanted = x[start : start + CHUNK], targets[start : start + CHUNK, None]
            scores = torch.mm(part, weight.T).float()
            scores = torch.log_softmax(scores, -1)
            total -= scores.gather(1, wanted).sum()
            if grad_x is not None and grad_rows is not None:
                slope = scores.exp_()
                slope.scatter_add_(1, wanted, slope.new_full(wanted.shape, -1.0))
                slope = slope.to(x.dtype)
                torch.mm(slope, weight, out=grad_x[start : start + CHUNK])
                grad_rows += torch.mm(slope.T, part)
        if grad_x is not None and grad_rows is not None:
            ctx.save_for_backward(grad_x, grad_rows.to(rows.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_x, grad_rows = ctx.saved_tensors
        return grad_x * gradient.to(grad_x.dtype), grad_rows * gradient, None


_linear_loss = cast(Callable[[Tensor, Tensor, Tensor], Tensor], _LinearLoss.apply)
