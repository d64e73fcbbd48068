"""Matrix products of few rows on the CPU, by oneDNN with weights packed once.

One decoded token multiplies every weight by one row, which is bound by memory. PyTorch's usual path reaches under half
of the memory's speed on some processors (measured: 16 against 40 GB/s on AVX-512 cores); oneDNN reaches it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Projection = Callable[[Tensor], Tensor]


def packing_works() -> bool:
    """Whether this PyTorch has the oneDNN operators that its own compiler uses."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _packed(weight: Tensor) -> Tensor | None:
    """The weight as oneDNN wants it, or None: bf16 needs processors with AVX-512 or newer ones."""
    try:
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, 1)
    except RuntimeError:
        return None
    return packed


def projection(weight: Tensor, bias: Tensor | None = None) -> Projection:
    """x (n, in) -> x @ weight.T + bias (n, out), packed where possible. weight: (out, in)."""
    if weight.device.type == "cpu" and packing_works() and (packed := _packed(weight)) is not None:
        return partial(_packed_linear, packed, bias)
    return lambda x: F.linear(x, weight, bias)


class PackedLinear(nn.Module):
    """Takes the place of nn.Linear for inference; its weight cannot be read back."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._project = projection(linear.weight.detach(), None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in) -> (..., out)."""
        return self._project(x)


def pack_linear_layers(model: nn.Module) -> None:
    """Replaces every nn.Linear below `model`, one at a time, so that two copies of one layer exist, never of all."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, PackedLinear(child))


def _packed_linear(packed: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return result
