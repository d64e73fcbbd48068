"""The language model as graphs: the decoder stack over a shared key-value cache, and output heads over some ids.

The graphs hold no values: these lie in one file of tensors beside them, from where the runtime maps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from ..checkpoint.blocks import BlockFormat
from ..checkpoint.config import LanguageModelConfig
from ..checkpoint.stored import StoredTensor
from ..checkpoint.tensors import TensorFile
from .graph import INT64_MAX, IR_VERSION, MICROSOFT, OPSET

TYPES = {"F32": TensorProto.FLOAT, "U8": TensorProto.UINT8}


class DecoderGraph:
    """Nodes and inputs of one graph while it is written. Values are names; tensors are those of `file`."""

    def __init__(self, name: str, file: TensorFile) -> None:
        self.name, self._file = name, file
        self._nodes: list[onnx.NodeProto] = []
        self._used: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> str:
        """Declares an input. shape: numbers, and names of sizes that vary."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def output(self, name: str, shape: Sequence[int | str]) -> str:
        """Declares a value of that name, float32, to be an output."""
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        return name

    def op(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **settings: Any) -> str:
        """Adds an operator. An empty name stands for an optional value that is left out. Returns the first output."""
        self._nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **settings))
        return outputs[0]

    def tensor(self, name: str) -> str:
        """A tensor of the file."""
        if name not in self._used:
            self._used[name] = _external(name, self._file.entries[name], self._file.path.name)
        return name

    def constant(self, name: str, value: int) -> str:
        """A whole number, as a list of one."""
        if name not in self._used:
            self._used[name] = helper.make_tensor(name, TensorProto.INT64, [1], [value])
        return name

    def linear(self, x: str, name: str, y: str, form: BlockFormat | None, columns: int, bias: str = "") -> str:
        """x (..., columns) -> y (..., rows). name: the matrix; form: None for float32; bias: a tensor's name."""
        extra = [self.tensor(bias)] if bias else []
        if form is None:
            product = f"{y}.product" if bias else y
            self.op("FusedMatMul", [x, self.tensor(name)], [product], MICROSOFT, transB=1)
            return self.op("Add", [product, *extra], [y]) if bias else y
        codes, scales = self.tensor(f"{name}.codes"), self.tensor(f"{name}.scales")
        inputs = [x, codes, scales, *(["", "", *extra] if bias else [])]  # no offsets, no order of columns
        sizes = {"K": columns, "N": self._file.shape(codes)[0], "bits": form.bits, "block_size": form.size}
        # Level 4: inputs are rounded to 8 bits, block by block, so that products are of whole numbers.
        return self.op("MatMulNBits", inputs, [y], MICROSOFT, accuracy_level=4, **sizes)

    def save(self, path: Path) -> None:
        """Writes the graph. Raises OSError."""
        tensors = list(self._used.values())
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, tensors)
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="sparktts")
        path.write_bytes(model.SerializeToString())


def decoder_stack(
    file: TensorFile, config: LanguageModelConfig, forms: Mapping[str, BlockFormat | None]
) -> DecoderGraph:
    """The stack without embedding and head. forms: of `qkv`, `output`, `gate_up`, `down`.

    inputs_embeds (B, T, hidden); seqlens_k (B,) int32: positions in the cache afterwards, less one; total (1,) int32:
    the largest of them, plus one; first (1,) int64: the first position whose state is wanted, -1 for the last one.
    past_key.N, past_value.N (B, kv_heads, S, head_dim): the cache, written in place when present_key.N and
    present_value.N are the same buffers. Several positions of a sequence with a past only with B = 1.
    Output: hidden (B, wanted, hidden).
    """
    graph, c = DecoderGraph("language_model", file), config
    x = graph.input("inputs_embeds", ["B", "T", c.hidden_size])
    lengths = [graph.input("seqlens_k", ["B"], TensorProto.INT32), graph.input("total", [1], TensorProto.INT32)]
    first = graph.input("first", [1], TensorProto.INT64)
    graph.output("hidden", ["B", "wanted", c.hidden_size])
    norm: dict[str, Any] = {"epsilon": c.rms_norm_eps}
    normed = graph.op(
        "SimplifiedLayerNormalization", [x, graph.tensor("layers.0.attention_norm")], ["normed"], axis=-1, **norm
    )
    for layer in range(c.num_hidden_layers):
        p, last = f"layers.{layer}.", layer == c.num_hidden_layers - 1
        mixed = _attention(graph, c, layer, normed, lengths, forms)
        if last:  # the rest is wanted for some positions only
            mixed, x = (_from(graph, value, first) for value in (mixed, x))
        y = graph.linear(mixed, f"{p}output", f"{p}attended", forms["output"], c.num_attention_heads * c.head_dim)
        normed, x = _add_and_norm(graph, x, y, f"{p}feed_forward_norm", f"{p}middle", norm)
        y = _feed_forward(graph, c, p, normed, forms)
        following = "norm" if last else f"layers.{layer + 1}.attention_norm"
        normed, x = _add_and_norm(graph, x, y, following, "hidden" if last else f"{p}end", norm)
    return graph


