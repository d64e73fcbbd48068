"""The codec on ONNX Runtime and numpy."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...audio.mel import MelSpectrogram
from ...checkpoint.config import BiCodecConfig
from ...errors import CheckpointError
from ..base import Samples, Tokens
from ..checks import check_clip, check_tokens
from .decoders import FrameDecoder, open_decoder
from .graphs import GraphFiles, Graphs

CHUNK_FRAMES = 500  # frames of the convolutional front end computed at a time, 10 s
NORMALIZE_EPS = 1e-7
BEYOND = 1  # tokens behind what is kept whose samples are given too, for a caller that fades


class OnnxCodec:
    """Speech to tokens and back; implements engine.base.Codec. Every graph is opened on first need and kept.

    Decoding opens neither encoder; speaker tokens need no semantic features.
    """

    def __init__(
        self,
        config: BiCodecConfig,
        files: GraphFiles,
        fingerprint: str,
        provider: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self.graphs = Graphs(files, provider, threads)
        self.sample_rate = config.mel.sample_rate
        self.hop = config.hop
        self.context = config.receptive_field
        self.fingerprint = fingerprint
        self._config = config
        self._reach = config.decoder.reach()
        self.mel = MelSpectrogram(**asdict(config.mel))

    def speaker_tokens(self, audio: Samples) -> Tokens:
        """(32,) global tokens of a voice. audio: (N,) samples as the speaker encoder sees them. Raises AudioError."""
        check_clip(audio, self.mel.hop_length)
        return _tokens(self.graphs.run("speaker_encoder", mel=self.mel(audio)[None]))

    def semantic_tokens(self, audio: Samples) -> Tokens:
        """(T,) semantic tokens at 50 Hz. audio: (N,) whole clip. Raises AudioError, CheckpointError."""
        return self.quantize(self.features(audio))

    def quantize(self, features: npt.NDArray[Any]) -> Tokens:
        """(T,) semantic tokens of features that another encoder gave. features: (T, values) at 50 Hz."""
        return _tokens(self.graphs.run("semantic_encoder", features=np.asarray(features, np.float32)[None]))

    def features(self, audio: Samples) -> Samples:
        """(T, values) semantic features at 50 Hz, one row for each semantic token.

        Raises AudioError, and CheckpointError where the model was exported without them.
        """
        if not self.graphs.has("features"):
            raise CheckpointError(
                "The model was exported without its semantic encoder, which cloning with a transcript and encoding "
                "need: export a complete checkpoint, or clone without a transcript."
            )
        part = self.graphs.files.section("semantic_encoder")
        stride, width = part.integer("stride"), part.integer("width")
        check_clip(audio, width)
        audio = np.asarray(audio, np.float32)
        signal = ((audio - audio.mean()) / np.sqrt(audio.var() + NORMALIZE_EPS)).astype(np.float32)
        total = (len(signal) - width) // stride + 1
        # With group norm instead of layer norm, the first convolution sees the whole clip.
        step = CHUNK_FRAMES if part.flag("chunkable") else total
        pieces = []
        for start in range(0, total, step):
            stop = min(start + step, total)
            span = signal[start * stride : (stop - 1) * stride + width]
            pieces.append(self.graphs.run("features_front", audio=span[None]))
        rows: Samples = self.graphs.run("features", frames=np.concatenate(pieces, axis=1))[0]
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
        voice = self._config.speaker_encoder
        codes = check_tokens(semantic, "semantic", self._config.quantizer.codebook_size)
        globals_ = check_tokens(speaker, "global", voice.codes, voice.token_num)
        start, stop = keep or (0, len(codes))
        latents = self.graphs.run("latents", semantic=codes[None], speaker=globals_[None])
        # The networks behind see as much context as they need, and the prenet's is cut off.
        end = min(len(codes), stop + BEYOND)
        first, last = max(0, start - self._reach), min(len(codes), end + self._reach)
        kept, state = self._decoder.decode(latents[..., first:last], start - first, stop - first, end - first, state)
        samples = np.zeros(len(codes) * self.hop, np.float32)
        np.clip(kept, -1.0, 1.0, out=samples[start * self.hop : end * self.hop])
        return samples, state

    @cached_property
    def _decoder(self) -> FrameDecoder:
        return open_decoder(self._config.decoder, self.graphs)


def _tokens(array: npt.NDArray[Any]) -> Tokens:
    tokens: Tokens = array[0].astype(np.int64)
    return tokens
