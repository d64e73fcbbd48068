"""Semantic features of clips: computed when asked for, or once for all and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from ...audio.samples import Samples
from ...checkpoint.layout import Checkpoint
from ...engine.torch.parts import BiCodecParts
from ...engine.torch.wav2vec2 import Wav2Vec2Features, normalize
from ...errors import OptionError
from ...files import replacing
from ..run import Run

PART_CLIPS = 200  # clips in one file of the cache

Frames = npt.NDArray[np.floating]


class FeatureExtractor(Protocol):
    """What hears what is said: anything that gives one vector per token."""

    dim: int
    name: str  # equal for extractors that give the same features

    def __call__(self, audio: Samples) -> Frames:
        """(T, dim) features at the token rate. audio: (N,) samples of a whole clip."""


class Wav2Vec2Extractor:
    """A model in wav2vec2 architecture, frozen; implements FeatureExtractor."""

    def __init__(self, model: Wav2Vec2Features, name: str) -> None:
        self.model, self.name, self.dim = model.requires_grad_(False).eval(), name, model.hidden_size
        self.device = next(model.parameters()).device

    @classmethod
    def open(cls, directory: Path, layers: Sequence[int], device: torch.device) -> Wav2Vec2Extractor:
        """Raises CheckpointError."""
        return cls(Wav2Vec2Features.open(directory, layers, device), f"{_digest(directory)}-{list(layers)}")

    @classmethod
    def of(cls, checkpoint: Checkpoint, device: torch.device) -> Wav2Vec2Extractor:
        """The extractor of a checkpoint. Raises CheckpointError."""
        directory, layers = checkpoint.wav2vec2_dir, checkpoint.options.features.layers
        return cls(BiCodecParts(checkpoint, device).wav2vec2, f"{_digest(directory)}-{list(layers)}")

    def __call__(self, audio: Samples) -> Frames:
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            signal = torch.from_numpy(normalize(np.asarray(audio, np.float32))).to(self.device)
            frames: Frames = self.model(signal.unsqueeze(0))[0].cpu().numpy()
        return frames


class FeatureCache:
    """Features of all clips in half precision, in files of some hundred clips; made once, any part anew if missing."""

    def __init__(self, folder: Path, extractor: FeatureExtractor, clips: Sequence[str]) -> None:
        """clips: names by index; another list, or another extractor, is another cache in the same folder."""
        self.extractor, self.count = extractor, len(clips)
        key = hashlib.sha256("\n".join([extractor.name, *clips]).encode()).hexdigest()[:16]
        self.folder = folder / key

    def fill(self, run: Run, audio: Callable[[int], Samples]) -> None:
        """Computes what is missing, processes side by side. audio: samples of a clip by index. Raises OptionError."""
        missing = [part for part in range(-(-self.count // PART_CLIPS)) if not self._path(part).is_file()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for number, part in enumerate(missing[run.rank :: run.world_size]):
                run.say(f"Features: {number * PART_CLIPS * run.world_size} of {len(missing) * PART_CLIPS} clips.")
                self._compute(part, audio)
        except OSError as error:
            raise OptionError(
                f"The features cannot be kept in {self.folder} ({error.strerror or error}): make room or name another "
                "`features.cache`; what is there is kept."
            ) from None
        run.barrier()

    def frames(self, index: int, start: int, stop: int) -> Frames:
        """(stop - start, dim) features of a clip."""
        from safetensors import safe_open

        with safe_open(str(self._path(index // PART_CLIPS)), "numpy") as file:
            part: Frames = file.get_slice(str(index))[start:stop]
        return part.astype(np.float32)

    def length(self, index: int) -> int:
        """Frames of a clip."""
        from safetensors import safe_open

        with safe_open(str(self._path(index // PART_CLIPS)), "numpy") as file:
            return int(file.get_slice(str(index)).get_shape()[0])

    def _compute(self, part: int, audio: Callable[[int], Samples]) -> None:
        from safetensors.numpy import save_file

        indices = range(part * PART_CLIPS, min(self.count, (part + 1) * PART_CLIPS))
        arrays = {str(index): self.extractor(audio(index)).astype(np.float16) for index in indices}
        with replacing(self._path(part)) as temporary:
            save_file(arrays, str(temporary))

    def _path(self, part: int) -> Path:
        return self.folder / f"part-{part:05d}.safetensors"


def _digest(directory: Path) -> str:
    """What tells models apart: configuration, and size and beginning of the weights."""
    digest = hashlib.sha256()
    for path in sorted(directory.iterdir()):
        if path.suffix in (".json", ".safetensors", ".bin"):
            with path.open("rb") as file:
                digest.update(f"{path.name} {path.stat().st_size}".encode() + file.read(1 << 20))
    return digest.hexdigest()[:16]
