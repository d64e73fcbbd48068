"""Names and shapes of every tensor, derived from the configurations: official names, weight norm folded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .config import (
    BackboneConfig,
    BiCodecConfig,
    Decoder,
    DecoderConfig,
    LanguageModelConfig,
    QuantizerConfig,
    SourceFilterConfig,
    SpeakerEncoderConfig,
    VocosConfig,
    Wav2Vec2Config,
)

Shape = tuple[int, ...]
Shapes = dict[str, Shape]
_Entries = Iterator[tuple[str, Shape]]

# Stored in published files, used by training only or rebuilt from the configuration.
BICODEC_IGNORED = ("mel_transformer.", "quantizer.cluster_size")
WAV2VEC2_IGNORED = ("quantizer.", "project_hid.", "project_q.", "lm_head.")
WAV2VEC2_OPTIONAL = ("masked_spec_embed",)  # training only; some exports drop it


def bicodec_shapes(config: BiCodecConfig) -> Shapes:
    """All tensors that the codec uses."""
    return dict(
        [
            *_prefixed("encoder.", _encoder(config.encoder)),
            *_prefixed("decoder.", _decoder(config.decoder)),
            *_prefixed("quantizer.", _quantizer(config.quantizer)),
            *_prefixed("speaker_encoder.", _speaker_encoder(config.speaker_encoder)),
            *_prefixed("prenet.", _backbone_decoder(config.prenet)),
            *_prefixed("postnet.", _backbone_decoder(config.postnet)),
        ]
    )


def qwen2_shapes(config: LanguageModelConfig) -> Shapes:
    """All tensors of the language model; `lm_head.weight` only when embeddings are not tied."""
    c = config
    shapes: Shapes = {"model.embed_tokens.weight": (c.vocab_size, c.hidden_size)}
    for layer in range(c.num_hidden_layers):
        shapes.update(_prefixed(f"model.layers.{layer}.", _qwen2_layer(c)))
    shapes["model.norm.weight"] = (c.hidden_size,)
    if not c.tie_word_embeddings:
        shapes["lm_head.weight"] = (c.vocab_size, c.hidden_size)
    return shapes


def wav2vec2_shapes(config: Wav2Vec2Config) -> Shapes:
    """All tensors of the feature extractor: names without `wav2vec2.`, pretraining heads left out."""
    c = config
    shapes: Shapes = {"masked_spec_embed": (c.hidden_size,)}
    shapes.update(_prefixed("feature_extractor.conv_layers.", _wave_features(c)))
    shapes.update(_norm("feature_projection.layer_norm", c.conv_dim[-1]))
    shapes.update(_linear("feature_projection.projection", c.hidden_size, c.conv_dim[-1]))
    per_group = c.hidden_size // c.num_conv_pos_embedding_groups
    shapes.update(_conv("encoder.pos_conv_embed.conv", c.hidden_size, per_group, c.num_conv_pos_embeddings))
    shapes.update(_norm("encoder.layer_norm", c.hidden_size))
    for layer in range(c.num_hidden_layers):
        shapes.update(_prefixed(f"encoder.layers.{layer}.", _wav2vec2_layer(c)))
    return shapes


def matches(name: str, prefixes: Iterable[str]) -> bool:
    """Whether a name lies under one of the prefixes: "a.b" covers "a.b" and "a.b.c", not "a.bc"."""
    return any(name == p.rstrip(".") or name.startswith(p.rstrip(".") + ".") for p in prefixes)


def differences(expected: Mapping[str, Shape], found: Mapping[str, Shape], where: str) -> list[str]:
    """One sentence for each tensor that is missing, misshapen or unexpected. where: the file."""
    problems = [
        f"{where} lacks the tensor `{name}` {list(shape)}: it is damaged or of another model, download it."
        for name, shape in expected.items()
        if name not in found
    ]
    problems += [
        f"{where}: the tensor `{name}` has shape {list(found[name])}, but its configuration asks for {list(shape)}."
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    problems += [
        f"{where} holds the tensor `{name}`, which this model does not have: it may be another model's file."
        for name in found
        if name not in expected
    ]
    return problems


def _prefixed(prefix: str, entries: Iterable[tuple[str, Shape]]) -> _Entries:
    return ((prefix + name, shape) for name, shape in entries)


def _linear(name: str, out: int, inputs: int, bias: bool = True) -> _Entries:
    yield f"{name}.weight", (out, inputs)
    if bias:
        yield f"{name}.bias", (out,)


def _conv(name: str, out: int, inputs: int, kernel: int) -> _Entries:
    yield f"{name}.weight", (out, inputs, kernel)
    yield f"{name}.bias", (out,)


def _norm(name: str, dim: int) -> _Entries:
    yield f"{name}.weight", (dim,)
    yield f"{name}.bias", (dim,)


def _batch_norm(name: str, dim: int) -> _Entries:
    yield from _norm(name, dim)
    yield f"{name}.running_mean", (dim,)
    yield f"{name}.running_var", (dim,)


def _conditional_norm(name: str, dim: int, condition: int) -> _Entries:
    if not condition:
        yield from _norm(name, dim)
        return
    yield from _linear(f"{name}.scale", dim, condition)
    yield from _linear(f"{name}.shift", dim, condition)


def _backbone(c: BackboneConfig, inputs: int, layers: int, condition: int = 0) -> _Entries:
    """Embedding convolution, norm, ConvNeXt layers, final norm."""
    dim = c.vocos_dim
    yield from _conv("embed", dim, inputs, c.kernel_size)
    yield from _conditional_norm("norm", dim, condition)
    for i in range(layers):
        yield f"convnext.{i}.gamma", (dim,)
        yield from _conv(f"convnext.{i}.dwconv", dim, 1, c.kernel_size)
        yield from _conditional_norm(f"convnext.{i}.norm", dim, condition)
        yield from _linear(f"convnext.{i}.pwconv1", c.vocos_intermediate_dim, dim)
        yield from _linear(f"convnext.{i}.pwconv2", dim, c.vocos_intermediate_dim)
    yield from _norm("final_layer_norm", dim)


def _sampling_blocks(c: BackboneConfig) -> _Entries:
    """A resampler (`.0`, no weights at ratio 1) and a small backbone (`.1`) for each ratio."""
    for i in range(len(c.sample_ratios)):
        yield from _prefixed(f"downsample.{i}.1.", _backbone(c, c.vocos_dim, c.sampling_block_layers))


def _encoder(c: BackboneConfig) -> _Entries:
    yield from _prefixed("encoder.", _backbone(c, c.input_channels, c.vocos_num_layers))
    yield from _sampling_blocks(c)
    yield from _linear("project", c.out_channels, c.vocos_dim)


def _backbone_decoder(c: BackboneConfig) -> _Entries:
    yield from _linear("linear_pre", c.vocos_dim, c.input_channels)
    yield from _sampling_blocks(c)
    backbone = _backbone(c, c.vocos_dim, c.vocos_num_layers, c.condition_dim)
    yield from _prefixed("vocos_backbone.", backbone)
    yield from _linear("linear", c.out_channels, c.vocos_dim)


def _quantizer(c: QuantizerConfig) -> _Entries:
    yield from _conv("in_project", c.codebook_dim, c.input_dim, 1)
    yield from _conv("out_project", c.input_dim, c.codebook_dim, 1)
    yield "codebook.weight", (c.codebook_size, c.codebook_dim)


def _decoder(c: Decoder) -> _Entries:
    """The decoder of each type; those at the token rate are a backbone and one linear layer."""
    if isinstance(c, DecoderConfig):
        yield from _wave_decoder(c)
        return
    yield from _prefixed("backbone.", _backbone(c.backbone, c.input_channel, c.vocos_num_layers))
    yield from _linear("head", _head_outputs(c), c.vocos_dim)
    if isinstance(c, SourceFilterConfig) and c.refiner is not None:
        bins = c.refiner.n_fft // 2 + 1
        network = _backbone(c.refiner.backbone, bins + c.input_channel, c.refiner.vocos_num_layers)
        yield from _prefixed("refiner.backbone.", network)
        yield from _linear("refiner.head", 2 * bins, c.refiner.vocos_dim)


def _head_outputs(c: VocosConfig | SourceFilterConfig) -> int:
    """Magnitude and phase of each bin; or pitch, voicing and two envelopes."""
    return c.n_fft + 2 if isinstance(c, VocosConfig) else 2 + 2 * c.bands


def _wave_decoder(c: DecoderConfig) -> _Entries:
    """`model` counts: first convolution, one block per rate, Snake, last convolution to one channel."""
    yield from _conv("model.0", c.channels, c.input_channel, c.kernel_size)
    dim = c.channels
    for i, kernel in enumerate(c.kernel_sizes, start=1):
        yield from _prefixed(f"model.{i}.block.", _wave_block(c, dim, kernel))
        dim //= 2
    last = len(c.rates) + 1
    yield f"model.{last}.alpha", (1, dim, 1)
    yield from _conv(f"model.{last + 1}", 1, dim, c.kernel_size)


def _wave_block(c: DecoderConfig, dim: int, kernel: int) -> _Entries:
    """Snake, transposed convolution (weights are inputs x outputs), residual units."""
    half = dim // 2
    yield "0.alpha", (1, dim, 1)
    yield "1.weight", (dim, half, kernel)
    yield "1.bias", (half,)
    for unit in range(2, 2 + len(c.dilations)):
        yield f"{unit}.block.0.alpha", (1, half, 1)
        yield from _conv(f"{unit}.block.1", half, half, c.kernel_size)
        yield f"{unit}.block.2.alpha", (1, half, 1)
        yield from _conv(f"{unit}.block.3", half, half, 1)


def _speaker_encoder(c: SpeakerEncoderConfig) -> _Entries:
    yield from _prefixed("speaker_encoder.", _ecapa(c))
    yield from _prefixed("perceiver_sampler.", _perceiver(c))
    yield from _linear("quantizer.project_in", len(c.fsq_levels), c.latent_dim)
    yield from _linear("quantizer.project_out", c.latent_dim, len(c.fsq_levels))
    yield from _linear("project", c.out_dim, c.latent_dim * c.token_num)


def _ecapa(c: SpeakerEncoderConfig) -> _Entries:
    """`layer1` convolution, one SE-Res2 block per dilation from `layer2`, aggregation, statistics pooling."""
    yield from _conv("layer1.conv", c.ecapa_channels, c.input_dim, c.ecapa_first_kernel)
    yield from _batch_norm("layer1.bn", c.ecapa_channels)
    blocks = len(c.ecapa_dilations)
    for i in range(blocks):
        yield from _prefixed(f"layer{i + 2}.se_res2block.", _se_res2_block(c))
    yield from _conv("conv", c.ecapa_features, c.ecapa_channels * blocks, 1)
    yield from _conv("pool.linear1", c.ecapa_pool_bottleneck, 3 * c.ecapa_features, 1)
    yield from _conv("pool.linear2", c.ecapa_features, c.ecapa_pool_bottleneck, 1)
    yield from _batch_norm("bn", 2 * c.ecapa_features)
    yield from _linear("linear", c.out_dim, 2 * c.ecapa_features)


def _se_res2_block(c: SpeakerEncoderConfig) -> _Entries:
    dim, width = c.ecapa_channels, c.ecapa_channels // c.ecapa_scale
    yield from _conv("0.conv", dim, dim, 1)
    yield from _batch_norm("0.bn", dim)
    for i in range(c.ecapa_scale - 1):  # the last group passes through
        yield from _conv(f"1.convs.{i}", width, width, c.ecapa_kernel)
        yield from _batch_norm(f"1.bns.{i}", width)
    yield from _conv("2.conv", dim, dim, 1)
    yield from _batch_norm("2.bn", dim)
    yield from _linear("3.linear1", c.ecapa_se_bottleneck, dim)
    yield from _linear("3.linear2", dim, c.ecapa_se_bottleneck)


def _perceiver(c: SpeakerEncoderConfig) -> _Entries:
    dim, inner = c.latent_dim, c.perceiver_heads * c.perceiver_head_dim
    yield "latents", (c.token_num, dim)
    yield from _linear("proj_context", dim, c.ecapa_features)
    for i in range(c.perceiver_depth):
        yield f"layers.{i}.0.to_q.weight", (inner, dim)
        yield f"layers.{i}.0.to_kv.weight", (2 * inner, dim)
        yield f"layers.{i}.0.to_out.weight", (dim, inner)
        yield from _linear(f"layers.{i}.1.0", 2 * c.ff_inner, dim)
        yield from _linear(f"layers.{i}.1.2", dim, c.ff_inner)
    yield "norm.gamma", (dim,)


def _qwen2_layer(c: LanguageModelConfig) -> _Entries:
    queries, keys = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    yield from _linear("self_attn.q_proj", queries, c.hidden_size)
    yield from _linear("self_attn.k_proj", keys, c.hidden_size)
    yield from _linear("self_attn.v_proj", keys, c.hidden_size)
    yield "self_attn.o_proj.weight", (c.hidden_size, queries)
    yield "mlp.gate_proj.weight", (c.intermediate_size, c.hidden_size)
    yield "mlp.up_proj.weight", (c.intermediate_size, c.hidden_size)
    yield "mlp.down_proj.weight", (c.hidden_size, c.intermediate_size)
    yield "input_layernorm.weight", (c.hidden_size,)
    yield "post_attention_layernorm.weight", (c.hidden_size,)


def _wave_features(c: Wav2Vec2Config) -> _Entries:
    inputs = 1
    for i, (dim, kernel) in enumerate(zip(c.conv_dim, c.conv_kernel, strict=True)):
        yield f"{i}.conv.weight", (dim, inputs, kernel)
        if c.conv_bias:
            yield f"{i}.conv.bias", (dim,)
        if c.layer_norm_everywhere or i == 0:
            yield from _norm(f"{i}.layer_norm", dim)
        inputs = dim


def _wav2vec2_layer(c: Wav2Vec2Config) -> _Entries:
    for projection in ("k_proj", "v_proj", "q_proj", "out_proj"):
        yield from _linear(f"attention.{projection}", c.hidden_size, c.hidden_size)
    yield from _norm("layer_norm", c.hidden_size)
    yield from _linear("feed_forward.intermediate_dense", c.intermediate_size, c.hidden_size)
    yield from _linear("feed_forward.output_dense", c.hidden_size, c.intermediate_size)
    yield from _norm("final_layer_norm", c.hidden_size)
