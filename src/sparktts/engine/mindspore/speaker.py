"""The speaker encoder: a mel spectrogram to global tokens, and global tokens to one vector."""

from __future__ import annotations

import math

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

from ...checkpoint.config import SpeakerEncoderConfig
from ..base import Tokens
from .layers import Weights, attention, batch_norm, constant, conv, gelu, linear, relu

BOUND_EPS = 1e-3
SMALLEST_NORM = 1e-12

_concat, _join_channels = ops.Concat(0), ops.Concat(1)
_mean = ops.ReduceMean(keep_dims=True)
_sum = ops.ReduceSum(keep_dims=True)
_sigmoid, _tanh, _sqrt, _square, _maximum = ops.Sigmoid(), ops.Tanh(), ops.Sqrt(), ops.Square(), ops.Maximum()


def speaker_tokens(w: Weights, mel: Tensor, config: SpeakerEncoderConfig) -> Tokens:
    """(token_num,) global tokens. mel: (T, mel_bins). Source: arXiv 2503.01710, section 3."""
    features = _ecapa(w.under("speaker_encoder"), mel, config)
    vectors = _perceiver(w.under("perceiver_sampler"), features, config)
    return _quantize(linear(w, vectors, "quantizer.project_in"), config)


def speaker_vector(w: Weights, tokens: Tokens, config: SpeakerEncoderConfig) -> Tensor:
    """The voice as one vector, (1, out_dim). tokens: (token_num,)."""
    levels = np.array(config.fsq_levels)
    half = levels // 2
    digits = tokens[:, None] // _strides(config) % levels
    vectors = linear(w, constant((digits - half) / half), "quantizer.project_out")
    # Flattened dimension by dimension, each over all tokens: the order in which `project` was trained.
    return linear(w, ops.Transpose()(vectors, (1, 0)).reshape(1, -1), "project")


def _quantize(z: Tensor, config: SpeakerEncoderConfig) -> Tokens:
    """(N, dims) -> (N,); squashed so that rounding gives each dimension exactly its number of levels.

    Source: arXiv 2309.15505, section 3.
    """
    levels = np.array(config.fsq_levels)
    half = ((levels - 1) * (1 + BOUND_EPS) / 2).astype(np.float32)
    offset = np.where(levels % 2 == 0, 0.5, 0.0).astype(np.float32)  # an even count has no middle level
    bounded = _tanh(z + constant(np.arctanh(offset / half))) * constant(half) - constant(offset)
    codes = np.rint(bounded.asnumpy()).astype(np.int64) + levels // 2
    tokens: Tokens = (codes * _strides(config)).sum(axis=-1)
    return tokens


def _strides(config: SpeakerEncoderConfig) -> Tokens:
    return np.array([math.prod(config.fsq_levels[:i]) for i in range(len(config.fsq_levels))])


def _ecapa(w: Weights, mel: Tensor, config: SpeakerEncoderConfig) -> Tensor:
    """ECAPA-TDNN up to its frame features: (T, mel_bins) -> (T, features). Source: arXiv 2005.07143."""
    x = _conv_relu_norm(w.under("layer1"), mel, config.ecapa_first_kernel)
    outputs = []
    for number, dilation in enumerate(config.ecapa_dilations, start=2):
        x = _res2_block(w.under(f"layer{number}.se_res2block"), x, config, dilation)
        outputs.append(x)
    return relu(conv(w, _join_channels(tuple(outputs)), "conv"))


def _conv_relu_norm(w: Weights, x: Tensor, kernel: int = 1) -> Tensor:
    return batch_norm(w, relu(conv(w, x, "conv", kernel // 2)), "bn")


def _res2_block(w: Weights, x: Tensor, config: SpeakerEncoderConfig, dilation: int) -> Tensor:
    """A Res2 convolution between two pointwise ones, gated, added to the input."""
    y = _conv_relu_norm(w.under("0"), x)
    y = _res2_conv(w.under("1"), y, config, dilation)
    y = _conv_relu_norm(w.under("2"), y)
    hidden = relu(linear(w, _mean(y, 0), "3.linear1"))
    gate = _sigmoid(linear(w, hidden, "3.linear2"))
    return x + y * gate


def _res2_conv(w: Weights, x: Tensor, config: SpeakerEncoderConfig, dilation: int) -> Tensor:
    """Convolves groups of channels in turn, each with the result of the one before; the last group passes."""
    *groups, last = ops.Split(1, config.ecapa_scale)(x)
    padding = dilation * (config.ecapa_kernel // 2)
    outputs: list[Tensor] = []
    for number, group in enumerate(groups):
        joined = group + outputs[-1] if outputs else group
        outputs.append(batch_norm(w, relu(conv(w, joined, f"convs.{number}", padding, dilation)), f"bns.{number}"))
    return _join_channels((*outputs, last))


def _perceiver(w: Weights, context: Tensor, config: SpeakerEncoderConfig) -> Tensor:
    """(T, features) -> (token_num, latent_dim). Source: arXiv 2204.14198, section 3.1."""
    context = linear(w, context, "proj_context")
    x = w("latents")
    for number in range(config.perceiver_depth):
        part = w.under(f"layers.{number}")
        keys, values = ops.Split(1, 2)(linear(part, _concat((x, context)), "0.to_kv"))
        attended = attention(linear(part, x, "0.to_q"), keys, values, config.perceiver_heads)
        x = x + linear(part, attended, "0.to_out")
        values, gates = ops.Split(1, 2)(linear(part, x, "1.0"))
        x = x + linear(part, gelu(gates) * values, "1.2")
    norm = _maximum(_sqrt(_sum(_square(x), 1)), Tensor(SMALLEST_NORM, ms.float32))
    return x / norm * math.sqrt(config.latent_dim) * w("norm.gamma")
