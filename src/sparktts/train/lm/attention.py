"""Causal attention of packed documents, forward and backward.

On the CPU PyTorch's fused attention spends most of its time outside of matrix products (measured on AVX-512 with bf16:
57 ms forward and backward for 13 documents of 320 tokens and 4 heads, against 20 ms here). Here the queries go block
by block, each block against the keys up to its end, in batched products; the probabilities are kept for the gradient.
On other devices PyTorch's own kernels do it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

SHORT, SHORT_BLOCK, BLOCK = 512, 64, 128  # queries in a block: for documents up to SHORT tokens, and longer ones


@dataclass(frozen=True)
class Heads:
    """Numbers of query heads and key-value heads, and the width of each."""

    query: int
    key: int
    dim: int

    @property
    def shared(self) -> int:
        """Query heads that share a key head."""
        return self.query // self.key


Angles = tuple[Tensor, Tensor]  # cosines and sines, (positions, dim / 2)


def attend(qkv: Tensor, angles: Angles, groups: tuple[Tensor, ...], places: Tensor, heads: Heads) -> Tensor:
    """Rotary self-attention within each document.

    qkv: (N, (query + 2 key) * dim) of the packed stream; groups, places: see Packed. Returns (N, query * dim).
    """
    if qkv.device.type != "cpu":
        return _attend_fused(qkv, angles, groups, places, heads)
    return _block_attention(qkv, *angles, groups, places, heads)


def _attend_fused(qkv: Tensor, angles: Angles, groups: tuple[Tensor, ...], places: Tensor, heads: Heads) -> Tensor:
    padded = F.pad(qkv, (0, 0, 0, 1))
    outputs = []
    for rows in groups:
        q, k, v = _split(padded[rows], heads)
        q, k = _rotate(q, angles, 3), _rotate(k, angles, 2)
        q = q.transpose(2, 3).flatten(1, 2)  # (D, query, T, dim)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads.shared > 1)
        outputs.append(mixed.transpose(1, 2).flatten(2).flatten(0, 1))
    return torch.cat(outputs)[places]


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor, groups: tuple[Tensor, ...], places: Tensor, heads: Heads
    ) -> Tensor:
        angles = (cos.to(qkv.dtype), sin.to(qkv.dtype))
        padded = F.pad(qkv, (0, 0, 0, 1))
        saved: list[Tensor] = []
        outputs = []
        for rows in groups:
            documents, length = rows.shape
            q, k, v = _split(padded.index_select(0, rows.flatten()).view(documents, length, -1), heads)
            q = _rotate(q, angles, 3).mul_(heads.dim**-0.5).view(documents * heads.key, -1, heads.dim)
            k = _rotate(k, angles, 2).view(documents * heads.key, length, heads.dim)
            v = v.reshape(documents * heads.key, length, heads.dim)
            out, probabilities = _forward(q, k, v, heads.shared)
            saved += [q, k, v, out, *probabilities]
            outputs.append(_to_tokens(out, documents, length, heads))
        ctx.save_for_backward(*saved, *angles, *groups, places)
        ctx.heads, ctx.widths, ctx.groups = heads, [rows.shape[1] for rows in groups], len(groups)
        return torch.cat(outputs).index_select(0, places)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        heads: Heads = ctx.heads
        saved = iter(ctx.saved_tensors)
        parts = [[next(saved) for _ in range(4 + len(_blocks(width)))] for width in ctx.widths]
        angles = (next(saved), next(saved))
        groups = [next(saved) for _ in range(ctx.groups)]
        places = next(saved)
        padded = F.pad(gradient, (0, 0, 0, 1))
        results = []
        for rows, (q, k, v, out, *probabilities) in zip(groups, parts, strict=True):
            documents, length = rows.shape
            grad = padded.index_select(0, rows.flatten()).view(documents, length, heads.key, heads.shared, heads.dim)
            grad = grad.permute(0, 2, 1, 3, 4).reshape(q.shape)
            grads = _backward(q, k, v, out, probabilities, grad, heads.shared)
            results.append(_to_qkv(grads, documents, length, angles, heads))
        return torch.cat(results).index_select(0, places), None, None, None, None, None


def _blocks(length: int) -> list[tuple[int, int]]:
    size = SHORT_BLOCK if length <= SHORT else BLOCK
    return [(start, min(start + size, length)) for start in range(0, length, size)]


def _forward(q: Tensor, k: Tensor, v: Tensor, shared: int) -> tuple[Tensor, list[Tensor]]:
    """q: (B, T*shared, d), scaled; k, v: (B, T, d). Returns the mixed values and each block's probabilities."""
    out = torch.empty_like(q)
    kept = []
    for start, end in _blocks(k.shape[1]):
        rows = slice(start * shared, end * shared)
        scores = torch.bmm(q[:, rows], k[:, :end].transpose(1, 2))
        scores[:, :, start:].masked_fill_(_future(end - start, shared, q.device), float("-inf"))
        probabilities = torch.softmax(scores, -1)
        out[:, rows] = torch.bmm(probabilities, v[:, :end])
        kept.append(probabilities)
    return out, kept


