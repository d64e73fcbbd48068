"""ConvNeXt networks over frames, as BiCodec uses them before and after its quantiser. Frames are (T, C)."""

from __future__ import annotations

from mindspore import Tensor, ops

from ...checkpoint.config import BackboneConfig
from .layers import Weights, conv, gelu, layer_norm, linear, normalized

NORM_EPS = 1e-6
SAME_RATE_GAIN = 3.0  # the published resampling block at ratio 1: main path and both skips are the input

_tanh = ops.Tanh()


def backbone(w: Weights, x: Tensor, layers: int, kernel: int, condition: Tensor | None = None) -> Tensor:
    """(T, in) -> (T, dim); condition: (1, D). Source: Vocos (arXiv 2306.00814), section 3."""
    x = _norm(w, conv(w, x, "embed", kernel // 2), "norm", condition)
    for number in range(layers):
        x = _block(w.under(f"convnext.{number}"), x, kernel, condition)
    return layer_norm(w, x, "final_layer_norm", NORM_EPS)


def semantic_encoder(w: Weights, x: Tensor, config: BackboneConfig) -> Tensor:
    """Features (T, in) to what is quantised (T, out). Source: arXiv 2503.01710, section 3."""
    whole = backbone(w.under("encoder"), x, config.vocos_num_layers, config.kernel_size)
    return linear(w, _stages(w, whole, config), "project")


def feature_decoder(w: Weights, x: Tensor, config: BackboneConfig, condition: Tensor | None = None) -> Tensor:
    """Quantised vectors (T, in) back to features (T, out); the prenet has a condition (1, D), the postnet none."""
    x = _stages(w, linear(w, x, "linear_pre"), config)
    x = backbone(w.under("vocos_backbone"), x, config.vocos_num_layers, config.kernel_size, condition)
    x = linear(w, x, "linear")
    return _tanh(x) if config.use_tanh_at_final else x


def _stages(w: Weights, x: Tensor, config: BackboneConfig) -> Tensor:
    """One resampling block and a short backbone per ratio; the config allows ratios of 1 only."""
    for number in range(len(config.sample_ratios)):
        part = w.under(f"downsample.{number}.1")
        x = backbone(part, x * SAME_RATE_GAIN, config.sampling_block_layers, config.kernel_size)
    return x


def _norm(w: Weights, x: Tensor, name: str, condition: Tensor | None) -> Tensor:
    """A layer norm; with a condition its gain and bias are linear functions of that."""
    if condition is None:
        return layer_norm(w, x, name, NORM_EPS)
    gain, bias = (linear(w, condition, f"{name}.{part}").reshape(-1) for part in ("scale", "shift"))
    return normalized(x, gain, bias, NORM_EPS)


def _block(w: Weights, x: Tensor, kernel: int, condition: Tensor | None) -> Tensor:
    """Depthwise convolution over time, then a pointwise network, added to the input."""
    mixed = conv(w, x, "dwconv", kernel // 2, groups=x.shape[1])
    hidden = gelu(linear(w, _norm(w, mixed, "norm", condition), "pwconv1"))
    return x + linear(w, hidden, "pwconv2") * w("gamma")
