"""Filling networks with a checkpoint's tensors, without initialising or copying anything twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy.typing as npt
import torch
from torch import nn

from ...errors import CheckpointError

Module = TypeVar("Module", bound=nn.Module)


def build(
    make: Callable[[], Module], tensors: Mapping[str, npt.NDArray[Any]], prefix: str, device: torch.device
) -> Module:
    """The network that `make` describes, in evaluation mode, with the tensors named `prefix.*`.

    Raises CheckpointError unless names and shapes agree exactly.
    """
    with torch.device("meta"):
        module = make()
    load_tensors(module, {name.removeprefix(f"{prefix}."): array for name, array in tensors.items()})
    return module.to(device).eval()


def load_tensors(module: nn.Module, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Makes the arrays the parameters of a module on the meta device. Raises CheckpointError."""
    state = {name: torch.from_numpy(array) for name, array in tensors.items()}
    try:
        module.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"The weights do not fit the configuration of the model: {reason}") from None


def materialize(module: nn.Module, device: torch.device) -> None:
    """Gives parameters that are still on the meta device memory, uninitialised, for values that come one by one."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if parameter.is_meta:
                memory = torch.empty_like(parameter, device=device)
                setattr(part, name, nn.Parameter(memory, requires_grad=parameter.requires_grad))


def fingerprint(module: nn.Module, layers: Sequence[int]) -> str:
    """16 hex digits, equal for encoders with the same weights, of which the same layers are averaged.

    Taken from biases and gains alone, rounded, so that it is quick and outlives a change of precision.
    """
    digest = hashlib.sha256(repr((type(module).__name__, sorted(layers))).encode())
    for name, value in sorted(module.state_dict().items()):
        if value.ndim == 1 and value.is_floating_point():
            digest.update(name.encode())
            digest.update(value.detach().cpu().to(torch.bfloat16).view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:16]
