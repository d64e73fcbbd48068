"""What the processes of a training compute together."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor


class _SumOfAll(torch.autograd.Function):
    """The sum over all processes; so is the gradient."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def sum_of_all(value: Tensor) -> Tensor:
    """The sum over all processes, through which gradients flow to each of them."""
    if not dist.is_initialized():
        return value
    return cast(Tensor, _SumOfAll.apply(value))  # type: ignore[no-untyped-call]
