"""The codec in numpy around networks that an engine computes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..audio.mel import MelSpectrogram
from ..checkpoint.config import BiCodecConfig, DecoderConfig
from .base import Samples, Tokens
from .checks import check_clip, check_tokens
from .decoders import FrameDecoder, token_rate_decoder

CHUNK_FRAMES = 500  # frames of the convolutional front end computed at a time, 10 s
NORMALIZE_EPS = 1e-7
BEYOND = 1  # tokens behind what is kept whose samples are given too, for a caller that fades

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class FrontEnd:
    """The convolutions before a feature model's layers. stride and width of a frame in samples.

    chunkable: a clip may be heard in pieces; with group norm the first convolution sees the whole clip.
    """

    stride: int
    width: int
    chunkable: bool


class NetworkCodec(ABC):
    """Speech to tokens and back; implements engine.base.Codec. An engine gives the networks, by name.

    Decoding needs neither encoder; speaker tokens need no semantic features.
    Source: arXiv 2503.01710, section 3.
    """

    def __init__(self, config: BiCodecConfig, fingerprint: str) -> None:
        self.sample_rate = config.mel.sample_rate
        self.hop = config.hop
        self.context = config.receptive_field
        self.fingerprint = fingerprint
        self.config = config
        self.mel = MelSpectrogram(**asdict(config.mel))
        self._reach = config.decoder.reach()

    @abstractmethod
    def run(self, name: str, inputs: Mapping[str, Array]) -> Array:
        """The only output of a network. Raises CheckpointError when its weights are bad.

        speaker_encoder: mel (1, bins, T) -> (1, 32) tokens; semantic_encoder: features (1, T, values) -> (1, T) tokens;
        features_front: audio (1, N) -> frames (1, T, channels); features: frames -> (1, T, values);
        latents: semantic (1, T), speaker (1, 32) -> (1, channels, T); decoder, at the token rate: latents -> (1, T, n);
        refiner: level (1, frames, bins), latents -> (1, frames, 2 * bins).
        """

    @abstractmethod
    def front_end(self) -> FrontEnd:
        """Raises CheckpointError where there is no feature model."""

    @abstractmethod
    def wave_decoder(self, config: DecoderConfig) -> FrameDecoder:
        """The published decoder, above the token rate."""

    def speaker_tokens(self, audio: Samples) -> Tokens:
        """(32,) global tokens of a voice. audio: (N,) samples as the speaker encoder sees them. Raises AudioError."""
        check_clip(audio, self.mel.hop_length)
        return _tokens(self.run("speaker_encoder", {"mel": self.mel(audio)[None]}))

    def semantic_tokens(self, audio: Samples) -> Tokens:
        """(T,) semantic tokens at 50 Hz. audio: (N,) whole clip. Raises AudioError, CheckpointError."""
        return self.quantize(self.features(audio))

    def quantize(self, features: Array) -> Tokens:
        """(T,) semantic tokens of features that another encoder gave. features: (T, values) at 50 Hz."""
        return _tokens(self.run("semantic_encoder", {"features": np.asarray(features, np.float32)[None]}))

    def features(self, audio: Samples) -> Samples:
        """(T, values) semantic features at 50 Hz, one row for each semantic token.

        Raises AudioError, and CheckpointError where there is no feature model.
        """
        front = self.front_end()
        check_clip(audio, front.width)
        signal = normalize(np.asarray(audio, np.float32))
        total = (len(signal) - front.width) // front.stride + 1
        step = CHUNK_FRAMES if front.chunkable else total
        pieces = []
        for start in range(0, total, step):
            stop = min(start + step, total)
            span = signal[start * front.stride : (stop - 1) * front.stride + front.width]
            pieces.append(self.run("features_front", {"audio": span[None]}))
        rows: Samples = self.run("features", {"frames": np.concatenate(pieces, axis=1)})[0]
        return rows

    def decode(
        self, semantic: Tokens, speaker: Tokens, state: Any = None, keep: tuple[int, int] | None = None
    ) -> tuple[Samples, Any]:
        """Waveform of one window.

        semantic: (T,) codes 0..8191 at 50 Hz; speaker: (32,) codes 0..4095; state: what the decode of the window
        before returned; keep: start and stop of the tokens that are kept, the others being context (None: all).
        Returns (320*T,) float32 at 16 kHz in [-1, 1], of which the samples of what is kept, and of one token behind
        it, are computed, and the state at `stop`. Raises InvalidTokens.
        """
        voice = self.config.speaker_encoder
        codes = check_tokens(semantic, "semantic", self.config.quantizer.codebook_size)
        globals_ = check_tokens(speaker, "global", voice.codes, voice.token_num)
        start, stop = keep or (0, len(codes))
        latents = self.run("latents", {"semantic": codes[None], "speaker": globals_[None]})
        # The networks behind see as much context as they need, and the prenet's is cut off.
        end = min(len(codes), stop + BEYOND)
        first, last = max(0, start - self._reach), min(len(codes), end + self._reach)
        kept, state = self._decoder.decode(latents[..., first:last], start - first, stop - first, end - first, state)
        samples = np.zeros(len(codes) * self.hop, np.float32)
        np.clip(kept, -1.0, 1.0, out=samples[start * self.hop : end * self.hop])
        return samples, state

    @cached_property
    def _decoder(self) -> FrameDecoder:
        decoder = self.config.decoder
        if isinstance(decoder, DecoderConfig):
            return self.wave_decoder(decoder)
        return token_rate_decoder(decoder, self.run)


def _tokens(array: npt.NDArray[Any]) -> Tokens:
    tokens: Tokens = array[0].astype(np.int64)
    return tokens


def normalize(audio: Samples) -> Samples:
    """(N,) samples at zero mean and unit variance, as feature models hear them."""
    centred = audio - audio.mean()
    scaled: Samples = (centred / np.sqrt(audio.var() + NORMALIZE_EPS)).astype(np.float32)
    return scaled
