"""The published codec, BiCodec, in PyTorch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...audio.mel import MelSpectrogram
from ...audio.source_filter import SourceState
from ...checkpoint.config import DecoderConfig
from ...checkpoint.layout import Checkpoint
from ...windows import windows
from ..base import Samples, Tokens
from ..checks import check_clip, check_tokens
from ..codec import normalize
from .parts import BiCodecParts
from .source_filter import SourceFilterDecoder

# Tokens whose waveform is generated at a time, not counting the generator's own context on each side.
# On a CPU half the memory of windows twice as long, for a tenth of the time.
WAVE_WINDOW = {"cpu": 75}
WAVE_WINDOW_ACCELERATOR = 1500


class TorchCodec:
    """Speech to tokens and back; implements engine.base.Codec. Every network is read on first need and kept.

    Decoding reads neither the encoders nor wav2vec 2.0; speaker tokens do not need wav2vec 2.0.
    Source: arXiv 2503.01710, section 3.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        """dtype: of the waveform generator, and only on cuda; everything else is float32."""
        config = checkpoint.bicodec
        self.parts = BiCodecParts(checkpoint, torch.device(device))
        self.device = self.parts.device
        self.dtype = dtype if self.device.type == "cuda" else torch.float32
        self.sample_rate = config.mel.sample_rate
        self.hop = config.hop
        self.context = config.receptive_field
        self.fingerprint = checkpoint.codec_fingerprint
        self._config = config
        self._reach = config.decoder.reach()
        self._mel = MelSpectrogram(**asdict(config.mel))

    @torch.inference_mode()
    def speaker_tokens(self, audio: Samples) -> Tokens:
        """(32,) global tokens of a voice. Raises AudioError.

        audio: (N,) samples as the speaker encoder sees them.
        """
        check_clip(audio, self._mel.hop_length)
        mel = torch.from_numpy(self._mel(audio)).to(self.device)
        return _numpy_tokens(self.parts.speaker_encoder.tokens(mel.unsqueeze(0)))

    @torch.inference_mode()
    def semantic_tokens(self, audio: Samples) -> Tokens:
        """(T,) semantic tokens at 50 Hz. audio: (N,) whole clip. Raises AudioError."""
        return self._quantize(self._features(audio))

    @torch.inference_mode()
    def quantize(self, features: npt.NDArray[Any]) -> Tokens:
        """(T,) semantic tokens of features that another encoder gave. features: (T, values) at 50 Hz."""
        return self._quantize(torch.from_numpy(np.array(features, np.float32)).to(self.device).unsqueeze(0))

    def _quantize(self, features: Tensor) -> Tokens:
        """features: (1, T, values)."""
        return _numpy_tokens(self.parts.quantizer.quantize(self.parts.encoder(features.transpose(1, 2))))

    @torch.inference_mode()
    def features(self, audio: Samples) -> Samples:
        """(T, values) semantic features at 50 Hz, one row for each semantic token. Raises AudioError."""
        rows: Samples = self._features(audio)[0].cpu().numpy()
        return rows

    def _features(self, audio: Samples) -> Tensor:
        """(1, T, values)."""
        listener = self.parts.wav2vec2
        check_clip(audio, listener.shortest)
        signal = torch.from_numpy(normalize(np.asarray(audio, np.float32))).to(self.device)
        heard: Tensor = listener(signal.unsqueeze(0))
        return heard

    @torch.inference_mode()
    def decode(
        self, semantic: Tokens, speaker: Tokens, state: Any = None, keep: tuple[int, int] | None = None
    ) -> tuple[Samples, Any]:
        """Waveform of one window.

        semantic: (T,) codes 0..8191 at 50 Hz; speaker: (32,) codes 0..4095; state: what the decode of the window
        before returned; keep: start and stop of the tokens that are kept, the others being context (None: all).
        Returns (320*T,) float32 at 16 kHz in [-1, 1], and the state at `stop`. Raises InvalidTokens.
        """
        voice = self._config.speaker_encoder
        codes = self._tensor(check_tokens(semantic, "semantic", self._config.quantizer.codebook_size))
        globals_ = self._tensor(check_tokens(speaker, "global", voice.codes, voice.token_num))
        condition = self.parts.speaker_decoder(globals_)
        features = self.parts.prenet(self.parts.quantizer.embed(codes), condition)
        latent = features + condition.unsqueeze(-1)
        if isinstance(self._config.decoder, DecoderConfig):
            return self._generate(latent), None
        decoder = self.parts.decoder
        start, stop = keep or (0, latent.shape[-1])
        if isinstance(decoder, SourceFilterDecoder):
            wave, state = decoder.decode(latent, state or SourceState(), start, stop)
        else:
            wave = decoder(latent)
        samples: Samples = wave[0].clamp(-1.0, 1.0).cpu().numpy()
        return samples, state

    def _generate(self, features: Tensor) -> Samples:
        """(hop * T,) samples, in windows, as the signals are far larger. features: (1, channels, T)."""
        size = WAVE_WINDOW.get(self.device.type, WAVE_WINDOW_ACCELERATOR)
        generator = self.parts.wave_generator.to(self.dtype)
        samples = np.empty(features.shape[-1] * self.hop, np.float32)
        for part in windows(features.shape[-1], size, self._reach):
            piece = generator(features[..., part.first : part.last].to(self.dtype))
            kept = part.keep(piece[0], self.hop).float().cpu().numpy()
            samples[part.start * self.hop : part.stop * self.hop] = kept
        return samples

    def _tensor(self, tokens: Tokens) -> Tensor:
        """(1, n) on the device."""
        return torch.from_numpy(tokens).unsqueeze(0).to(self.device)


def _numpy_tokens(tokens: Tensor) -> Tokens:
    array: Tokens = tokens[0].cpu().numpy().astype(np.int64)
    return array
