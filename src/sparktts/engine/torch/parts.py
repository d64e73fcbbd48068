"""BiCodec's networks, each read from the checkpoint on first need and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import nn

from ...checkpoint.config import Decoder, SourceFilterConfig, VocosConfig
from ...checkpoint.layout import Checkpoint
from .feature_networks import FeatureDecoder, SemanticEncoder
from .source_filter import SourceFilterDecoder
from .speaker_encoder import SpeakerDecoder, SpeakerEncoder
from .vector_quantizer import SemanticQuantizer
from .vocos_decoder import VocosDecoder
from .wav2vec2 import Wav2Vec2Features
from .wave_generator import WaveGenerator
from .weights import build

Module = TypeVar("Module", bound=nn.Module)


def make_decoder(config: Decoder) -> WaveGenerator | VocosDecoder | SourceFilterDecoder:
    """The network that turns features into samples, untrained."""
    if isinstance(config, VocosConfig):
        return VocosDecoder(config)
    if isinstance(config, SourceFilterConfig):
        return SourceFilterDecoder(config)
    return WaveGenerator(config)


class BiCodecParts:
    """The networks of one codec on one device, float32, for evaluation. Accessors raise CheckpointError."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self.checkpoint = checkpoint
        self.config = checkpoint.bicodec
        self.device = device
        self._parts: dict[str, nn.Module] = {}
        self._lock = threading.RLock()

    @property
    def loaded(self) -> frozenset[str]:
        """Names of the parts in memory."""
        return frozenset(self._parts)

    @property
    def wav2vec2(self) -> Wav2Vec2Features:
        return self._keep("wav2vec2", self._load_wav2vec2)

    @property
    def encoder(self) -> SemanticEncoder:
        return self._read("encoder", lambda: SemanticEncoder(self.config.encoder))

    @property
    def quantizer(self) -> SemanticQuantizer:
        return self._read("quantizer", lambda: SemanticQuantizer(self.config.quantizer))

    @property
    def speaker_encoder(self) -> SpeakerEncoder:
        return self._read("speaker_encoder", lambda: SpeakerEncoder(self.config.speaker_encoder))

    @property
    def speaker_decoder(self) -> SpeakerDecoder:
        """The small part of the speaker encoder that turns its tokens into a vector."""
        if whole := self._parts.get("speaker_encoder"):
            return cast(SpeakerDecoder, whole)
        return self._keep("speaker_decoder", self._load_speaker_decoder)

    @property
    def prenet(self) -> FeatureDecoder:
        return self._read("prenet", lambda: FeatureDecoder(self.config.prenet))

    @property
    def postnet(self) -> FeatureDecoder:
        """Back to the features of the speech model: for training only, decoding does not need it."""
        return self._read("postnet", lambda: FeatureDecoder(self.config.postnet))

    @property
    def decoder(self) -> WaveGenerator | VocosDecoder | SourceFilterDecoder:
        """What makes samples of features, of the type that the configuration names."""
        return self._keep("decoder", self._load_decoder)

    @property
    def wave_generator(self) -> WaveGenerator:
        """The published decoder; only where the configuration names it."""
        return cast(WaveGenerator, self.decoder)

    def _load_wav2vec2(self) -> Wav2Vec2Features:
        checkpoint, layers = self.checkpoint, self.checkpoint.options.features.layers
        tensors = checkpoint.wav2vec2_tensors(max(layers))
        return Wav2Vec2Features.load(checkpoint.wav2vec2_dir, tensors, self.device, layers)

    def _load_speaker_decoder(self) -> SpeakerDecoder:
        names = ("speaker_encoder.quantizer", "speaker_encoder.project")
        tensors = self.checkpoint.bicodec_tensors(*names)
        return build(lambda: SpeakerDecoder(self.config.speaker_encoder), tensors, "speaker_encoder", self.device)

    def _load_decoder(self) -> WaveGenerator | VocosDecoder | SourceFilterDecoder:
        decoder = self._build("decoder", lambda: make_decoder(self.config.decoder))
        if isinstance(decoder, WaveGenerator) and self.device.type == "cpu":
            decoder.arrange_for_cpu()
        return decoder

    def _read(self, name: str, make: Callable[[], Module]) -> Module:
        return self._keep(name, lambda: self._build(name, make))

    def _build(self, name: str, make: Callable[[], Module]) -> Module:
        # Nothing else may hold the arrays: what is rearranged or moved to a device is then freed one by one.
        return build(make, self.checkpoint.bicodec_tensors(name), name, self.device)

    def _keep(self, name: str, load: Callable[[], Module]) -> Module:
        with self._lock:  # a server's threads may ask at once
            if name not in self._parts:
                self._parts[name] = load()
            return cast(Module, self._parts[name])
