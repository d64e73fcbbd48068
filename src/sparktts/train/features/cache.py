"""Features of whole clips, computed once and kept beside a run: no encoder is run twice on the same clip."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ...audio.samples import Samples
from ...data.schema import Clip
from ...errors import OptionError
from ...files import replacing
from ..options import plain
from .extractors import Encoder, EncoderOptions, encode_clip

CACHE_DIR = "features-cache"

Features = npt.NDArray[np.float16]  # (T, dim)


class FeatureCache:
    """Features by clip, in half precision: about 50 kB for a second of 512 values a frame."""

    def __init__(
        self, run: Path, root: Path, options: EncoderOptions, encoder: Encoder, device: torch.device | str = "cpu"
    ) -> None:
        """run: directory of the run; root: folder that the clips' audio is relative to."""
        key = json.dumps([plain(options), str(root)], sort_keys=True)
        self.folder = run / CACHE_DIR / hashlib.sha256(key.encode()).hexdigest()[:12]
        self.encoder, self.device = encoder, device

    def path(self, clip: Clip) -> Path:
        """Where a clip's features are, once they have been asked for."""
        return self.folder / (hashlib.sha256(f"{clip.id}\n{clip.audio}".encode()).hexdigest()[:24] + ".npy")

    def get(self, clip: Clip, samples: Samples) -> Features:
        """(T, dim) features. samples: (N,) the clip's, at 16 kHz. Raises OptionError when the disk is full."""
        path = self.path(clip)
        if path.exists():
            kept: Features = np.load(path)
            return kept
        features = encode_clip(self.encoder, samples, self.device).astype(np.float16)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, features)
        except OSError as error:
            raise OptionError(
                f"'{self.folder}' cannot be written ({error.strerror or error}): make room and run the same command "
                "again."
            ) from None
        return features