def head(
    file: TensorFile, config: LanguageModelConfig, name: str, matrix: str, form: BlockFormat | None
) -> DecoderGraph:
    """Scores of some ids, by a matrix of one row each. hidden (N, hidden) -> scores (N, ids)."""
    graph = DecoderGraph(name, file)
    x = graph.input("hidden", ["N", config.hidden_size])
    rows = file.shape(matrix if form is None else f"{matrix}.codes")[0]
    graph.linear(x, matrix, graph.output("scores", ["N", rows]), form, config.hidden_size)
    return graph


def _attention(
    graph: DecoderGraph,
    c: LanguageModelConfig,
    layer: int,
    normed: str,
    lengths: Sequence[str],
    forms: Mapping[str, BlockFormat | None],
) -> str:
    p = f"layers.{layer}."
    shape: list[int | str] = ["B", c.num_key_value_heads, "S", c.head_dim]
    qkv = graph.linear(normed, f"{p}qkv", f"{p}projected", forms["qkv"], c.hidden_size, f"{p}qkv.bias")
    past = [graph.input(f"past_{part}.{layer}", shape) for part in ("key", "value")]
    present = [graph.output(f"present_{part}.{layer}", shape) for part in ("key", "value")]
    angles = [graph.tensor("cosines"), graph.tensor("sines")]
    heads = {"num_heads": c.num_attention_heads, "kv_num_heads": c.num_key_value_heads, "do_rotary": 1}
    return graph.op(
        "GroupQueryAttention", [qkv, "", "", *past, *lengths, *angles], [f"{p}mixed", *present], MICROSOFT, **heads
    )


def _feed_forward(
    graph: DecoderGraph, c: LanguageModelConfig, p: str, normed: str, forms: Mapping[str, BlockFormat | None]
) -> str:
    """SwiGLU: down(silu(gate(x)) * up(x)); QuickGelu with a factor of 1 is silu."""
    both = graph.linear(normed, f"{p}gate_up", f"{p}both", forms["gate_up"], c.hidden_size)
    gate, up = f"{p}gate", f"{p}up"
    graph.op("Split", [both], [gate, up], axis=-1, num_outputs=2)
    opened = graph.op("QuickGelu", [gate], [f"{p}opened"], MICROSOFT, alpha=1.0)
    product = graph.op("Mul", [opened, up], [f"{p}product"])
    return graph.linear(product, f"{p}down", f"{p}fed", forms["down"], c.intermediate_size)


def _add_and_norm(
    graph: DecoderGraph, x: str, y: str, gain: str, name: str, norm: Mapping[str, float]
) -> tuple[str, str]:
    """The norm of x + y, named `name`, and x + y."""
    total = f"{name}.sum"
    inputs, outputs = [x, y, graph.tensor(gain)], [name, "", "", total]
    return graph.op("SkipSimplifiedLayerNormalization", inputs, outputs, MICROSOFT, **norm), total


def _from(graph: DecoderGraph, x: str, first: str) -> str:
    """Positions `first` and later."""
    bounds = [first, graph.constant("end", INT64_MAX), graph.constant("time", 1)]
    return graph.op("Slice", [x, *bounds], [f"{x}.wanted"])


def _external(name: str, entry: StoredTensor, location: str) -> onnx.TensorProto:
    tensor = onnx.TensorProto(
        name=name, data_type=TYPES[entry.dtype], dims=entry.shape, data_location=TensorProto.EXTERNAL
    )
    for key, value in (("location", location), ("offset", entry.offset), ("length", entry.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
