"""The speaker encoder, from a mel spectrogram to global tokens, and from global tokens to one vector."""

from __future__ import annotations

import math

import numpy as np

from ..checkpoint.config import SpeakerEncoderConfig
from .graph import TYPES, Graph, Layers

BOUND_EPS = 1e-3
SMALLEST_NORM = 1e-12


def speaker_tokens(layers: Layers, mel: str, config: SpeakerEncoderConfig) -> tuple[str, str]:
    """mel: (1, mel_bins, T). Returns (1, token_num) int64, and what they are made of, (1, token_num, dims)."""
    graph = layers.graph
    features = _ecapa(layers.under("speaker_encoder"), mel, config)
    vectors = _perceiver(layers.under("perceiver_sampler"), graph.swap(features), config)
    levels = layers.linear(vectors, "quantizer.project_in")
    return _quantize(graph, levels, config), levels


def speaker_vector(layers: Layers, tokens: str, config: SpeakerEncoderConfig) -> str:
    """tokens: (1, token_num) int64. Returns (1, out_dim)."""
    graph = layers.graph
    digits = graph.op("Div", graph.op("Unsqueeze", tokens, graph.integers(-1)), graph.integers(*_strides(config)))
    digits = graph.op("Cast", graph.op("Mod", digits, graph.integers(*config.fsq_levels)), to=TYPES["float32"])
    half = graph.constant([levels // 2 for levels in config.fsq_levels])
    vectors = layers.linear(graph.op("Div", graph.op("Sub", digits, half), half), "quantizer.project_out")
    # Flattened dimension by dimension, each over all tokens: the order in which `project` was trained.
    return layers.linear(graph.reshape(graph.swap(vectors), 1, -1), "project")


def _quantize(graph: Graph, z: str, config: SpeakerEncoderConfig) -> str:
    """(1, N, dims) -> (1, N) int64; squashed so that rounding gives each dimension exactly its number of levels.

    Source: arXiv 2309.15505, section 3.
    """
    levels = np.array(config.fsq_levels)
    half = ((levels - 1) * (1 + BOUND_EPS) / 2).astype(np.float32)
    offset = np.where(levels % 2 == 0, 0.5, 0.0).astype(np.float32)  # an even count has no middle level
    shift = np.arctanh(offset / half)
    bounded = graph.op("Mul", graph.op("Tanh", graph.op("Add", z, graph.constant(shift))), graph.constant(half))
    rounded = graph.op("Round", graph.op("Sub", bounded, graph.constant(offset)))
    codes = graph.op(
        "Add", graph.op("Cast", rounded, to=TYPES["int64"]), graph.integers(*(int(n) // 2 for n in levels))
    )
    weighted = graph.op("Mul", codes, graph.integers(*_strides(config)))
    return graph.op("ReduceSum", weighted, graph.integers(-1), keepdims=0)


def _strides(config: SpeakerEncoderConfig) -> list[int]:
    return [math.prod(config.fsq_levels[:i]) for i in range(len(config.fsq_levels))]


def _ecapa(layers: Layers, mel: str, config: SpeakerEncoderConfig) -> str:
    """ECAPA-TDNN up to its frame features: (1, mel_bins, T) -> (1, features, T). Source: arXiv 2005.07143."""
    graph = layers.graph
    x = _conv_relu_norm(layers.under("layer1"), mel, config.ecapa_first_kernel)
    outputs = []
    for number, dilation in enumerate(config.ecapa_dilations, start=2):
        x = _res2_block(layers.under(f"layer{number}.se_res2block"), x, config, dilation)
        outputs.append(x)
    return graph.op("Relu", layers.conv(graph.op("Concat", *outputs, axis=1), "conv"))


def _conv_relu_norm(layers: Layers, x: str, kernel: int = 1) -> str:
    return layers.batch_norm(layers.graph.op("Relu", layers.conv(x, "conv", kernel // 2)), "bn")


def _res2_block(layers: Layers, x: str, config: SpeakerEncoderConfig, dilation: int) -> str:
    """A Res2 convolution between two pointwise ones, gated, added to the input."""
    graph = layers.graph
    y = _conv_relu_norm(layers.under("0"), x)
    y = _res2_conv(layers.under("1"), y, config, dilation)
    y = _conv_relu_norm(layers.under("2"), y)
    mean = graph.op("ReduceMean", y, graph.integers(2), keepdims=0)
    hidden = graph.op("Relu", layers.linear(mean, "3.linear1"))
    gate = graph.op("Sigmoid", layers.linear(hidden, "3.linear2"))
    gated = graph.op("Mul", y, graph.op("Unsqueeze", gate, graph.integers(2)))
    return graph.op("Add", x, gated)


def _res2_conv(layers: Layers, x: str, config: SpeakerEncoderConfig, dilation: int) -> str:
    """Convolves groups of channels in turn, each with the result of the one before; the last group passes."""
    graph = layers.graph
    groups = graph.ops("Split", config.ecapa_scale, x, axis=1, num_outputs=config.ecapa_scale)
    padding = dilation * (config.ecapa_kernel // 2)
    outputs: list[str] = []
    for i, group in enumerate(groups[:-1]):
        joined = graph.op("Add", group, outputs[-1]) if outputs else group
        heard = graph.op("Relu", layers.conv(joined, f"convs.{i}", padding, dilation))
        outputs.append(layers.batch_norm(heard, f"bns.{i}"))
    return graph.op("Concat", *outputs, groups[-1], axis=1)


def _perceiver(layers: Layers, context: str, config: SpeakerEncoderConfig) -> str:
    """(1, T, features) -> (1, token_num, latent_dim). Source: arXiv 2204.14198, section 3.1."""
    graph = layers.graph
    context = layers.linear(context, "proj_context")
    x = graph.op("Unsqueeze", layers.tensor("latents"), graph.integers(0))
    for i in range(config.perceiver_depth):
        part = layers.under(f"layers.{i}")
        x = graph.op("Add", x, _cross_attention(part.under("0"), x, context, config))
        values, gates = graph.ops("Split", 2, part.linear(x, "1.0"), axis=-1, num_outputs=2)
        x = graph.op("Add", x, part.linear(graph.op("Mul", graph.op("Gelu", gates), values), "1.2"))
    norm = graph.op("ReduceL2", x, graph.integers(-1), keepdims=1)
    unit = graph.op("Div", x, graph.op("Max", norm, graph.constant(SMALLEST_NORM)))
    root = graph.op("Mul", unit, graph.constant(math.sqrt(config.latent_dim)))
    return graph.op("Mul", root, layers.tensor("norm.gamma"))


def _cross_attention(layers: Layers, queries: str, context: str, config: SpeakerEncoderConfig) -> str:
    """Queries attend to themselves and to the context, without positions."""
    graph, heads, size = layers.graph, config.perceiver_heads, config.perceiver_head_dim
    both = layers.linear(graph.op("Concat", queries, context, axis=1), "to_kv")
    keys, values = graph.ops("Split", 2, both, axis=-1, num_outputs=2)

    def split(x: str, *order: int) -> str:
        return graph.op("Transpose", graph.reshape(x, 1, -1, heads, size), perm=[0, *order])

    scaled = graph.op("Mul", layers.linear(queries, "to_q"), graph.constant(size**-0.5))
    scores = graph.op("MatMul", split(scaled, 2, 1, 3), split(keys, 2, 3, 1))
    attended = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), split(values, 2, 1, 3))
    joined = graph.reshape(graph.op("Transpose", attended, perm=[0, 2, 1, 3]), 1, -1, heads * size)
    return layers.linear(joined, "to_out")
