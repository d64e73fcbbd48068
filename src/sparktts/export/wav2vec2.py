"""Semantic features of a model in wav2vec2 architecture as ONNX operators, in two parts.

The convolutions come first and can be run piece by piece; the transformer sees the whole clip.
Source: arXiv 2006.11477; which hidden states are averaged: arXiv 2503.01710, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..checkpoint.config import Wav2Vec2Config, Wav2Vec2Variant
from .graph import MICROSOFT, Layers

CONV_NORM_EPS = 1e-5


def convolutions(layers: Layers, audio: str, config: Wav2Vec2Config) -> str:
    """audio: (1, N) at zero mean and unit variance. Returns (1, T, channels)."""
    graph = layers.graph
    x = graph.op("Unsqueeze", audio, graph.integers(1))
    for i, stride in enumerate(config.conv_stride):
        part = layers.under(f"feature_extractor.conv_layers.{i}")
        x = part.conv(x, "conv", stride=stride)
        if config.layer_norm_everywhere:
            x = graph.swap(part.layer_norm(graph.swap(x), "layer_norm", CONV_NORM_EPS))
        elif i == 0:  # a group norm of one channel a group
            gain, bias = part.tensor("layer_norm.weight"), part.tensor("layer_norm.bias")
            x = graph.op("InstanceNormalization", x, gain, bias, epsilon=CONV_NORM_EPS)
        x = graph.op("Gelu", x)
    return graph.swap(x)


def transformer(
    layers: Layers, frames: str, config: Wav2Vec2Config, variant: Wav2Vec2Variant, wanted: Sequence[int]
) -> str:
    """frames: (1, T, channels). Returns (1, T, hidden): the mean of the outputs of the wanted layers, from 1."""
    graph = layers.graph
    x = layers.layer_norm(frames, "feature_projection.layer_norm", variant.norm_eps)
    x = layers.linear(x, "feature_projection.projection")
    x = graph.op("Add", x, _positions(layers, x, config))
    if not variant.norm_first:
        x = layers.layer_norm(x, "encoder.layer_norm", variant.norm_eps)
    outputs = []
    for i in range(max(wanted)):
        x = _layer(layers.under(f"encoder.layers.{i}"), x, config, variant)
        if i + 1 in wanted:
            outputs.append(x)
    total = outputs[0] if len(outputs) == 1 else graph.op("Sum", *outputs)
    return graph.op("Mul", total, graph.constant(1.0 / len(outputs)))


def _positions(layers: Layers, x: str, config: Wav2Vec2Config) -> str:
    """Where a frame stands, from a wide convolution over its neighbours."""
    graph, width = layers.graph, config.num_conv_pos_embeddings
    groups = config.num_conv_pos_embedding_groups
    near = layers.conv(graph.swap(x), "encoder.pos_conv_embed.conv", padding=width // 2, groups=groups)
    if width % 2 == 0:  # it gives one frame too many
        near = graph.op("Slice", near, graph.integers(0), graph.integers(-1), graph.integers(2))
    return graph.swap(graph.op("Gelu", near))


def _layer(layers: Layers, x: str, config: Wav2Vec2Config, variant: Wav2Vec2Variant) -> str:
    graph, eps = layers.graph, variant.norm_eps
    if variant.norm_first:
        x = graph.op("Add", x, _attention(layers, layers.layer_norm(x, "layer_norm", eps), config))
        return graph.op("Add", x, _feed_forward(layers, layers.layer_norm(x, "final_layer_norm", eps)))
    x = layers.layer_norm(graph.op("Add", x, _attention(layers, x, config)), "layer_norm", eps)
    return layers.layer_norm(graph.op("Add", x, _feed_forward(layers, x)), "final_layer_norm", eps)


def _attention(layers: Layers, x: str, config: Wav2Vec2Config) -> str:
    parts = (layers.linear(x, f"attention.{name}") for name in ("q_proj", "k_proj", "v_proj"))
    # One operator, which never holds all the scores of a long clip.
    attended = layers.graph.op("MultiHeadAttention", *parts, domain=MICROSOFT, num_heads=config.num_attention_heads)
    return layers.linear(attended, "attention.out_proj")


def _feed_forward(layers: Layers, x: str) -> str:
    hidden = layers.graph.op("Gelu", layers.linear(x, "feed_forward.intermediate_dense"))
    return layers.linear(hidden, "feed_forward.output_dense")
