"""The word recogniser in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoint.aligner import AlignerConfig, read_aligner
from ...checkpoint.fields import read_yaml
from ...checkpoint.layout import Checkpoint
from ...errors import CheckpointError
from ..aligner import Alignment, Features, ListeningAligner, WordAligner, split_symbols, word_bounds
from .weights import load_tensors

if TYPE_CHECKING:
    from .codec import TorchCodec

__all__ = ("Aligner", "AlignerNetwork", "Alignment", "CodecAligner", "pad_features", "split_symbols", "word_bounds")

SMALLEST_DEVIATION = 1e-4  # a value that never changes is not blown up


class AlignerNetwork(nn.Module):
    """Two convolutions over semantic features and a phoneme, or the blank, for each frame."""

    mean: Tensor
    scale: Tensor

    def __init__(self, config: AlignerConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(config.input_dim))
        self.register_buffer("scale", torch.ones(config.input_dim))
        self.first = nn.Conv1d(config.input_dim, config.width, config.kernel, padding=config.kernel // 2)
        self.second = nn.Conv1d(config.width, config.width, config.kernel, padding=config.kernel // 2)
        self.head = nn.Linear(config.width, len(config.symbols) + 1)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """features: (B, T, input_dim); lengths: (B,) frames that count. Returns (B, T, symbols + 1) float32 logs."""
        inside = torch.arange(features.shape[1], device=features.device) < lengths.unsqueeze(1)
        mask = inside.unsqueeze(1)
        x = ((features - self.mean) * self.scale).transpose(1, 2) * mask
        x = F.gelu(self.first(x)) * mask
        x = F.gelu(self.second(x))
        return F.log_softmax(self.head(x.transpose(1, 2)).float(), dim=-1)

    def standardize(self, features: Sequence[Features]) -> None:
        """Makes each value of features like these vary around 0 by 1. For training, before its first step."""
        frames = np.concatenate(features).astype(np.float32)
        self.mean.copy_(torch.from_numpy(frames.mean(axis=0)))
        self.scale.copy_(torch.from_numpy(1.0 / (frames.std(axis=0) + SMALLEST_DEVIATION)))


class Aligner(WordAligner):
    """A trained recogniser. features: (T, input_dim) of a clip; words: phoneme groups, punctuation and all."""

    def __init__(self, config: AlignerConfig, network: AlignerNetwork, device: torch.device | str = "cpu") -> None:
        super().__init__(config)
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()

    @classmethod
    def load(cls, source: Checkpoint | Path | str, device: torch.device | str = "cpu") -> Aligner:
        """source: an aligner's directory, or a checkpoint or its directory. Raises CheckpointError."""
        config, tensors = read_aligner(_directory(source))
        with torch.device("meta"):
            network = AlignerNetwork(config)
        load_tensors(network, tensors)
        return cls(config, network, device)

    def require(self, fingerprints: Sequence[str]) -> Aligner:
        """Itself, if it was trained through the encoder of these names, or none is known. Raises CheckpointError."""
        wanted = self.config.features
        if wanted is not None and wanted not in fingerprints:
            raise CheckpointError(
                f"The aligner was trained on the features of another encoder or other layers ({wanted}, not "
                f"{fingerprints[0]}): give those, or train it again with `sparktts train aligner`."
            )
        return self

    @torch.inference_mode()
    def log_probs(self, features: Sequence[Features]) -> Sequence[npt.NDArray[np.float32]]:
        batch, lengths = pad_features(features)
        log_probs = self.network(batch.to(self.device), lengths.to(self.device)).cpu().numpy()
        return [frames[:length] for frames, length in zip(log_probs, lengths.tolist(), strict=True)]


class CodecAligner(ListeningAligner):
    """A checkpoint's aligner on the features that its codec hears; implements engine.base.ClipAligner."""

    def __init__(self, checkpoint: Checkpoint, codec: TorchCodec) -> None:
        """codec: the checkpoint's, whose feature model is used and not loaded again. Raises CheckpointError."""
        super().__init__(codec, Aligner.load(checkpoint, codec.device).require(codec.parts.wav2vec2.fingerprints))


def pad_features(features: Sequence[Features]) -> tuple[Tensor, Tensor]:
    """(B, T, d) float32 with zeros behind the shorter clips, and (B,) frames of each."""
    lengths = [len(clip) for clip in features]
    batch = np.zeros((len(features), max(lengths), features[0].shape[1]), np.float32)
    for row, clip in zip(batch, features, strict=True):
        row[: len(clip)] = clip
    return torch.from_numpy(batch), torch.tensor(lengths)


def _directory(source: Checkpoint | Path | str) -> Path:
    if isinstance(source, Checkpoint):
        return source.aligner_dir
    path = Path(source)
    if (path / "config.yaml").is_file():
        return path / read_yaml(path / "config.yaml").text("aligner")
    return path
