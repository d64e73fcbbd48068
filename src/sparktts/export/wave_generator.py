"""The published waveform decoder as ONNX operators, arranged for processors.

Signals are (1, C, 1, T): ONNX Runtime has a faster layout for convolutions over images than for those over lines. What
only served as context is cut off behind every block, as each needs less of it. `folding` says what became of the
activations' factors and of the transposed convolutions, `short_convolution` how the wide ones are computed.
"""

from __future__ import annotations

from ..checkpoint.config import DecoderConfig
from .folding import Tensors, folded, movable, taps_of
from .graph import INT64_MAX, Array, Graph
from .short_convolution import MOST_TAPS, evaluated, interpolated, short_convolution

# Behind a convolution's own name: (out, in, 1, taps); for a short algorithm (points * out, in, 1, 1), and points.
FOLDED, EVALUATED = "^folded", "^evaluated"
# A short algorithm gains nothing with fewer channels (measured), and of 2 taps makes two and a half times the weights.
FEWEST_CHANNELS, FEWEST_TAPS = 64, 3
SNAKE_EPS = 1e-9


def needed_context(config: DecoderConfig) -> tuple[int, ...]:
    """Tokens on each side that still influence a token's samples behind each block."""
    half = config.kernel_size // 2
    # Samples that decide those of token 0, at the rate behind each block; the last block's are seen by one convolution.
    first, last = -half, config.hop - 1 + half
    needed, rate = [], config.hop
    for stride, kernel in zip(reversed(config.rates), reversed(config.kernel_sizes), strict=True):
        needed.append(max(-(first // rate), -(-(last - rate + 1) // rate)))
        reach = sum(config.dilations) * half
        padding = (kernel - stride) // 2
        first = -((kernel - 1 - padding - first + reach) // stride)
        last = (last + reach + padding) // stride
        rate //= stride
    return tuple(reversed(needed))


def wave_generator(graph: Graph, tensors: Tensors, x: str, cuts: str, config: DecoderConfig) -> str:
    """x: (1, input_channel, 1, T). Returns (1, hop * kept) samples, those of what is kept behind the last block.

    tensors: `model.*` of the decoder; cuts: (blocks, 2) int64, first and last + 1 sample to keep behind each block.
    """
    layers = _Layers(graph, tensors, folded(tensors, config))
    padding = config.kernel_size // 2
    x = layers.conv(x, "model.0", padding)
    for i, (kernel, rate) in enumerate(zip(config.kernel_sizes, config.rates, strict=True), start=1):
        block = f"model.{i}.block"
        x = layers.upsample(layers.snake(x, f"{block}.0"), f"{block}.1", kernel, rate)
        for unit, dilation in enumerate(config.dilations, start=2):
            name = f"{block}.{unit}.block"
            y = layers.conv(layers.snake(x, f"{name}.0"), f"{name}.1", padding * dilation, dilation)
            y = layers.conv(layers.snake(y, f"{name}.2", multiplied=True), f"{name}.3")
            x = graph.op("Add", y, x)
        x = _cut(graph, x, cuts, i - 1)
    last = len(config.rates) + 1
    x = layers.conv(layers.snake(x, f"model.{last}"), f"model.{last + 1}", padding)
    return graph.op("Tanh", graph.reshape(x, 1, -1))


def stored_convolutions(tensors: Tensors) -> dict[str, Array]:
    """From a graph's tensors those of the convolutions under their plain names, weights (out, in, taps)."""
    found: dict[str, Array] = {}
    for name, values in tensors.items():
        plain, _, points = name.partition(EVALUATED)
        if points:
            found[plain] = interpolated(values.reshape(int(points), -1, values.shape[1]))
        elif name.endswith(FOLDED):
            found[name.removesuffix(FOLDED)] = values[:, :, 0] if values.ndim == 4 else values
    return found


def _cut(graph: Graph, x: str, cuts: str, block: int) -> str:
    """Keeps cuts[block, 0]:cuts[block, 1] of the last axis."""
    row = graph.op("Gather", cuts, graph.constant(block, "int64"), axis=0)
    first = graph.op("Slice", row, graph.integers(0), graph.integers(1))
    last = graph.op("Slice", row, graph.integers(1), graph.integers(2))
    return graph.op("Slice", x, first, last, graph.integers(3))


class _Layers:
    """Operators of the decoder. tensors: the checkpoint's; stored: as the graph multiplies them."""

    def __init__(self, graph: Graph, tensors: Tensors, stored: Tensors) -> None:
        self.graph, self.tensors, self.stored = graph, tensors, stored

    def snake(self, x: str, name: str, multiplied: bool = False) -> str:
        """x + sin(alpha x)^2 / alpha; alpha times that where alpha is movable. multiplied: x is alpha x already.

        Source: arXiv 2006.08195.
        """
        graph, alpha = self.graph, self.tensors[f"{name}.alpha"].reshape(-1, 1, 1)
        if movable(alpha):
            x = x if multiplied else graph.op("Mul", x, graph.constant(alpha))
            wave = graph.op("Sin", x)
            return graph.op("Add", x, graph.op("Mul", wave, wave))
        wave = graph.op("Sin", graph.op("Mul", x, graph.constant(alpha)))
        return graph.op("Add", x, graph.op("Mul", graph.op("Mul", wave, wave), graph.constant(1 / (alpha + SNAKE_EPS))))

    def conv(self, x: str, name: str, padding: int = 0, dilation: int = 1) -> str:
        """A convolution over the last axis."""
        graph, weight = self.graph, self.stored[f"{name}.weight"]
        outputs, inputs, taps = weight.shape
        bias = graph.tensor(f"{name}.bias{FOLDED}", self.stored[f"{name}.bias"])
        if FEWEST_TAPS <= taps <= MOST_TAPS and min(inputs, outputs) >= FEWEST_CHANNELS and name != "model.0":
            values = evaluated(weight)
            stored = graph.tensor(f"{name}.weight{EVALUATED}{len(values)}", values.reshape(-1, inputs, 1, 1))
            return short_convolution(graph, x, stored, bias, values.shape, dilation, (padding, padding))
        stored = graph.tensor(f"{name}.weight{FOLDED}", weight[:, :, None])
        return graph.op("Conv", x, stored, bias, pads=[0, padding, 0, padding], dilations=[1, dilation])

    def upsample(self, x: str, name: str, kernel: int, rate: int) -> str:
        """A transposed convolution that multiplies the length by `rate`. x: (1, in, 1, T)."""
        graph, count = self.graph, taps_of(kernel, rate)
        x = self.conv(x, name, padding=count - 1)
        outputs = len(self.stored[f"{name}.bias"]) // rate
        x = graph.op("Transpose", graph.reshape(x, 1, outputs, rate, -1), perm=[0, 1, 3, 2])
        x = graph.reshape(x, 1, outputs, 1, -1)
        # It begins and ends with samples that the transposed convolution's padding takes away.
        padding = (kernel - rate) // 2
        surplus = count * rate - rate - padding
        end = graph.integers(-surplus if surplus else INT64_MAX)
        return graph.op("Slice", x, graph.integers(padding), end, graph.integers(3))
