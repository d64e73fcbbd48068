"""The encoder of Whisper, as a source of semantic features, from the files that it is published in.

Read are: Hugging Face directories or .safetensors/.bin files, the .pt files of openai-whisper, and the model.bin of
CTranslate2 (faster-whisper) in full or half precision. Source: Radford et al., arXiv 2212.04356, section 2.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...audio.mel import MelSpectrogram
from ...checkpoint.tensors import TensorFile
from ...engine.torch.weights import fingerprint
from ...errors import CheckpointError
from ...windows import windows

SAMPLE_RATE = 16000
N_FFT, MEL_HOP = 400, 160
HOP = 2 * MEL_HOP  # samples per frame: the second convolution halves the rate
HEAD_DIM = 64
WINDOW, CONTEXT = 1000, 200  # frames at a time, and around them: positions end at 30 s

# What each publisher calls the parts; the first that is found counts. "{i}": number of the layer.
_NAMES = {
    "conv1": ("encoder.conv1",),
    "conv2": ("encoder.conv2",),
    "attention_norm": ("encoder.layers.{i}.self_attn_layer_norm", "encoder.blocks.{i}.attn_ln"),
    "query": ("encoder.layers.{i}.self_attn.q_proj", "encoder.blocks.{i}.attn.query"),
    "key": ("encoder.layers.{i}.self_attn.k_proj", "encoder.blocks.{i}.attn.key"),
    "value": ("encoder.layers.{i}.self_attn.v_proj", "encoder.blocks.{i}.attn.value"),
    "out": ("encoder.layers.{i}.self_attn.out_proj", "encoder.blocks.{i}.attn.out"),
    "mlp_norm": ("encoder.layers.{i}.final_layer_norm", "encoder.blocks.{i}.mlp_ln"),
    "up": ("encoder.layers.{i}.fc1", "encoder.blocks.{i}.mlp.0"),
    "down": ("encoder.layers.{i}.fc2", "encoder.blocks.{i}.mlp.2"),
}
_POSITIONS = ("encoder.embed_positions.weight", "encoder.positional_embedding")


class WhisperBlock(nn.Module):
    """Attention and a feed-forward network, each after a layer norm and added to its input."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.heads = dim // HEAD_DIM
        self.attention_norm, self.mlp_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, dim). Returns (B, T, dim)."""
        normed = self.attention_norm(x)
        q, k, v = (
            part(normed).unflatten(-1, (self.heads, HEAD_DIM)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        heard = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(heard)
        changed: Tensor = self.down(F.gelu(self.up(self.mlp_norm(x))))
        return x + changed


class WhisperFeatures(nn.Module):
    """Mean of the layer-normed (no gain, no bias) outputs of some layers, 50 frames per second."""

    filters: Tensor
    positions: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], layers: Sequence[int]) -> None:
        """tensors: by the names of openai-whisper or Hugging Face; layers: counted from 1. Raises CheckpointError."""
        super().__init__()
        source = _Source(tensors)
        dim, mels, _ = source.get("conv1", 0)["weight"].shape
        if source.layers < max(layers):
            raise CheckpointError(f"This Whisper encoder has {source.layers} layers, but layer {max(layers)} is asked.")
        self.dim = dim
        self.layers = tuple(layers)
        self.conv1 = nn.Conv1d(mels, dim, 3, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        hidden = len(source.get("up", 0)["weight"])
        self.blocks = nn.ModuleList(WhisperBlock(dim, hidden) for _ in range(max(layers)))
        filters = MelSpectrogram(SAMPLE_RATE, N_FFT, N_FFT, MEL_HOP, 0.0, None, mels).filters()
        self.register_buffer("filters", torch.from_numpy(filters.copy()))
        self.register_buffer("positions", source.positions)
        for part in ("conv1", "conv2"):
            _fill(getattr(self, part), source.get(part, 0))
        for i, block in enumerate(self.blocks):
            for part in list(_NAMES)[2:]:
                _fill(getattr(block, part), source.get(part, i))
        self.eval().requires_grad_(False)

    @classmethod
    def open(cls, path: Path, layers: Sequence[int]) -> WhisperFeatures:
        """path: a file of weights, or a directory with one. Raises CheckpointError."""
        try:
            return cls(read_whisper(path), layers)
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path} is no Whisper model that can be read: {_brief(error)}.") from None

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """Its own."""
        return (fingerprint(self, self.layers),)

    def forward(self, audio: Tensor) -> Tensor:
        """audio: (B, N) at 16 kHz. Returns (B, T, dim), T = ceil((N // 160) / 2); frame t is centred on 320 * t."""
        mel = self.mel(audio)
        frames = -(-mel.shape[-1] // 2)
        if frames <= WINDOW + 2 * CONTEXT:
            return self._encode(mel)
        pieces = []
        for part in windows(frames, WINDOW, CONTEXT):
            piece = self._encode(mel[..., 2 * part.first : 2 * part.last])
            pieces.append(piece[:, part.start - part.first : part.stop - part.first])
        return torch.cat(pieces, dim=1)

    def mel(self, audio: Tensor) -> Tensor:
        """(B, N) to (B, mels, N // 160): logarithms, floored 8 decades below the loudest."""
        window = torch.hann_window(N_FFT, device=audio.device)
        spectrum = torch.stft(audio.float(), N_FFT, MEL_HOP, window=window, return_complex=True)[..., :-1]
        logs = (self.filters @ spectrum.abs().square()).clamp(min=1e-10).log10()
        logs = torch.maximum(logs, logs.amax(dim=(-2, -1), keepdim=True) - 8.0)
        return (logs + 4.0) / 4.0

    def _encode(self, mel: Tensor) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.positions[: x.shape[1]]
        total = torch.zeros((), device=x.device)
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number in self.layers:
                total = total + F.layer_norm(x.float(), (self.dim,))
        return total / len(self.layers)


class _Source:
    """The encoder's tensors, whatever they are called."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
        numbers = (re.match(r"encoder\.(?:layers|blocks)\.(\d+)\.", name) for name in self.tensors)
        self.layers = 1 + max((int(found[1]) for found in numbers if found), default=-1)

    def get(self, part: str, layer: int) -> dict[str, Tensor]:
        """Weight and, where there is one, bias. Raises CheckpointError."""
        for pattern in _NAMES[part]:
            name = pattern.format(i=layer)
            if f"{name}.weight" in self.tensors:
                keys = ("weight", "bias")
                return {key: self.tensors[f"{name}.{key}"].float() for key in keys if f"{name}.{key}" in self.tensors}
        missing = _NAMES[part][0].format(i=layer)
        raise CheckpointError(f"This is no Whisper encoder: it lacks the tensor `{missing}.weight`.")

    @property
    def positions(self) -> Tensor:
        for name in _POSITIONS:
            if name in self.tensors:
                return self.tensors[name].float()
        raise CheckpointError(f"This is no Whisper encoder: it lacks the tensor `{_POSITIONS[0]}`.")


def read_whisper(path: Path) -> dict[str, Tensor]:
    """The tensors of a Whisper file or directory, PyTorch names; nothing in the file runs. Raises CheckpointError."""
    if path.is_dir():
        known = ("model.safetensors", "pytorch_model.bin", "model.bin")
        found = [path / name for name in known if (path / name).is_file()]
        if not found:
            raise CheckpointError(f"{path} holds none of {', '.join(known)}: name a file of Whisper's weights.")
        path = found[0]
    if not path.is_file():
        raise CheckpointError(f"The Whisper weights {path} do not exist.")
    if path.suffix == ".safetensors":
        file = TensorFile.open(path)
        return {name: torch.from_numpy(file.read(name)) for name in file.names if "encoder." in name}
    with path.open("rb") as stream:
        start = stream.read(4)
    if path.suffix == ".bin" and start[:2] != b"PK" and 1 <= int.from_bytes(start, "little") < 100:
        return dict(_from_ctranslate2(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read as weights: {_brief(error)}.") from None
    content = content.get("model_state_dict", content) if isinstance(content, dict) else {}
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


_CT2_TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
_CT2_LAYER = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
_CT2_LEAVES = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def _from_ctranslate2(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Hugging Face's names and the values of the encoder in a CTranslate2 model."""
    for name, values in _ctranslate2_variables(path):
        part, _, leaf = name.removeprefix("encoder/").rpartition("/")
        if not name.startswith("encoder/") or values.ndim == 0:
            continue
        if values.dtype not in (np.float16, np.float32):
            raise CheckpointError(f"{path} is quantised; give Whisper's weights in full or half precision.")
        tensor = torch.from_numpy(values.astype(np.float32))
        if part == "position_encodings":
            yield "encoder.embed_positions.weight", tensor
        elif part in ("conv1", "conv2"):
            yield f"encoder.{part}.{_CT2_LEAVES[leaf]}", tensor
        elif found := re.fullmatch(r"layer_(\d+)/(.+)", part):
            prefix = f"encoder.layers.{found[1]}"
            if found[2] == "self_attention/linear_0":
                for which, third in zip("qkv", tensor.chunk(3), strict=True):
                    yield f"{prefix}.self_attn.{which}_proj.{_CT2_LEAVES[leaf]}", third
            elif found[2] in _CT2_LAYER:
                yield f"{prefix}.{_CT2_LAYER[found[2]]}.{_CT2_LEAVES[leaf]}", tensor


def _ctranslate2_variables(path: Path) -> Iterator[tuple[str, Any]]:
    """Name and array of every variable: a header, then name, shape, type, size and bytes of each."""
    data = path.read_bytes()
    position = 0

    def number(kind: str) -> int:
        nonlocal position
        (value,) = struct.unpack_from(f"<{kind}", data, position)
        position += struct.calcsize(kind)
        return cast(int, value)

    def text() -> str:
        nonlocal position
        length = number("H")
        position += length
        return data[position - length : position - 1].decode()  # a zero ends it

    try:
        number("I"), text(), number("I")  # versions, and the kind of model
        for _ in range(number("I")):
            name = text()
            shape = [number("I") for _ in range(number("B"))]
            kind = np.dtype(_CT2_TYPES[number("B")])
            size = number("I")
            yield name, np.frombuffer(data, kind, size // kind.itemsize, position).reshape(shape)
            position += size
    except (struct.error, IndexError, ValueError) as error:
        raise CheckpointError(f"{path} is no CTranslate2 model that can be read: {_brief(error)}.") from None


def _fill(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Raises RuntimeError for another shape. Whisper's keys have no bias."""
    own = module.state_dict()
    module.load_state_dict({name: values.get(name, torch.zeros_like(own[name])) for name in own})


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
