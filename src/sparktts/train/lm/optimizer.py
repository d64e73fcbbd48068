"""The optimiser of the language model: AdamW, or Muon on the matrices of the layers and AdamW on the rest."""

from __future__ import annotations

from typing import Any

import torch

from ...errors import OptionError
from .options import OptimizerOptions


class Optimizers:
    """Several optimisers as one."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self._parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self._parts for group in part.param_groups]

    def step(self) -> None:
        for part in self._parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self._parts:
            part.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for part, one in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(one)


def make_optimizer(model: torch.nn.Module, options: OptimizerOptions) -> torch.optim.Optimizer | Optimizers:
    """Over what is trained; weight decay on the matrices of layers alone. Raises OptionError."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim == 2 and "embed_tokens" not in name and "lm_head" not in name
            (matrices if matrix else others).append(parameter)
    if options.kind == "adamw":
        return _adamw([(matrices, options.weight_decay), (others, 0.0)], options)
    if not hasattr(torch.optim, "Muon"):
        raise OptionError("`optimizer.kind: muon` needs PyTorch 2.9 or newer.")
    if not matrices:
        raise OptionError("`optimizer.kind: muon` is for the layers' matrices, and none is trained: use adamw.")
    # match_rms_adamw: updates as large as AdamW's, so that one learning rate serves both (arXiv 2502.16982).
    muon = torch.optim.Muon(
        matrices, lr=options.learning_rate, weight_decay=options.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return Optimizers(muon, _adamw([(others, 0.0)], options))


def _adamw(groups: list[tuple[list[torch.nn.Parameter], float]], options: OptimizerOptions) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        [{"params": parameters, "weight_decay": decay} for parameters, decay in groups if parameters],
        lr=options.learning_rate,
        betas=(options.beta1, options.beta2),
        fused=True,
    )