def _backward(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, kept: list[Tensor], grad: Tensor, shared: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q (unscaled queries), k and v."""
    dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    mean = (grad * out).sum(-1, keepdim=True)
    for (start, end), probabilities in zip(_blocks(k.shape[1]), kept, strict=True):
        rows = slice(start * shared, end * shared)
        dv[:, :end] += torch.bmm(probabilities.transpose(1, 2), grad[:, rows])
        scores = torch.bmm(grad[:, rows], v[:, :end].transpose(1, 2)).sub_(mean[:, rows]).mul_(probabilities)
        dq[:, rows] = torch.bmm(scores, k[:, :end])
        dk[:, :end] += torch.bmm(scores.transpose(1, 2), q[:, rows])
    return dq.mul_(q.shape[-1] ** -0.5), dk, dv


def _future(size: int, shared: int, device: torch.device) -> Tensor:
    mask = torch.ones(size, size, dtype=torch.bool, device=device).triu_(1)
    return mask.repeat_interleave(shared, 0) if shared > 1 else mask


def _split(x: Tensor, heads: Heads) -> tuple[Tensor, Tensor, Tensor]:
    """x: (D, T, all heads * dim) -> views q (D, key, T, shared, dim), k and v (D, key, T, dim)."""
    documents, length, _ = x.shape
    x = x.view(documents, length, -1, heads.dim)
    q, k, v = torch.split(x, [heads.query, heads.key, heads.key], dim=2)
    q = q.view(documents, length, heads.key, heads.shared, heads.dim).permute(0, 2, 1, 3, 4)
    return q, k.transpose(1, 2), v.transpose(1, 2)


def _to_tokens(out: Tensor, documents: int, length: int, heads: Heads) -> Tensor:
    split = out.view(documents, heads.key, length, heads.shared, heads.dim)
    return split.permute(0, 2, 1, 3, 4).reshape(documents * length, heads.query * heads.dim)


def _to_qkv(grads: tuple[Tensor, Tensor, Tensor], documents: int, length: int, angles: Angles, heads: Heads) -> Tensor:
    """Gradients of rotated q, k and of v -> (D*T, all heads * dim), rotated back."""
    dq, dk, dv = grads
    result = dq.new_empty(documents, length, heads.query + 2 * heads.key, heads.dim)
    to_q, to_k, to_v = _split(result.view(documents, length, -1), heads)
    _rotate(dq.view(documents, heads.key, length, heads.shared, heads.dim), angles, 3, -1, to_q)
    _rotate(dk.view(documents, heads.key, length, heads.dim), angles, 2, -1, to_k)
    to_v.copy_(dv.view(documents, heads.key, length, heads.dim))
    return result.view(documents * length, -1)


def _rotate(x: Tensor, angles: Angles, dims: int, sign: int = 1, out: Tensor | None = None) -> Tensor:
    """Turns pairs (i, i + d/2) by the angle of their position, the dimension 2 of x; sign -1 turns back.

    dims: number of dimensions from position to the end; contiguous unless `out` is given.
    """
    cos, sin = (table[: x.shape[2]].to(x.dtype) for table in angles)
    if dims == 3:
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    first, second = x.chunk(2, dim=-1)
    if out is None:
        if x.requires_grad:
            return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
        out = x.new_empty(x.shape)
    to_first, to_second = out.chunk(2, dim=-1)
    torch.mul(first, cos, out=to_first).addcmul_(second, sin, value=-sign)
    torch.mul(second, cos, out=to_second).addcmul_(first, sin, value=sign)
    return out


_block_attention = cast(Callable[..., Tensor], _BlockAttention.apply)
