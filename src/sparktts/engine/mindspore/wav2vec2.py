"""Semantic features of a model in wav2vec 2.0 architecture, in two parts.

The convolutions come first and can be run piece by piece; the transformer sees the whole clip.
Source: arXiv 2006.11477; which hidden states are averaged: arXiv 2503.01710, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, ops

from ...checkpoint.config import Wav2Vec2Config, Wav2Vec2Variant
from .layers import Weights, attention, conv, gelu, layer_norm, linear

CONV_NORM_EPS = 1e-5

_mean = ops.ReduceMean(keep_dims=True)
_rsqrt, _square = ops.Rsqrt(), ops.Square()


def convolutions(w: Weights, audio: Tensor, config: Wav2Vec2Config) -> Tensor:
    """(N, 1) samples at zero mean and unit variance to (T, channels)."""
    x = audio
    for number, stride in enumerate(config.conv_stride):
        part = w.under(f"feature_extractor.conv_layers.{number}")
        x = conv(part, x, "conv", stride=stride)
        if config.layer_norm_everywhere:
            x = layer_norm(part, x, "layer_norm", CONV_NORM_EPS)
        elif number == 0:
            x = _instance_norm(part, x)
        x = gelu(x)
    return x


def transformer(
    w: Weights, x: Tensor, config: Wav2Vec2Config, variant: Wav2Vec2Variant, wanted: Sequence[int]
) -> Tensor:
    """(T, channels) to (T, hidden): the mean of the outputs of the wanted layers, counted from 1."""
    eps = variant.norm_eps
    x = linear(w, layer_norm(w, x, "feature_projection.layer_norm", eps), "feature_projection.projection")
    x = x + _positions(w, x, config)
    if not variant.norm_first:
        x = layer_norm(w, x, "encoder.layer_norm", eps)
    outputs = []
    for number in range(max(wanted)):
        x = _layer(w.under(f"encoder.layers.{number}"), x, config, variant)
        if number + 1 in wanted:
            outputs.append(x)
    return sum(outputs[1:], outputs[0]) * (1 / len(wanted))


def _instance_norm(w: Weights, x: Tensor) -> Tensor:
    """A group norm of one channel a group, over the whole clip. x: (T, C)."""
    centred = x - _mean(x, 0)
    unit = centred * _rsqrt(_mean(_square(centred), 0) + CONV_NORM_EPS)
    return unit * w("layer_norm.weight") + w("layer_norm.bias")


def _positions(w: Weights, x: Tensor, config: Wav2Vec2Config) -> Tensor:
    """Where a frame stands, from a wide convolution over its neighbours."""
    width, groups = config.num_conv_pos_embeddings, config.num_conv_pos_embedding_groups
    near = conv(w, x, "encoder.pos_conv_embed.conv", padding=width // 2, groups=groups)
    return gelu(near)[: x.shape[0]]  # of an even width it gives one frame too many


def _layer(w: Weights, x: Tensor, config: Wav2Vec2Config, variant: Wav2Vec2Variant) -> Tensor:
    eps = variant.norm_eps
    if variant.norm_first:
        x = x + _attention(w, layer_norm(w, x, "layer_norm", eps), config)
        return x + _feed_forward(w, layer_norm(w, x, "final_layer_norm", eps))
    x = layer_norm(w, x + _attention(w, x, config), "layer_norm", eps)
    return layer_norm(w, x + _feed_forward(w, x), "final_layer_norm", eps)


def _attention(w: Weights, x: Tensor, config: Wav2Vec2Config) -> Tensor:
    q, k, v = (linear(w, x, f"attention.{name}") for name in ("q_proj", "k_proj", "v_proj"))
    return linear(w, attention(q, k, v, config.num_attention_heads), "attention.out_proj")


def _feed_forward(w: Weights, x: Tensor) -> Tensor:
    return linear(w, gelu(linear(w, x, "feed_forward.intermediate_dense")), "feed_forward.output_dense")
