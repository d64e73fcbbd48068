"""BiCodec's speaker encoder: a clip's voice as a fixed number of global tokens, and back to one vector."""

from __future__ import annotations

from typing import NamedTuple, cast

from torch import Tensor, nn

from ...checkpoint.config import SpeakerEncoderConfig
from .ecapa import EcapaTdnn
from .fsq import FiniteScalarQuantizer
from .perceiver import PerceiverResampler


class SpeakerEncoding(NamedTuple):
    """What the speaker encoder says of a batch of clips."""

    x_vector: Tensor  # (B, out_dim), continuous
    d_vector: Tensor  # (B, out_dim), rebuilt from the tokens
    tokens: Tensor  # (B, token_num) int64


class SpeakerDecoder(nn.Module):
    """The part that decoding needs: global tokens to the vector that conditions the wave.

    Its parameters are a subset of SpeakerEncoder's, under the same names (`quantizer.project_in` included).
    """

    def __init__(self, config: SpeakerEncoderConfig) -> None:
        super().__init__()
        self.quantizer = FiniteScalarQuantizer(config.latent_dim, config.fsq_levels)
        self.project = nn.Linear(config.latent_dim * config.token_num, config.out_dim)

    def d_vector(self, tokens: Tensor) -> Tensor:
        """tokens: (B, token_num) int64. Returns (B, out_dim)."""
        return self._join(self.quantizer.embed(tokens))

    def forward(self, tokens: Tensor) -> Tensor:
        """The same as `d_vector`."""
        return self.d_vector(tokens)

    def _join(self, vectors: Tensor) -> Tensor:
        # Flattened dimension by dimension, each over all tokens: the order in which `project` was trained.
        return cast(Tensor, self.project(vectors.transpose(1, 2).flatten(1)))


class SpeakerEncoder(SpeakerDecoder):
    """ECAPA-TDNN features, gathered by a perceiver into token_num vectors, each quantised by FSQ.

    Source: arXiv 2503.01710, section 3.
    """

    def __init__(self, config: SpeakerEncoderConfig) -> None:
        super().__init__(config)
        self.speaker_encoder = EcapaTdnn(config)
        self.perceiver_sampler = PerceiverResampler(config)

    def tokens(self, mel: Tensor) -> Tensor:
        """Global tokens. mel: (B, mel_bins, T). Returns (B, token_num) int64."""
        return self.quantizer.quantize(self._gather(self.speaker_encoder.features(mel)))

    def encode(self, mel: Tensor) -> SpeakerEncoding:
        """Everything, with gradients through the quantiser. mel: (B, mel_bins, T)."""
        x_vector, features = self.speaker_encoder(mel)
        vectors, tokens = self.quantizer(self._gather(features))
        return SpeakerEncoding(x_vector, self._join(vectors), tokens)

    def _gather(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.perceiver_sampler(features.transpose(1, 2)))
