"""The language model while it learns: the engine's own Qwen2 module, run over packed documents.

The parameters, their names and the layers are those of engine/torch/qwen2.py; only the way through them differs:
a stream of tokens instead of a padded batch, and gradients that are written by hand where PyTorch's would take several
passes over memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...engine.torch.qwen2 import Layer, Qwen2
from .attention import Angles, Heads, attend
from .head import LegalHead
from .packing import Packed


class TrainingModel(nn.Module):
    """Loss of packed documents. `model` holds all parameters."""

    def __init__(self, model: Qwen2, head: LegalHead, checkpointing: bool = False) -> None:
        super().__init__()
        config = model.config
        self.model, self.checkpointing = model, checkpointing
        self._head = head
        self._heads = Heads(config.num_attention_heads, config.num_key_value_heads, config.head_dim)
        self._angles: dict[tuple[torch.device, int], Angles] = {}

    def forward(self, batch: Packed) -> tuple[Tensor, dict[str, tuple[Tensor, int]]]:
        """Sum of -log p over all targets, and the parts that LegalHead.loss tells apart."""
        hidden = self.hidden(batch)
        kept = (batch.targets >= 0).nonzero().squeeze(1)
        rows = self.rows(self._head.ids)
        return self._head.loss(hidden.index_select(0, kept), rows, batch.targets[kept])

    def hidden(self, batch: Packed) -> Tensor:
        """(N, width) normalised hidden states, in the precision of autocast where that is on."""
        longest = max(rows.shape[1] for rows in batch.groups)
        angles = self._rotation(longest, batch.ids.device)
        x = self.model.embed_tokens(batch.ids).float()
        for layer in self.model.layers:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(self._layer, layer, x, angles, batch, use_reentrant=False)
            else:
                x = self._layer(layer, x, angles, batch)
        return _norm(self.model.norm, x)

    def rows(self, ids: Tensor) -> Tensor:
        """(n, width) rows of the output head, which is the embedding unless the model has a head of its own."""
        head = getattr(self.model, "lm_head", None)
        if head is not None:
            return cast(Tensor, head.weight).index_select(0, ids)
        return cast(Tensor, self.model.embed_tokens(ids))

    def _layer(self, layer: nn.Module, x: Tensor, angles: Angles, batch: Packed) -> Tensor:
        layer = cast(Layer, layer)
        qkv = layer.self_attn.qkv_proj(_norm(layer.input_layernorm, x))
        mixed = attend(qkv, angles, batch.groups, batch.places, self._heads)
        x = x + layer.self_attn.o_proj(mixed)
        gate_up = layer.mlp.gate_up_proj(_norm(layer.post_attention_layernorm, x))
        return x + cast(Tensor, layer.mlp.down_proj(_swiglu(gate_up)))

    def _rotation(self, length: int, device: torch.device) -> Angles:
        key = (device, -(-length // 512) * 512)
        if key not in self._angles:
            dim = self._heads.dim
            inverse = self.model.config.rope_theta ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim)
            angles = torch.arange(key[1], dtype=torch.float64)[:, None] * inverse
            self._angles[key] = (angles.cos().float().to(device), angles.sin().float().to(device))
        return self._angles[key]


def _norm(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    """RMS norm of the float32 stream; the result is in the precision that matrix products take."""
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    return _rms_norm(x, norm.weight, norm.eps, dtype)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        result: Tensor = (x * scale).mul_(weight).to(dtype)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        gradient = gradient.to(x.dtype)
        normal = x * scale
        grad_weight = (gradient * normal).sum(0) if ctx.needs_input_grad[1] else None
        slope = gradient * weight
        shared = (slope * normal).mean(-1, keepdim=True)
        return slope.addcmul_(normal, shared, value=-1).mul_(scale), grad_weight, None, None


class _SwiGLU(torch.autograd.Function):
    """silu(gate) * up of (N, 2 * inner); only the input is kept."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        result = torch.empty_like(gate_up)
        to_gate, to_up = result.chunk(2, dim=-1)
        torch.mul(gradient, F.silu(gate), out=to_up)
        torch.ops.aten.silu_backward.grad_input(gradient * up, gate, grad_input=to_gate)
        return result


_rms_norm = cast(Callable[..., Tensor], _RMSNorm.apply)
_swiglu = cast(Callable[[Tensor], Tensor], _SwiGLU.apply)
