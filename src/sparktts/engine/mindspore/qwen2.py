"""Qwen2 decoder with a static key-value cache, compiled: RMSNorm, rotary positions, grouped-query attention, SwiGLU.

Shapes depend on nothing that changes from token to token, so each of the two graphs, for prompts and for single ids,
is compiled once for a cache. Source: Qwen2 technical report, arXiv 2407.10671.
"""

from __future__ import annotations

from collections.abc import Iterable

import mindspore as ms
import numpy as np
import numpy.typing as npt
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from ...checkpoint.config import LanguageModelConfig
from .runtime import DTYPES

# Projections that read the same input are one matrix here: fused name -> names in the checkpoint, in row order.
FUSED = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
}
HIDDEN = -1e9  # added to the scores of positions that are not to be seen

Floats = npt.NDArray[np.float32]


class Layer(nn.Cell):
    """Pre-norm attention and feed-forward with residuals. Products in `dtype`, everything else in float32."""

    def __init__(self, config: LanguageModelConfig, tensors: dict[str, Floats], name: str, dtype: ms.Type) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self.eps, self.dtype, self.scale = config.rms_norm_eps, dtype, config.head_dim**-0.5

        def parameter(part: str, values: Floats, kind: ms.Type = ms.float32) -> Parameter:
            return Parameter(Tensor(values, kind), name=f"{name}.{part}", requires_grad=False)

        def fused(part: str, leaf: str) -> Floats:
            return np.concatenate([tensors[f"{piece}.{leaf}"] for piece in FUSED[part]])

        self.qkv = parameter("qkv", fused("qkv", "weight"), dtype)
        self.qkv_bias = parameter("qkv_bias", fused("qkv", "bias"))
        self.out = parameter("out", tensors["self_attn.o_proj.weight"], dtype)
        self.gate_up = parameter("gate_up", fused("gate_up", "weight"), dtype)
        self.down = parameter("down", tensors["mlp.down_proj.weight"], dtype)
        self.first_norm = parameter("first_norm", tensors["input_layernorm.weight"])
        self.second_norm = parameter("second_norm", tensors["post_attention_layernorm.weight"])
        self.matmul, self.cast = ops.MatMul(transpose_b=True), ops.Cast()
        self.match, self.mix = ops.BatchMatMul(transpose_b=True), ops.BatchMatMul()
        self.softmax, self.sigmoid, self.transpose = ops.Softmax(-1), ops.Sigmoid(), ops.Transpose()
        self.split, self.halves, self.turned = ops.Split(1, 2), ops.Split(2, 2), ops.Concat(2)
        self.mean, self.rsqrt, self.square = ops.ReduceMean(keep_dims=True), ops.Rsqrt(), ops.Square()

    def linear(self, x: Tensor, weight: Parameter) -> Tensor:
        """(N, in) -> (N, out), float32."""
        return self.cast(self.matmul(self.cast(x, self.dtype), weight), ms.float32)

    def norm(self, x: Tensor, gain: Parameter) -> Tensor:
        """RMSNorm. x: (N, hidden)."""
        return x * self.rsqrt(self.mean(self.square(x), -1) + self.eps) * gain

    def rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x: (N, H, d); cos, sin: (N, 1, d). Pairs are (i, i + d/2), as in the published weights."""
        first, second = self.halves(x)
        return x * cos + self.turned((-second, first)) * sin

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x: (N, hidden) -> q (N, heads, d), k and v (N, kv_heads, d), rotated."""
        both = self.linear(self.norm(x, self.first_norm), self.qkv) + self.qkv_bias
        both = both.reshape(-1, self.heads + 2 * self.kv_heads, self.width)
        q, k = both[:, : self.heads], both[:, self.heads : self.heads + self.kv_heads]
        return self.rotate(q, cos, sin), self.rotate(k, cos, sin), both[:, self.heads + self.kv_heads :]

    def attend(self, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """q: (B, kv_heads, Q, d); keys, values: (B, kv_heads, S, d); mask: (B or 1, 1, Q or 1, S). Returns as q."""
        scores = self.match(q * self.scale, keys) + mask
        return self.mix(self.softmax(scores), values)

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """What follows attention. x: (N, hidden); mixed: (N, heads * d)."""
        x = x + self.linear(mixed, self.out)
        gate, up = self.split(self.linear(self.norm(x, self.second_norm), self.gate_up))
        return x + self.linear(gate * self.sigmoid(gate) * up, self.down)


class Stack(nn.Cell):
    """All weights but those of an untied head: ids in, normalised hidden states out, over one cache at a time."""

    def __init__(self, config: LanguageModelConfig, layers: Iterable[dict[str, Floats]], dtype: str) -> None:
        """layers: tensors of each, by their names inside the layer."""
        super().__init__()
        self.layers = nn.CellList([Layer(config, each, f"layer{n}", DTYPES[dtype]) for n, each in enumerate(layers)])


class Decoder(nn.Cell):
    """The stack over a cache of `rows` sequences of up to `capacity` positions; compiled when it is first called.

    The cache of a layer is one (rows * kv_heads * capacity, d) parameter for keys and one for values: writing is one
    update of its first axis, and reading costs nothing.
    """

    def __init__(
        self, config: LanguageModelConfig, stack: Stack, table: Parameter, norm: Parameter, rows: int, capacity: int
    ) -> None:
        super().__init__()
        self.config, self.rows, self.capacity = config, rows, capacity
        self.kv_heads, self.groups = (
            config.num_key_value_heads,
            config.num_attention_heads // config.num_key_value_heads,
        )
        self.width = config.head_dim
        self.layers, self.table, self.last_norm = stack.layers, table, norm
        cos, sin = angles(config, capacity)
        self.cos, self.sin = Tensor(cos), Tensor(sin)
        self.places = Tensor(np.arange(capacity, dtype=np.int32))
        shape = (rows * self.kv_heads * capacity, self.width)
        self.keys = ParameterTuple([self._buffer(f"keys{n}", shape) for n in range(len(stack.layers))])
        self.values = ParameterTuple([self._buffer(f"values{n}", shape) for n in range(len(stack.layers))])
        self.gather, self.update, self.transpose = ops.Gather(), ops.ScatterUpdate(), ops.Transpose()
        self.less_equal, self.cast = ops.LessEqual(), ops.Cast()

    @staticmethod
    def _buffer(name: str, shape: tuple[int, ...]) -> Parameter:
        return Parameter(Tensor(np.zeros(shape, np.float32)), name=name, requires_grad=False)

    @ms.jit
    def decode(self, ids: Tensor, positions: Tensor, slots: Tensor) -> Tensor:
        """One id a row of the cache. ids, positions: (rows,); slots: (rows * kv_heads,) -> (rows, hidden)."""
        x, cos, sin = self._begin(ids, positions)
        mask = self._mask(positions).reshape(self.rows, 1, 1, self.capacity)
        for n in range(len(self.layers)):
            layer = self.layers[n]
            q, k, v = layer.project(x, cos, sin)
            self.update(self.keys[n], slots, k.reshape(-1, self.width))
            self.update(self.values[n], slots, v.reshape(-1, self.width))
            shape = (self.rows, self.kv_heads, self.capacity, self.width)
            q = q.reshape(self.rows, self.kv_heads, self.groups, self.width)
            mixed = layer.attend(q, self.keys[n].reshape(shape), self.values[n].reshape(shape), mask)
            x = layer.finish(x, mixed.reshape(self.rows, -1))
        return self.layers[0].norm(x, self.last_norm)

    @ms.jit
    def prefill(self, ids: Tensor, positions: Tensor, slots: Tensor, row: Tensor) -> Tensor:
        """A chunk of one row. ids, positions: (T,); slots: (kv_heads * T,); row: (1,) -> (T, hidden)."""
        x, cos, sin = self._begin(ids, positions)
        count = ids.shape[0]
        mask = self._mask(positions).reshape(1, 1, count, self.capacity)
        for n in range(len(self.layers)):
            layer = self.layers[n]
            q, k, v = layer.project(x, cos, sin)
            self.update(self.keys[n], slots, self.transpose(k, (1, 0, 2)).reshape(-1, self.width))
            self.update(self.values[n], slots, self.transpose(v, (1, 0, 2)).reshape(-1, self.width))
            # Query heads that share keys are rows of one product.
            q = q.reshape(count, self.kv_heads, self.groups, self.width)
            q = self.transpose(q, (1, 2, 0, 3)).reshape(1, self.kv_heads, self.groups * count, self.width)
            seen = ops.tile(mask, (1, 1, self.groups, 1))
            mixed = layer.attend(q, self._row(self.keys[n], row), self._row(self.values[n], row), seen)
            mixed = mixed.reshape(self.kv_heads * self.groups, count, self.width)
            x = layer.finish(x, self.transpose(mixed, (1, 0, 2)).reshape(count, -1))
        return self.layers[0].norm(x, self.last_norm)

    @ms.jit
    def move(self, source: Tensor, target: Tensor) -> Tensor:
        """Copies slots of the cache over others. source, target: (N,). Returns the targets."""
        for n in range(len(self.layers)):
            self.update(self.keys[n], target, self.gather(self.keys[n], source, 0))
            self.update(self.values[n], target, self.gather(self.values[n], source, 0))
        return target

    def _begin(self, ids: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.cast(self.gather(self.table, ids, 0), ms.float32)
        cos, sin = self.gather(self.cos, positions, 0), self.gather(self.sin, positions, 0)
        return x, cos.reshape(-1, 1, self.width), sin.reshape(-1, 1, self.width)

    def _mask(self, positions: Tensor) -> Tensor:
        """(N, capacity): 0 where a query may look, its own position and those before it."""
        seen = self.less_equal(self.places.reshape(1, -1), positions.reshape(-1, 1))
        return (1.0 - self.cast(seen, ms.float32)) * HIDDEN

    def _row(self, buffer: Parameter, row: Tensor) -> Tensor:
        """(1, kv_heads, capacity, d) of one row."""
        found = self.gather(buffer.reshape(self.rows, -1), row, 0)
        return found.reshape(1, self.kv_heads, self.capacity, self.width)


def angles(config: LanguageModelConfig, count: int) -> tuple[Floats, Floats]:
    """Cosines and sines of the rotary angles of positions 0..count-1, (count, head_dim) each."""
    inverse = config.rope_theta ** -(np.arange(0, config.head_dim, 2) / config.head_dim)
    turns = np.arange(count)[:, None] * inverse
    turns = np.concatenate([turns, turns], axis=1)
    return np.cos(turns).astype(np.float32), np.sin(turns).astype(np.float32)
