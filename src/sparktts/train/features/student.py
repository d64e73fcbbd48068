"""The small encoder that is trained, and how it becomes part of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...engine.torch.wav2vec2 import STANDS_FOR, Wav2Vec2Features
from ..exporting import write_network
from ..options import bounded
from .extractors import HOP, normalized

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
Precision = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class StudentOptions:
    """Sizes of the small encoder.

    hidden_size: values per frame that the codec will see; when the teacher has as many, they regress the teacher's own
    and can stand for them; otherwise a linear map, which is left out of the export, turns them into the teacher's.
    conv_dim, conv_kernel, conv_stride: of the convolutions over samples, by default 400 samples for a frame, as in the
    published model; positions: width of the positional one.
    """

    hidden_size: int = bounded(256, low=8, high=4096)
    layers: int = bounded(4, low=1, high=64)
    heads: int = bounded(4, low=1, high=64)
    intermediate_size: int = bounded(768, low=8, high=1 << 14)
    conv_dim: tuple[int, ...] = bounded((64, 128, 192, 256, 256), low=4, high=2048)
    conv_kernel: tuple[int, ...] = bounded((10, 7, 7, 2, 2), low=1, high=255)
    conv_stride: tuple[int, ...] = bounded((5, 4, 4, 2, 2), low=1, high=255)
    positions: int = bounded(64, low=1, high=255)
    position_groups: int = bounded(16, low=1, high=256)

    def __post_init__(self) -> None:
        if not len(self.conv_dim) == len(self.conv_kernel) == len(self.conv_stride):
            raise ValueError("`conv_dim`, `conv_kernel` and `conv_stride` must be equally long")
        stride = 1
        for step in self.conv_stride:
            stride *= step
        if stride != HOP:
            raise ValueError(f"the product of `conv_stride` must be {HOP}, the samples of a frame, not {stride}")
        if any(kernel < step for kernel, step in zip(self.conv_kernel, self.conv_stride, strict=True)):
            raise ValueError("a `conv_kernel` must not be smaller than its `conv_stride`, or samples are not heard")
        for name in ("heads", "position_groups"):
            if self.hidden_size % getattr(self, name):
                raise ValueError(f"`{name}` must divide `hidden_size`, {self.hidden_size}")

    def config(self) -> dict[str, Any]:
        """config.json of the encoder, as transformers writes it too."""
        return {
            "model_type": "wav2vec2",
            "architectures": ["Wav2Vec2Model"],
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.intermediate_size,
            "conv_dim": list(self.conv_dim),
            "conv_kernel": list(self.conv_kernel),
            "conv_stride": list(self.conv_stride),
            "num_feat_extract_layers": len(self.conv_dim),
            "conv_bias": True,
            "feat_extract_norm": "layer",
            "feat_extract_activation": "gelu",
            "do_stable_layer_norm": True,  # learns faster, and nothing bounds what the last layer can give
            "hidden_act": "gelu",
            "num_conv_pos_embeddings": self.positions,
            "num_conv_pos_embedding_groups": self.position_groups,
            **dict.fromkeys(
                ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop"), 0.0
            ),
            "apply_spec_augment": False,
        }


class Student(nn.Module):
    """The encoder as checkpoints run it, and what turns its features into the teacher's."""

    def __init__(self, options: StudentOptions, teacher_dim: int, teacher: str | None = None) -> None:
        """teacher: its fingerprint, which an encoder of its width carries on, as its features can stand for it."""
        super().__init__()
        self.options = options
        self.features = Wav2Vec2Features(options.config(), (options.layers,))
        same = teacher_dim == options.hidden_size
        self.stands_for = teacher if same else None
        self.head: nn.Module = nn.Identity() if same else nn.Linear(options.hidden_size, teacher_dim)

    def forward(self, audio: Tensor) -> Tensor:
        """audio: (B, N) as recorded. Returns (B, T, teacher_dim)."""
        guess: Tensor = self.head(self.features(normalized(audio)))
        return guess

    def export(self, directory: Path, dtype: Precision = "fp32") -> None:
        """Writes config.json and model.safetensors, whole or not at all. Raises CheckpointError."""
        tensors = {name: value.detach().cpu() for name, value in self.features.model.state_dict().items()}
        _parametrize(tensors)
        stored = {name: value.to(DTYPES[dtype]).contiguous() for name, value in tensors.items()}
        origin = {STANDS_FOR: self.stands_for} if self.stands_for else {}
        write_network(directory, {**self.options.config(), **origin}, stored)


def _parametrize(tensors: dict[str, Tensor]) -> None:
    """Stores the positional convolution as magnitude and direction, as transformers expects it."""
    name = "encoder.pos_conv_embed.conv.weight"
    weight = tensors.pop(name).float()
    tensors[f"{name}_g"] = weight.norm(dim=(0, 1), keepdim=True)
    tensors[f"{name}_v"] = weight
