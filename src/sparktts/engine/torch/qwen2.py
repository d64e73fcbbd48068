"""Qwen2 decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU, and a static key-value cache.

Compact on purpose: the output head is left to the caller, who multiplies by the rows that the grammar allows, and the
other engines mirror this file. Source: Qwen2 technical report, arXiv 2407.10671.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoint.config import LanguageModelConfig
from ..sequences import grown

# Projections that read the same input are one matrix here: fused name -> names in the checkpoint, in row order.
FUSED = {
    "self_attn.qkv_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "mlp.gate_up_proj": ("mlp.gate_proj", "mlp.up_proj"),
}


class KeyValueCache:
    """Keys and values of several sequences; sequence b owns row b.

    keys, values: one (rows, kv_heads, capacity, head_dim) tensor a layer. Grows by doubling, never shrinks.
    """

    def __init__(self, config: LanguageModelConfig, device: torch.device, dtype: torch.dtype) -> None:
        self._config, self._device, self._dtype = config, device, dtype
        self.rows = self.capacity = 0
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def reserve(self, rows: int, capacity: int) -> bool:
        """Makes room for that many sequences and positions. Returns whether the tensors were replaced."""
        if rows <= self.rows and capacity <= self.capacity:
            return False
        rows = grown(self.rows, rows)
        capacity = grown(self.capacity, capacity, 512)
        shape = (rows, self._config.num_key_value_heads, capacity, self._config.head_dim)
        self.keys = [self._resized(shape, old) for old in self._layers(self.keys)]
        self.values = [self._resized(shape, old) for old in self._layers(self.values)]
        self.rows, self.capacity = rows, capacity
        return True

    def move(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of one row over another."""
        for tensors in (self.keys, self.values):
            for tensor in tensors:
                tensor[target, :, :length] = tensor[source, :, :length]

    def _layers(self, tensors: list[Tensor]) -> Iterable[Tensor | None]:
        return tensors or [None] * self._config.num_hidden_layers

    def _resized(self, shape: tuple[int, ...], old: Tensor | None) -> Tensor:
        new = torch.zeros(shape, device=self._device, dtype=self._dtype)
        if old is not None:
            new[: old.shape[0], :, : old.shape[2]] = old
        return new


class Attention(nn.Module):
    """Grouped-query self-attention with rotary positions."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        width = self.heads * self.head_dim
        self.qkv_proj = nn.Linear(config.hidden_size, width + 2 * self.kv_heads * self.head_dim)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)

    def project(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """x: (B, T, hidden) -> q (B, heads, T, d), k and v (B, kv_heads, T, d), rotated. rope: see Qwen2.rope."""
        batch, length, _ = x.shape
        qkv = self.qkv_proj(x).view(batch, length, self.heads + 2 * self.kv_heads, self.head_dim).transpose(1, 2)
        q, k, v = qkv.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
        return _rotate(q, rope), _rotate(k, rope), v

    def decode(self, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """One query a sequence. q: (B, heads, 1, d); keys, values: (B, kv_heads, S, d); mask: (B, 1, 1, S).

        Query heads that share keys become rows of one product, so the cache is never repeated.
        """
        batch = q.shape[0]
        grouped = q.reshape(batch, self.kv_heads, self.heads // self.kv_heads, self.head_dim)
        mixed = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask)
        return cast(Tensor, self.o_proj(mixed.reshape(batch, 1, self.heads * self.head_dim)))

    def attend(self, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Several queries a sequence. q: (B, heads, T, d); keys, values: (B, kv_heads, S, d); no mask: causal, T = S.

        Source of the mask's need: `is_causal` aligns queries with the first keys, which is wrong when there is a past.
        """
        mixed = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
        return cast(Tensor, self.o_proj(mixed.transpose(1, 2).flatten(2)))


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.gate_up_proj = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., hidden) -> (..., hidden)."""
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        return cast(Tensor, self.down_proj(F.silu(gate).mul_(up) if not gate.requires_grad else F.silu(gate) * up))


class Layer(nn.Module):
    """Pre-norm attention and feed-forward with residuals."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = FeedForward(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)


