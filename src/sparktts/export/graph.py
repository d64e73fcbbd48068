"""Writing ONNX graphs node by node from a checkpoint's tensors: nothing is traced, and torch is not needed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..checkpoint.blocks import BlockFormat, dequantize
from .blocks import quantize

Array = npt.NDArray[Any]
Shape = Sequence[int | str]

OPSET = 21
MICROSOFT = "com.microsoft"
IR_VERSION = 10
# A checkpoint's tensor that is stored in another form has its own name with one of these behind it.
TRANSPOSED, FRAMES, SCALES = "^T", "^frames", "^scales"
CONSTANT = "constant^"
EXTERNAL_FROM = 1 << 20  # bytes; larger graphs keep their values in a file beside them
APART_FROM, ALIGNMENT = 1 << 10, 64  # bytes; values that go there, and what their places are multiples of
HALF_FROM = 1 << 12  # values; smaller tensors stay in full precision
BLOCKS_FROM = 1 << 18  # values; smaller matrices are not worth a loss
CENTRE = 128  # of codes in 8 bits, the only ones that are packed
PACKED_FROM = 1 << 14  # values; what is packed of smaller tensors saves nothing that counts
LARGEST_HALF = 65504.0
INT64_MAX = 2**63 - 1
TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


@dataclass(frozen=True)
class Storage:
    """How tensors are stored.

    half: as float16, packed: large ones in blocks; both are widened while the graph is loaded, and computed in float32.
    blocks: of large linear layers, which are computed as they are stored.
    """

    half: bool = False
    blocks: BlockFormat | None = None
    packed: BlockFormat | None = None

    def arrays(self, name: str, values: Array) -> dict[str, Array]:
        """A tensor as it is stored, by name: as floats, or as the codes of blocks along its rows and their scales."""
        if not self.half or values.size < HALF_FROM or np.abs(values).max() > LARGEST_HALF:
            return {name: np.asarray(values, np.float32)}
        form = self.packed
        if form is None or values.size < PACKED_FROM or values[0].size % form.size:
            return {name: values.astype(np.float16)}
        codes, scales = quantize(values.reshape(len(values), -1).astype(np.float32), form)
        return {_label(name, form): codes, name + SCALES: scales}

    @property
    def name(self) -> str:
        """In a word, for reports."""
        if form := self.packed or self.blocks:
            return f"int{form.bits}"
        return "fp16" if self.half else "fp32"


def _label(name: str, form: BlockFormat) -> str:
    return f"{name}^blocks{form.bits}x{form.size}"


class Graph:
    """One graph while it is written. Values are names."""

    def __init__(self, name: str, storage: Storage | None = None) -> None:
        self.name, self.storage = name, storage or Storage()
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, Array] = {}
        self._widened: dict[str, str] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Shape, dtype: str = "float32") -> str:
        """Declares an input. shape: numbers, and names of sizes that vary."""
        self._inputs.append(helper.make_tensor_value_info(name, TYPES[dtype], list(shape)))
        return name

    def output(self, name: str, value: str, shape: Shape, dtype: str = "float32") -> None:
        """Declares a value to be an output under a name of its own."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TYPES[dtype], list(shape)))

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Adds an operator of one output."""
        return self.ops(kind, 1, *inputs, domain=domain, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: str, domain: str = "", **attributes: Any) -> list[str]:
        """Adds an operator of several outputs."""
        names = [f"{kind}_{len(self._nodes)}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return names

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """A number or an array that is no tensor of the checkpoint; equal ones are kept once."""
        array = np.asarray(values, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.store(f"{CONSTANT}{len(self._constants)}", array)
        return self._constants[key]

    def integers(self, *values: int) -> str:
        """A list of whole numbers, as shapes and axes are given."""
        return self.constant(values, np.int64)

    def store(self, name: str, values: Array) -> str:
        """An array exactly as it is given."""
        self._tensors[name] = np.asarray(values, order="C")
        return name

    def tensor(self, name: str, values: Array) -> str:
        """A tensor of the checkpoint under its own name, stored as the graph stores them. Returns its float32."""
        if name not in self._widened:
            self._widened[name] = self._widen(self.storage.arrays(name, values), values.shape)
        return self._widened[name]

    def _widen(self, arrays: Mapping[str, Array], shape: tuple[int, ...]) -> str:
        """Float32 of what is stored; the runtime computes it once, while it loads the graph."""
        for name, values in arrays.items():
            self.store(name, values)
        codes, *scales = arrays
        if arrays[codes].dtype == np.float32:
            return codes
        whole = self.op("Cast", codes, to=TensorProto.FLOAT)
        if not scales:
            return whole
        centred = self.op("Sub", whole, self.constant(CENTRE))
        factors = self.op("Unsqueeze", scales[0], self.integers(2))
        return self.reshape(self.op("Mul", centred, factors), *shape)

    def linear(self, x: str, name: str, weight: Array, bias: Array | None = None) -> str:
        """x (..., in) -> (..., out). name: of the layer; weight: (out, in); bias: (out,)."""
        outputs, inputs = weight.shape
        form = self.storage.blocks
        if form is not None and inputs % form.size == 0 and weight.size >= BLOCKS_FROM:
            codes, scales = quantize(weight.astype(np.float32), form)
            stored = self.store(_label(f"{name}.weight", form), codes), self.store(f"{name}.weight{SCALES}", scales)
            form_of = {"bits": form.bits, "block_size": form.size, "accuracy_level": 4}
            product = self.op("MatMulNBits", x, *stored, domain=MICROSOFT, K=inputs, N=outputs, **form_of)
        else:
            product = self.op("MatMul", x, self.tensor(f"{name}.weight{TRANSPOSED}", weight.T))
        return product if bias is None else self.op("Add", product, self.tensor(f"{name}.bias", bias))

    def swap(self, x: str) -> str:
        """(B, C, T) <-> (B, T, C)."""
        return self.op("Transpose", x, perm=[0, 2, 1])

    def reshape(self, x: str, *sizes: int) -> str:
        """0: as it is; -1: what is left."""
        return self.op("Reshape", x, self.integers(*sizes))

    def save(self, path: Path) -> tuple[str, ...]:
        """Writes the graph, with large values beside it. Returns the names of the files. Raises OSError."""
        apart = sum(values.nbytes for values in self._tensors.values()) >= EXTERNAL_FROM
        data = path.with_suffix(".data")
        with data.open("wb") if apart else nullcontext() as file:
            tensors = [_stored(name, values, data.name, file) for name, values in self._tensors.items()]
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, tensors)
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="sparktts")
        path.write_bytes(model.SerializeToString())
        return (path.name, data.name) if apart else (path.name,)


def _stored(name: str, values: Array, location: str, file: BinaryIO | None) -> onnx.TensorProto:
    """A tensor inside the graph; a large one at the end of a file, from where the runtime maps it."""
    if file is None or values.nbytes < APART_FROM:
        return numpy_helper.from_array(values, name)
    file.write(b"\0" * (-file.tell() % ALIGNMENT))
    kind = helper.np_dtype_to_tensor_dtype(values.dtype)
    tensor = onnx.TensorProto(name=name, data_type=kind, dims=values.shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", file.tell()), ("length", values.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    file.write(values.data)
    return tensor


class Layers:
    """The tensors of a network under a prefix, as operators of a graph. Convolutions are over (B, C, T)."""

    def __init__(self, graph: Graph, tensors: Mapping[str, Array], prefix: str = "") -> None:
        self.graph, self.tensors, self.prefix = graph, tensors, prefix

    def under(self, name: str) -> Layers:
        """The same for a part of the network."""
        return Layers(self.graph, self.tensors, f"{self.prefix}{name}.")

    def has(self, name: str) -> bool:
        """Whether the network has a tensor."""
        return self.prefix + name in self.tensors

    def array(self, name: str) -> Array:
        """The values of a tensor."""
        return self.tensors[self.prefix + name]

    def tensor(self, name: str) -> str:
        """A tensor as a value of the graph."""
        return self.graph.tensor(self.prefix + name, self.array(name))

    def linear(self, x: str, name: str) -> str:
        """A linear layer, or a convolution of width 1, over the last axis."""
        weight = self.array(f"{name}.weight")
        bias = self.array(f"{name}.bias") if self.has(f"{name}.bias") else None
        return self.graph.linear(x, self.prefix + name, weight.reshape(weight.shape[:2]), bias)

    def conv(self, x: str, name: str, padding: int = 0, dilation: int = 1, stride: int = 1, groups: int = 1) -> str:
        """A convolution over time."""
        bias = [self.tensor(f"{name}.bias")] if self.has(f"{name}.bias") else []
        settings: dict[str, Any] = {"pads": [padding, padding], "dilations": [dilation], "strides": [stride]}
        return self.graph.op("Conv", x, self.tensor(f"{name}.weight"), *bias, group=groups, **settings)

    def conv_of_frames(self, frames: str, name: str, kernel: int) -> str:
        """A convolution of odd width over (1, T, C), as one product of each frame and its neighbours."""
        graph, half = self.graph, kernel // 2
        weight = self.array(f"{name}.weight")  # (out, in, kernel)
        padded = graph.op("Pad", frames, graph.integers(0, half, 0, 0, half, 0))
        shifted = []
        for tap in range(kernel):
            last = graph.integers(tap + 1 - kernel or INT64_MAX)
            shifted.append(graph.op("Slice", padded, graph.integers(tap), last, graph.integers(1)))
        flat = weight.transpose(2, 1, 0).reshape(-1, len(weight))
        stored = graph.tensor(f"{self.prefix}{name}.weight{FRAMES}{kernel}", flat)
        product = graph.op("MatMul", graph.op("Concat", *shifted, axis=2), stored)
        return graph.op("Add", product, self.tensor(f"{name}.bias"))

    def layer_norm(self, x: str, name: str, epsilon: float) -> str:
        """Over the last axis."""
        gain, bias = self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias")
        return self.graph.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=epsilon)

    def batch_norm(self, x: str, name: str, epsilon: float = 1e-5) -> str:
        """Over the channels of (B, C, T)."""
        values = (self.tensor(f"{name}.{part}") for part in ("weight", "bias", "running_mean", "running_var"))
        return self.graph.op("BatchNormalization", x, *values, epsilon=epsilon)


def read_tensors(path: Path) -> dict[str, Array]:
    """The checkpoint's tensors in a graph, float32. Convolutions may have a further axis of size 1, or be flat."""
    return plain({tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer})


def plain(stored: Mapping[str, Array]) -> dict[str, Array]:
    """The checkpoint's tensors of what is stored of them, float32."""
    found: dict[str, Array] = {}
    for name, values in stored.items():
        if name.startswith(CONSTANT) or name.endswith(SCALES):
            continue
        if match := re.fullmatch(r"(.+)\^blocks(\d)x(\d+)", name):
            name, form = match[1], BlockFormat(int(match[2]), int(match[3]))
            scales = stored[name + SCALES]
            values = dequantize(values, scales, scales.shape[1] * form.size, form)
        if match := re.fullmatch(rf"(.+){re.escape(FRAMES)}(\d+)", name):
            taps = values.astype(np.float32).reshape(int(match[2]), -1, values.shape[1])
            found[match[1]] = taps.transpose(2, 1, 0)
        elif name.endswith(TRANSPOSED):
            found[name.removesuffix(TRANSPOSED)] = values.T.astype(np.float32)
        else:
            found[name] = values.astype(np.float32)
    return found
