"""The codec as graphs: what hears a voice, what hears speech, and what speaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from ..checkpoint.blocks import BlockFormat
from ..checkpoint.config import BiCodecConfig, DecoderConfig, SourceFilterConfig, Wav2Vec2Variant
from ..checkpoint.layout import Checkpoint
from ..checkpoint.shapes import matches
from .convnext import backbone, feature_decoder, semantic_encoder
from .graph import Array, Graph, Layers, Storage
from .report import PartReport, Progress
from .speaker import speaker_tokens, speaker_vector
from .wav2vec2 import convolutions, transformer
from .wave_generator import needed_context, wave_generator

# Tensors that no graph needs; they are kept so that the export can become a checkpoint again.
KEPT_FILE = "training.safetensors"
KEPT = ("postnet", *(f"speaker_encoder.speaker_encoder.{part}" for part in ("pool", "bn", "linear")))
FEATURE_MODEL = "wav2vec2."  # prefix there of those of the feature model
KEPT_OF_FEATURES = ("masked_spec_embed", "encoder.layer_norm")
SMALLEST_NORM = 1e-12
# Measured (docs/onnx.md): of the codec only the prenet stands 8 bits. In the encoders they change some of the tokens.
PRENET_BLOCKS = BlockFormat(8, 32)

Tensors = Mapping[str, Array]


def export_codec(checkpoint: Checkpoint, folder: Path, storage: Storage, progress: Progress) -> Iterator[PartReport]:
    """Writes the codec's graphs into `folder`; they are compared elsewhere. Raises CheckpointError, OSError."""
    progress("the speaker encoder")
    yield _speaker_encoder(checkpoint, folder, storage)
    progress("the semantic encoder")
    yield _semantic_encoder(checkpoint, folder, storage)
    progress("the decoder")
    yield _decoder(checkpoint, folder, storage)
    yield _write_kept(checkpoint, folder, storage)


def _speaker_encoder(checkpoint: Checkpoint, folder: Path, storage: Storage) -> PartReport:
    config = checkpoint.bicodec.speaker_encoder
    graph = Graph("speaker_encoder", storage)
    mel = graph.input("mel", [1, config.input_dim, "T"])
    tensors = checkpoint.bicodec_tensors("speaker_encoder")
    tokens, levels = speaker_tokens(Layers(graph, tensors, "speaker_encoder."), mel, config)
    graph.output("tokens", tokens, [1, config.token_num], "int64")
    graph.output("levels", levels, [1, config.token_num, len(config.fsq_levels)])  # for comparisons
    return PartReport("speaker_encoder", storage.name, graph.save(folder / "speaker_encoder.onnx"))


def _semantic_encoder(checkpoint: Checkpoint, folder: Path, storage: Storage) -> PartReport:
    """What makes tokens of features and, if the checkpoint has it, what makes features of sound."""
    config = checkpoint.bicodec
    graph = Graph("semantic_encoder", storage)
    features = graph.input("features", [1, "T", config.encoder.input_channels])
    tensors = checkpoint.bicodec_tensors("encoder", "quantizer.in_project", "quantizer.codebook")
    graph.output("tokens", _quantized(graph, tensors, features, config), [1, "T"], "int64")
    files = graph.save(folder / "semantic_encoder.onnx")
    if not _hears(checkpoint):
        return PartReport("semantic_encoder", storage.name, files)
    files += _features(checkpoint, folder, storage)
    listener = checkpoint.wav2vec2
    settings = {"stride": listener.stride, "width": listener.width, "chunkable": listener.layer_norm_everywhere}
    return PartReport("semantic_encoder", storage.name, files, settings=settings)


def _features(checkpoint: Checkpoint, folder: Path, storage: Storage) -> tuple[str, ...]:
    """The feature model: its convolutions, and its transformer up to the last layer that is listened to."""
    listener, wanted = checkpoint.wav2vec2, checkpoint.options.features.layers
    variant = Wav2Vec2Variant.read(checkpoint.wav2vec2_dir / "config.json")
    tensors = checkpoint.wav2vec2_tensors(max(wanted))
    graph = Graph("features_front", storage)
    frames = convolutions(Layers(graph, tensors), graph.input("audio", [1, "N"]), listener)
    graph.output("frames", frames, [1, "T", listener.conv_dim[-1]])
    files = graph.save(folder / "features_front.onnx")
    graph = Graph("features", storage)
    frames = graph.input("frames", [1, "T", listener.conv_dim[-1]])
    heard = transformer(Layers(graph, tensors), frames, listener, variant, wanted)
    graph.output("features", heard, [1, "T", listener.hidden_size])
    return files + graph.save(folder / "features.onnx")


def _quantized(graph: Graph, tensors: Tensors, features: str, config: BiCodecConfig) -> str:
    """Features (1, T, values) to the nearest entries of the codebook, by direction or by distance: (1, T) int64."""
    encoded = semantic_encoder(Layers(graph, tensors, "encoder."), features, config.encoder)
    latent = Layers(graph, tensors, "quantizer.").linear(encoded, "in_project")
    entries = tensors["quantizer.codebook.weight"].astype(np.float32)
    if config.quantizer.use_l2_normalize:
        norm = graph.op("ReduceL2", latent, graph.integers(-1), keepdims=1)
        latent = graph.op("Div", latent, graph.op("Max", norm, graph.constant(SMALLEST_NORM)))
        entries = entries / np.maximum(np.linalg.norm(entries, axis=1, keepdims=True), SMALLEST_NORM)
    # Squared distance, less the part that is the same for every entry.
    products = graph.op("MatMul", latent, graph.constant(-2 * entries.T))
    distance = graph.op("Add", products, graph.constant(np.square(entries).sum(axis=1)))
    return graph.op("ArgMin", distance, axis=-1, keepdims=0)


