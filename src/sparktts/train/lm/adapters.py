"""LoRA by peft on the projections, and trainable rows for the tokens that a frozen embedding lacks."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ...engine.torch.qwen2 import Qwen2
from ...errors import OptionError
from .options import LoraOptions

TARGETS = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]


class TokenRows(nn.Module):
    """An embedding whose rows from `first` on are trained, the others frozen."""

    def __init__(self, embedding: nn.Embedding, first: int) -> None:
        super().__init__()
        self.first = first
        self.frozen = nn.Parameter(embedding.weight[:first].detach().clone(), requires_grad=False)
        self.rows = nn.Parameter(embedding.weight[first:].detach().clone())

    @property
    def weight(self) -> Tensor:
        """(vocabulary, width), all rows."""
        return torch.cat((self.frozen, self.rows))

    def forward(self, ids: Tensor) -> Tensor:
        """ids: any shape -> (..., width)."""
        trained = ids >= self.first
        known = nn.functional.embedding(ids.clamp(max=self.first - 1), self.frozen)
        fresh = nn.functional.embedding((ids - self.first).clamp(min=0), self.rows)
        return torch.where(trained.unsqueeze(-1), fresh, known)


def adapt(model: Qwen2, options: LoraOptions, first_token: int) -> None:
    """Freezes the model and adds what is trained instead, in place.

    first_token: the first id of the Spark-TTS tokens. Raises OptionError when peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise OptionError('LoRA needs peft: pip install "sparktts[train]".') from None
    model.requires_grad_(False)
    config = LoraConfig(
        r=options.rank, lora_alpha=cast(int, options.alpha), lora_dropout=options.dropout, target_modules=TARGETS
    )
    inject_adapter_in_model(config, model)
    if options.token_rows:
        model.embed_tokens = TokenRows(model.embed_tokens, first_token)  # type: ignore[assignment]


@torch.no_grad()
def merged_weights(model: Qwen2) -> dict[str, Tensor]:
    """Name -> weight of the module that `model` was before `adapt`, with the additions in it."""
    weights: dict[str, Tensor] = {}
    adapted: dict[str, Any] = {}
    for name, module in model.named_modules():
        if hasattr(module, "base_layer") and hasattr(module, "get_delta_weight"):
            adapted[name] = module
    for name, value in model.state_dict().items():
        owner = next((prefix for prefix in adapted if name.startswith(f"{prefix}.")), None)
        if owner is None:
            weights[name] = value
        elif name == f"{owner}.base_layer.weight":
            module = adapted[owner]
            delta = sum(module.get_delta_weight(active) for active in module.active_adapters)
            weights[f"{owner}.weight"] = value + delta
        elif name.startswith(f"{owner}.base_layer."):
            weights[name.replace(".base_layer.", ".")] = value
    if isinstance(rows := model.embed_tokens, TokenRows):
        del weights["embed_tokens.frozen"], weights["embed_tokens.rows"]
        weights["embed_tokens.weight"] = rows.weight
    return weights


class Trained:
    """What of a module is trained, as the state to save: a frozen base is not written again and again."""

    def __init__(self, module: nn.Module) -> None:
        self._parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}

    def state_dict(self) -> dict[str, Tensor]:
        """Copies are the caller's business."""
        return {name: parameter.detach() for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Raises KeyError, ValueError when names or shapes differ."""
        if state.keys() != self._parameters.keys():
            raise ValueError("other parameters are trained than were saved")
        for name, parameter in self._parameters.items():
            if parameter.shape != state[name].shape:
                raise ValueError(f"{name} has the shape {list(state[name].shape)}, not {list(parameter.shape)}")
            parameter.copy_(state[name])
