"""Where semantic features come from: encoders of several kinds behind one interface."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...audio.samples import Samples
from ...checkpoint.layout import CODEC_DIR, Checkpoint
from ...engine.codec import NORMALIZE_EPS
from ...engine.torch.wav2vec2 import Wav2Vec2Features
from .whisper import WhisperFeatures

HOP = 320  # samples per frame at 16 kHz


@dataclass(frozen=True)
class EncoderOptions:
    """An encoder: section `teacher` or `features` of a training's file.

    kind, path: wav2vec2: a checkpoint, or a directory in wav2vec2's layout; whisper: a file of Whisper's weights.
    layers: whose outputs are averaged, counted from 1; empty: what the checkpoint says (only for checkpoints).
    cache: folder in which the features of clips are kept for whatever listens through the same encoder.
    """

    path: Path
    kind: Literal["wav2vec2", "whisper"] = "wav2vec2"
    layers: tuple[int, ...] = ()
    cache: Path | None = None

    def __post_init__(self) -> None:
        if any(layer < 1 for layer in self.layers) or len(set(self.layers)) < len(self.layers):
            raise ValueError("`layers` must be different numbers from 1")
        if not self.layers and (self.kind == "whisper" or not is_checkpoint(self.path)):
            raise ValueError(f"`layers` is missing: only a checkpoint knows its own, and {self.path} is none")


class Encoder(Protocol):
    """Speech to features, frozen. fingerprints: its own, and that of an encoder whose features it gives."""

    dim: int

    @property
    def fingerprints(self) -> tuple[str, ...]: ...

    def __call__(self, audio: Tensor) -> Tensor:
        """audio: (B, N) at 16 kHz as recorded. Returns (B, T, dim), one frame for every 320 samples, less the rest."""
        ...


class Wav2Vec2Encoder(nn.Module):
    """A model in wav2vec2 architecture, which hears each clip at zero mean and unit variance."""

    def __init__(self, features: Wav2Vec2Features) -> None:
        super().__init__()
        self.features = features.requires_grad_(False)
        self.dim = features.hidden_size

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return self.features.fingerprints

    def forward(self, audio: Tensor) -> Tensor:
        heard: Tensor = self.features(normalized(audio))
        return heard


def open_encoder(options: EncoderOptions, device: torch.device | str = "cpu") -> Encoder:
    """Raises CheckpointError."""
    place = torch.device(device)
    if options.kind == "whisper":
        return WhisperFeatures.open(options.path, options.layers).to(place)
    if is_checkpoint(options.path):
        checkpoint = Checkpoint(options.path)
        layers = options.layers or checkpoint.options.features.layers
        return Wav2Vec2Encoder(Wav2Vec2Features.open(checkpoint.wav2vec2_dir, layers, place))
    return Wav2Vec2Encoder(Wav2Vec2Features.open(options.path, options.layers, place))


def is_checkpoint(path: Path) -> bool:
    """Whether a directory is a whole checkpoint and not one model of it."""
    return (path / "config.yaml").is_file() and (path / CODEC_DIR).is_dir()


@torch.inference_mode()
def encode_clip(encoder: Encoder, samples: Samples, device: torch.device | str = "cpu") -> npt.NDArray[np.float32]:
    """(T, dim) features of one whole clip. samples: (N,) at 16 kHz."""
    audio = torch.from_numpy(np.ascontiguousarray(samples, np.float32)).to(device)
    features: npt.NDArray[np.float32] = encoder(audio.unsqueeze(0))[0].float().cpu().numpy()
    return features


def normalized(audio: Tensor) -> Tensor:
    """(B, N) at zero mean and unit variance, each clip by itself."""
    variance, mean = torch.var_mean(audio, dim=-1, keepdim=True, correction=0)
    return (audio - mean) / (variance + NORMALIZE_EPS).sqrt()
