"""ConvNeXt networks over frames, and what the codec makes of them, as ONNX operators."""

from __future__ import annotations

from ..checkpoint.config import BackboneConfig
from .graph import Layers

NORM_EPS = 1e-6
SAME_RATE_GAIN = 3.0  # the published resampling block at ratio 1: main path and both skips are the input


def backbone(layers: Layers, frames: str, depth: int, kernel: int, condition: str | None = None) -> str:
    """frames: (1, T, C); condition: (1, D). Returns (1, T, dim)."""
    graph = layers.graph
    # Not as a convolution: ONNX Runtime adds its terms up in another order when a window is short, and where a phase
    # is made of the result, the last bit counts.
    embedded = layers.conv_of_frames(frames, "embed", kernel)
    x = graph.swap(_norm(layers, embedded, "norm", condition))
    for i in range(depth):
        x = _block(layers.under(f"convnext.{i}"), x, kernel, condition)
    return layers.layer_norm(graph.swap(x), "final_layer_norm", NORM_EPS)


def stages(layers: Layers, frames: str, config: BackboneConfig) -> str:
    """The resampling blocks at ratio 1, each with a short backbone. frames: (1, T, dim). Returns the same shape."""
    graph = layers.graph
    for i in range(len(config.sample_ratios)):
        tripled = graph.op("Mul", frames, graph.constant(SAME_RATE_GAIN))
        part = layers.under(f"downsample.{i}.1")
        frames = backbone(part, tripled, config.sampling_block_layers, config.kernel_size)
    return frames


def feature_decoder(layers: Layers, frames: str, config: BackboneConfig, condition: str) -> str:
    """The prenet. frames: (1, T, input_channels); condition: (1, condition_dim). Returns (1, T, out_channels)."""
    graph = layers.graph
    frames = stages(layers, layers.linear(frames, "linear_pre"), config)
    frames = backbone(layers.under("vocos_backbone"), frames, config.vocos_num_layers, config.kernel_size, condition)
    frames = layers.linear(frames, "linear")
    return graph.op("Tanh", frames) if config.use_tanh_at_final else frames


def semantic_encoder(layers: Layers, frames: str, config: BackboneConfig) -> str:
    """Features to what is quantised. frames: (1, T, input_channels). Returns (1, T, out_channels)."""
    whole = backbone(layers.under("encoder"), frames, config.vocos_num_layers, config.kernel_size)
    return layers.linear(stages(layers, whole, config), "project")


def _norm(layers: Layers, frames: str, name: str, condition: str | None) -> str:
    """A layer norm; with a condition, and tensors for it, gain and bias are linear functions of the condition."""
    if condition is None or not layers.has(f"{name}.scale.weight"):
        return layers.layer_norm(frames, name, NORM_EPS)
    graph = layers.graph
    gain, bias = (graph.reshape(layers.linear(condition, f"{name}.{part}"), -1) for part in ("scale", "shift"))
    return graph.op("LayerNormalization", frames, gain, bias, axis=-1, epsilon=NORM_EPS)


def _block(layers: Layers, x: str, kernel: int, condition: str | None) -> str:
    """Depthwise convolution over time, then a pointwise network, added to the input. x: (1, dim, T)."""
    graph = layers.graph
    channels = len(layers.array("gamma"))
    mixed = graph.swap(layers.conv(x, "dwconv", kernel // 2, groups=channels))
    hidden = graph.op("Gelu", layers.linear(_norm(layers, mixed, "norm", condition), "pwconv1"))
    change = graph.op("Mul", layers.linear(hidden, "pwconv2"), layers.tensor("gamma"))
    return graph.op("Add", x, graph.swap(change))