class Qwen2(nn.Module):
    """The decoder stack without an output head: ids in, normalised hidden states out."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self._angles: tuple[Tensor, Tensor] | None = None

    def embed(self, ids: Tensor) -> Tensor:
        """ids: (B, T) -> (B, T, hidden). The table may be stored in another precision than the rest."""
        return cast(Tensor, self.embed_tokens(ids).to(self.norm.weight.dtype))

    def rope(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the rotary angles. positions: (B, T) -> two (B, 1, T, head_dim) tensors."""
        if self._angles is None:
            raise RuntimeError("reserve_positions() comes before rope()")
        cos, sin = self._angles
        return cos[positions].unsqueeze(1), sin[positions].unsqueeze(1)

    def reserve_positions(self, count: int) -> None:
        """Makes the rotary tables cover positions 0..count-1."""
        if self._angles is not None and self._angles[0].shape[0] >= count:
            return
        size = grown(0, count, 1024)
        weight = self.norm.weight
        dim = self.config.head_dim
        inverse = self.config.rope_theta ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        angles = torch.arange(size, dtype=torch.float64)[:, None] * inverse
        angles = torch.cat((angles, angles), dim=1)
        self._angles = (
            angles.cos().to(device=weight.device, dtype=weight.dtype),
            angles.sin().to(device=weight.device, dtype=weight.dtype),
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Whole sequences without a cache, causal. ids: (B, T) -> (B, T, hidden). For training and diagnosis."""
        self.reserve_positions(ids.shape[1])
        rope = self.rope(torch.arange(ids.shape[1], device=ids.device)[None])
        x = self.embed(ids)
        for layer in self._layers():
            q, k, v = layer.self_attn.project(layer.input_layernorm(x), rope)
            x = x + layer.self_attn.attend(q, k, v, None)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return cast(Tensor, self.norm(x))

    def extend(self, ids: Tensor, cache: KeyValueCache, row: int, past: int) -> Tensor:
        """Feeds a chunk to one sequence: its prompt, or forced ids. ids: (T,) -> (1, hidden) of the last id.

        Row `row` of the cache holds `past` positions and gets T more.
        """
        end = past + len(ids)
        self.reserve_positions(end)
        positions = torch.arange(past, end, device=ids.device)
        rope = self.rope(positions[None])
        mask = None if past == 0 else positions[:, None] >= torch.arange(end, device=ids.device)
        x = self.embed(ids[None])
        for index, layer in enumerate(self._layers()):
            q, k, v = layer.self_attn.project(layer.input_layernorm(x), rope)
            keys, values = cache.keys[index][row : row + 1], cache.values[index][row : row + 1]
            keys[:, :, past:end] = k
            values[:, :, past:end] = v
            x = x + layer.self_attn.attend(q, keys[:, :, :end], values[:, :, :end], mask)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return cast(Tensor, self.norm(x[:, -1]))

    def decode(self, ids: Tensor, positions: Tensor, cache: KeyValueCache, span: int) -> Tensor:
        """One id for each of the first B sequences. ids, positions: (B,) -> (B, hidden).

        span: positions of the cache to look at, at least max(positions) + 1; shapes depend on B and span alone, so a
        device may record the call once and replay it. The caller has reserved cache and positions.
        """
        batch = ids.shape[0]
        rope = self.rope(positions[:, None])
        x = self.embed(ids[:, None])
        rows = torch.arange(batch, device=ids.device)
        mask = (torch.arange(span, device=ids.device) <= positions[:, None])[:, None, None]
        exact = batch == 1 and ids.device.type == "cpu" and span == int(positions[0]) + 1
        for index, layer in enumerate(self._layers()):
            q, k, v = layer.self_attn.project(layer.input_layernorm(x), rope)
            keys, values = cache.keys[index], cache.values[index]
            keys[rows, :, positions] = k[:, :, 0]
            values[rows, :, positions] = v[:, :, 0]
            near = keys[:batch, :, :span], values[:batch, :, :span]
            x = x + layer.self_attn.decode(q, *near, None if exact else mask)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return cast(Tensor, self.norm(x[:, 0]))

    def load(self, tensors: Iterable[tuple[str, np.ndarray]], device: torch.device) -> Tensor | None:
        """Fills parameters from checkpoint tensors, one at a time. Returns an untied output head, if it is one."""
        parameters, table = dict(self.named_parameters()), fused_rows(self.config)
        head = None
        for name, array in tensors:
            source = torch.from_numpy(array)
            if name == "lm_head.weight":
                head = source.to(device)
            else:
                _fill(parameters, table, name.removeprefix("model."), source)
        return head

    def _layers(self) -> Iterator[Layer]:
        for layer in self.layers:
            assert isinstance(layer, Layer)
            yield layer


@torch.no_grad()
def _fill(
    parameters: dict[str, nn.Parameter], table: dict[str, tuple[str, int, int]], name: str, source: Tensor
) -> None:
    """Copies one checkpoint tensor into its parameter, or into its rows of a fused one."""
    part = ".".join(name.split(".")[2:-1])
    if part in table:
        fused, start, stop = table[part]
        parameters[name.replace(part, fused)][start:stop].copy_(source)
    else:
        parameters[name].copy_(source)


def fused_rows(config: LanguageModelConfig) -> dict[str, tuple[str, int, int]]:
    """Where the checkpoint's projections live in the fused ones: part -> (fused name, first row, end row)."""
    query, key = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    sizes = {"self_attn.qkv_proj": (query, key, key), "mlp.gate_up_proj": (config.intermediate_size,) * 2}
    table = {}
    for fused, parts in FUSED.items():
        start = 0
        for part, size in zip(parts, sizes[fused], strict=True):
            table[part] = (fused, start, start + size)
            start += size
    return table


def _rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """x: (B, H, T, d); pairs are (i, i + d/2), as in the published weights."""
    cos, sin = rope
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
