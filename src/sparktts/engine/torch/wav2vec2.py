"""Semantic features: what a self-supervised speech model hears, 50 vectors per second."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...checkpoint.config import FEATURE_LAYERS, frame_geometry
from ...checkpoint.config import Wav2Vec2Config as Wav2Vec2Shape
from ...checkpoint.layout import wav2vec2_weights
from ...errors import CheckpointError
from ..codec import CHUNK_FRAMES
from .weights import fingerprint, load_tensors

# Masking is for training only; without it the model has no mask vector, which some exports lack.
OVERRIDES = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
STANDS_FOR = "stands_for"  # in config.json: fingerprint of the encoder whose features a distilled one gives


class Wav2Vec2Features(nn.Module):
    """Mean of hidden states of a wav2vec 2.0 model of any size; layers above the last of them are left out.

    Source: arXiv 2503.01710, section 3; wav2vec 2.0: arXiv 2006.11477.
    """

    def __init__(self, config: Mapping[str, Any], layers: Sequence[int] = FEATURE_LAYERS) -> None:
        """config: the model's config.json; layers: state n is the output of transformer layer n, counted from 1."""
        from transformers import Wav2Vec2Config, Wav2Vec2Model

        super().__init__()
        settings = Wav2Vec2Config(**{**config, **OVERRIDES, "num_hidden_layers": max(layers)})
        settings._attn_implementation = "sdpa"  # the eager one would hold every score of a long clip
        self.layers = tuple(layers)
        self.stands_for: str | None = None
        self.hidden_size = int(settings.hidden_size)
        self.model = Wav2Vec2Model(settings)
        self._unparametrize()
        self.stride, self.width = frame_geometry(settings.conv_kernel, settings.conv_stride)
        # With group norm instead, the first layer sees the whole clip.
        self.chunkable = settings.feat_extract_norm == "layer"

    @classmethod
    def load(
        cls,
        directory: Path,
        tensors: Mapping[str, npt.NDArray[Any]],
        device: torch.device,
        layers: Sequence[int] = FEATURE_LAYERS,
    ) -> Wav2Vec2Features:
        """directory: holds config.json; tensors: Checkpoint.wav2vec2_tensors(). Raises CheckpointError."""
        path = directory / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        count = config.get("num_hidden_layers", 0)
        if count < max(layers):
            raise CheckpointError(
                f"{path} describes {count} layers, but layer {max(layers)} is asked for: give layers that it has, "
                "or the directory of a larger model."
            )
        with torch.device("meta"):
            features = cls(config, layers)
        wanted = features.model.state_dict().keys()
        load_tensors(features.model, {name: tensors[name] for name in wanted if name in tensors})
        features.stands_for = config.get(STANDS_FOR)
        return features.to(device).eval()

    @classmethod
    def open(cls, directory: Path, layers: Sequence[int], device: torch.device) -> Wav2Vec2Features:
        """A model outside a checkpoint: config.json with weights beside it. Raises CheckpointError."""
        config = Wav2Vec2Shape.read(directory / "config.json")
        weights = wav2vec2_weights(directory, config).require_sound()
        return cls.load(directory, weights.read_layers(max(layers)), device, layers)

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """Whose features these are: its own name, and that of the encoder whose features it gives, if it learnt them.

        Once the weights are loaded.
        """
        return (fingerprint(self.model, self.layers), *((self.stands_for,) if self.stands_for else ()))

    @property
    def shortest(self) -> int:
        """The fewest samples that give one frame."""
        return self.width

    def forward(self, audio: Tensor) -> Tensor:
        """audio: (B, N), 16 kHz, zero mean, unit variance. Returns (B, 1 + (N - 400) // 320, hidden)."""
        frames, _ = self.model.feature_projection(self._local_features(audio))
        encoder = self.model.encoder
        total = torch.zeros((), device=audio.device)

        def collect(_: nn.Module, __: Any, output: Any) -> None:
            nonlocal total
            total = total + (output[0] if isinstance(output, tuple) else output)

        hooks = [encoder.layers[n - 1].register_forward_hook(collect) for n in self.layers]
        try:
            encoder(frames)
        finally:
            for hook in hooks:
                hook.remove()
        return total / len(self.layers)

    def _local_features(self, audio: Tensor) -> Tensor:
        """(B, T, channels): the convolutional front end, in pieces, as its signals are far larger."""
        total = (audio.shape[-1] - self.width) // self.stride + 1
        step = CHUNK_FRAMES if self.chunkable else total
        pieces = []
        for start in range(0, total, step):
            stop = min(start + step, total)
            span = audio[:, start * self.stride : (stop - 1) * self.stride + self.width]
            pieces.append(self.model.feature_extractor(span).transpose(1, 2))
        return torch.cat(pieces, dim=1)

    def _unparametrize(self) -> None:
        """Makes the weight-normed positional convolution a plain one, as checkpoints are read folded."""
        embedding = cast(Any, self.model.encoder.pos_conv_embed)
        old = cast(nn.Conv1d, embedding.conv)
        embedding.conv = nn.Conv1d(
            old.in_channels,
            old.out_channels,
            old.kernel_size[0],
            padding=cast(int, old.padding[0]),
            groups=old.groups,
        )
