"""BiCodec's networks on MindSpore; what is around them is shared numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from mindspore import Tensor

from ...checkpoint.config import DecoderConfig, SourceFilterConfig, Wav2Vec2Variant
from ...checkpoint.layout import Checkpoint
from ...windows import windows
from ..base import Samples
from ..codec import Array, FrontEnd, NetworkCodec
from .convnext import backbone, feature_decoder, semantic_encoder
from .layers import Weights, constant, linear
from .runtime import LOCK
from .speaker import SMALLEST_NORM, speaker_tokens, speaker_vector
from .wav2vec2 import convolutions, transformer
from .wave_generator import wave_generator

WAVE_WINDOW = 150  # tokens whose waveform is generated at a time: bounds the memory


class MindSporeCodec(NetworkCodec):
    """Speech to tokens and back; each network's tensors are read on first need and kept."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint.bicodec, checkpoint.codec_fingerprint)
        self._checkpoint = checkpoint
        self._networks: dict[str, Callable[..., Array]] = {
            "speaker_encoder": self._speaker_encoder,
            "semantic_encoder": self._semantic_encoder,
            "features_front": self._features_front,
            "features": self._features,
            "latents": self._latents,
            "decoder": self._values,
            "refiner": self._refined,
        }

    def run(self, name: str, inputs: Mapping[str, Array]) -> Array:
        with LOCK:
            return self._networks[name](**inputs)

    def front_end(self) -> FrontEnd:
        listener = self._checkpoint.wav2vec2
        return FrontEnd(listener.stride, listener.width, listener.layer_norm_everywhere)

    def wave_decoder(self, config: DecoderConfig) -> WaveDecoder:
        return WaveDecoder(self.decoder_weights, config)

    @cached_property
    def decoder_weights(self) -> Weights:
        return self._read("decoder").under("decoder")

    @cached_property
    def _speaker(self) -> Weights:
        return self._read("speaker_encoder").under("speaker_encoder")

    @cached_property
    def _encoder(self) -> Weights:
        return self._read("encoder", "quantizer.in_project", "quantizer.codebook")

    @cached_property
    def _prenet(self) -> Weights:
        names = ("quantizer.codebook", "quantizer.out_project", "prenet")
        return self._read(*names, "speaker_encoder.quantizer.project_out", "speaker_encoder.project")

    @cached_property
    def _listener(self) -> Weights:
        return Weights(self._checkpoint.wav2vec2_tensors(max(self._checkpoint.options.features.layers)))

    @cached_property
    def _variant(self) -> Wav2Vec2Variant:
        return Wav2Vec2Variant.read(self._checkpoint.wav2vec2_dir / "config.json")

    def _read(self, *names: str) -> Weights:
        return Weights(self._checkpoint.bicodec_tensors(*names))

    def _speaker_encoder(self, mel: Array) -> Array:
        return speaker_tokens(self._speaker, constant(mel[0].T), self.config.speaker_encoder)[None]

    def _semantic_encoder(self, features: Array) -> Array:
        """The nearest entries of the codebook, by direction or by distance. Source: arXiv 2110.04627, section 3.2."""
        w, quantizer = self._encoder, self.config.quantizer
        encoded = semantic_encoder(w.under("encoder"), constant(features[0]), self.config.encoder)
        latent = linear(w, encoded, "quantizer.in_project").asnumpy()
        entries = w.array("quantizer.codebook.weight")
        if quantizer.use_l2_normalize:
            latent, entries = (
                x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), SMALLEST_NORM) for x in (latent, entries)
            )
        # Squared distance, less the part that is the same for every entry.
        return (np.square(entries).sum(axis=-1) - 2 * latent @ entries.T).argmin(axis=-1)[None]

    def _features_front(self, audio: Array) -> Array:
        return _array(convolutions(self._listener, constant(audio[0][:, None]), self._checkpoint.wav2vec2))[None]

    def _features(self, frames: Array) -> Array:
        checkpoint = self._checkpoint
        wanted = checkpoint.options.features.layers
        return _array(transformer(self._listener, constant(frames[0]), checkpoint.wav2vec2, self._variant, wanted))[
            None
        ]

    def _latents(self, semantic: Array, speaker: Array) -> Array:
        w = self._prenet
        condition = speaker_vector(w.under("speaker_encoder"), speaker[0], self.config.speaker_encoder)
        codes = constant(w.array("quantizer.codebook.weight")[semantic[0]])
        vectors = linear(w, codes, "quantizer.out_project")
        latents = feature_decoder(w.under("prenet"), vectors, self.config.prenet, condition) + condition
        return np.ascontiguousarray(_array(latents).T)[None]

    def _values(self, latents: Array) -> Array:
        """The network of a decoder at the token rate."""
        decoder = self.config.decoder
        assert not isinstance(decoder, DecoderConfig)
        x = constant(latents[0].T)
        hidden = backbone(self.decoder_weights.under("backbone"), x, decoder.vocos_num_layers, decoder.kernel_size)
        return _array(linear(self.decoder_weights, hidden, "head"))[None]

    def _refined(self, level: Array, latents: Array) -> Array:
        decoder = self.config.decoder
        assert isinstance(decoder, SourceFilterConfig)
        assert decoder.refiner is not None
        w, refiner = self.decoder_weights.under("refiner"), decoder.refiner
        # Each frame vector stands for several frames of the spectrum.
        heard = np.concatenate([level[0], latents[0].T.repeat(decoder.hop // refiner.hop, axis=0)], axis=1)
        hidden = backbone(w.under("backbone"), constant(heard), refiner.vocos_num_layers, refiner.kernel_size)
        return _array(linear(w, hidden, "head"))[None]


class WaveDecoder:
    """The published decoder, window by window; implements engine.decoders.FrameDecoder."""

    def __init__(self, w: Weights, config: DecoderConfig) -> None:
        self._w, self._config, self._reach = w, config, config.reach()

    def decode(self, latents: Samples, start: int, stop: int, end: int, state: Any) -> tuple[Samples, Any]:
        hop = self._config.hop
        samples = np.empty((end - start) * hop, np.float32)
        for part in windows(end - start, WAVE_WINDOW, 0):
            first = max(0, start + part.start - self._reach)
            last = min(latents.shape[-1], start + part.stop + self._reach)
            with LOCK:
                wave = wave_generator(self._w, constant(latents[0, :, first:last].T), self._config)
                piece = _array(wave).reshape(-1)
            skipped = (start + part.start - first) * hop
            samples[part.start * hop : part.stop * hop] = piece[skipped : skipped + (part.stop - part.start) * hop]
        return samples, None


def _array(tensor: Tensor) -> Array:
    values: Array = tensor.asnumpy()
    return values