def _decoder(checkpoint: Checkpoint, folder: Path, storage: Storage) -> PartReport:
    """From tokens to frame vectors, and from them to samples or to what numpy makes samples of."""
    config = checkpoint.bicodec
    names = ("quantizer", "prenet", "speaker_encoder.quantizer", "speaker_encoder.project")
    blocks = replace(storage, blocks=PRENET_BLOCKS if storage.half else None)
    files = _latents(checkpoint.bicodec_tensors(*names), config, blocks).save(folder / "latents.onnx")
    tensors = checkpoint.bicodec_tensors("decoder")
    if isinstance(config.decoder, DecoderConfig):
        storage = Storage()  # widened while it is loaded, it would take a third more memory, and half a second longer
    graph = Graph("decoder", storage)
    latents = graph.input("latents", [1, config.decoder.input_channel, "T"])
    settings: dict[str, Any] = {}
    if isinstance(config.decoder, DecoderConfig):
        cuts = graph.input("cuts", [len(config.decoder.rates), 2], "int64")
        image = graph.op("Unsqueeze", latents, graph.integers(2))
        own = {name.removeprefix("decoder."): values for name, values in tensors.items()}
        graph.output("samples", wave_generator(graph, own, image, cuts, config.decoder), [1, "N"])
        settings["context"] = list(needed_context(config.decoder))
    else:
        layers = Layers(graph, tensors, "decoder.")
        frames = backbone(
            layers.under("backbone"), graph.swap(latents), config.decoder.vocos_num_layers, config.decoder.kernel_size
        )
        values = len(tensors["decoder.head.bias"])
        graph.output("values", layers.linear(frames, "head"), [1, "T", values])
    files += graph.save(folder / "decoder.onnx")
    if isinstance(config.decoder, SourceFilterConfig) and config.decoder.refiner is not None:
        files += _refiner(tensors, config.decoder, storage).save(folder / "refiner.onnx")
    return PartReport("decoder", storage.name, files, settings=settings)


def _latents(tensors: Tensors, config: BiCodecConfig, storage: Storage) -> Graph:
    graph = Graph("latents", storage)
    layers = Layers(graph, tensors)
    semantic = graph.input("semantic", [1, "T"], "int64")
    speaker = graph.input("speaker", [1, config.speaker_encoder.token_num], "int64")
    condition = speaker_vector(layers.under("speaker_encoder"), speaker, config.speaker_encoder)
    # As it is, so that an export that becomes a checkpoint again keeps the codec's fingerprint, and its voices.
    codebook = graph.store("quantizer.codebook.weight", layers.array("quantizer.codebook.weight").astype(np.float32))
    codes = graph.op("Gather", codebook, semantic, axis=0)
    frames = layers.linear(codes, "quantizer.out_project")
    frames = feature_decoder(layers.under("prenet"), frames, config.prenet, condition)
    moved = graph.op("Add", frames, graph.op("Unsqueeze", condition, graph.integers(1)))
    graph.output("latents", graph.swap(moved), [1, config.prenet.out_channels, "T"])
    return graph


def _refiner(tensors: Tensors, config: SourceFilterConfig, storage: Storage) -> Graph:
    refiner = config.refiner
    assert refiner is not None
    graph = Graph("refiner", storage)
    layers = Layers(graph, tensors, "decoder.refiner.")
    bins, rate = refiner.n_fft // 2 + 1, config.hop // refiner.hop
    level = graph.input("level", [1, "F", bins])
    latents = graph.input("latents", [1, config.input_channel, "T"])
    # Each frame vector stands for `rate` frames of the spectrum.
    repeated = graph.op("Unsqueeze", graph.swap(latents), graph.integers(2))
    repeated = graph.op("Expand", repeated, graph.integers(1, 1, rate, 1))
    repeated = graph.reshape(repeated, 1, -1, config.input_channel)
    heard = graph.op("Concat", level, repeated, axis=2)
    frames = backbone(layers.under("backbone"), heard, refiner.vocos_num_layers, refiner.kernel_size)
    graph.output("values", layers.linear(frames, "head"), [1, "F", 2 * bins])
    return graph


def _write_kept(checkpoint: Checkpoint, folder: Path, storage: Storage) -> PartReport:
    """What only training needs, and the factors of the activations, which the decoder's graph has multiplied in."""
    kept = checkpoint.bicodec_tensors(*KEPT)
    kept |= {n: v for n, v in checkpoint.bicodec_tensors("decoder").items() if n.endswith(".alpha")}
    if _hears(checkpoint):
        heard = checkpoint.wav2vec2_tensors(1)
        kept |= {FEATURE_MODEL + name: values for name, values in heard.items() if matches(name, KEPT_OF_FEATURES)}
    stored = {label: array for name, values in kept.items() for label, array in storage.arrays(name, values).items()}
    save_file({label: np.ascontiguousarray(array) for label, array in stored.items()}, folder / KEPT_FILE)
    return PartReport("training", storage.name, (KEPT_FILE,))


def _hears(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint has its feature model."""
    return (checkpoint.path / checkpoint.options.features.directory).is_dir()
