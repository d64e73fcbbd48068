"""Features of whole clips: computed once and kept, where a folder is named, or each time they are asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...audio.loudness import normalize_volume
from ...data.audio_source import open_audio
from ...data.schema import Clip
from ...errors import AudioError, CheckpointError
from ...files import replacing
from ..options import plain
from ..run import Run
from .extractors import Encoder, EncoderOptions, encode_clip

CACHE_DIR = "features-cache"
TELL_EVERY = 200  # clips

Features = npt.NDArray[np.floating[Any]]  # (T, dim)


class ClipFeatures:
    """What an encoder hears in clips at normal volume; kept in half precision, 50 kB for a second of 512 values."""

    def __init__(
        self,
        root: Path,
        options: EncoderOptions,
        encoder: Encoder,
        device: torch.device | str = "cpu",
        folder: Path | None = None,
    ) -> None:
        """root: folder that the clips' audio is relative to; folder: where features are kept unless the options say."""
        self.root, self.encoder, self.device = root, encoder, device
        place = options.cache or folder
        source = {name: value for name, value in plain(options).items() if name != "cache"}
        key = hashlib.sha256(json.dumps([source, str(root)], sort_keys=True).encode()).hexdigest()[:12]
        self.folder = None if place is None else place / key

    @property
    def dim(self) -> int:
        """Values of one frame."""
        return self.encoder.dim

    def of(self, clip: Clip) -> Features:
        """(T, dim) features; only what is sliced off is read from the disk.

        Raises AudioError, OptionError for a broken tar, and CheckpointError when the disk is full.
        """
        path = self.path(clip)
        if path is not None and path.exists():
            kept: Features = np.load(path, mmap_mode="r")
            return kept
        features = encode_clip(self.encoder, normalize_volume(open_audio(self.root, clip.audio)), self.device)
        # Rounded even if not kept: what a training sees must not depend on the cache.
        rounded = features.astype(np.float16)
        if path is not None:
            keep(path, rounded)
        return rounded

    def path(self, clip: Clip) -> Path | None:
        """Where a clip's features are, once they have been asked for."""
        if self.folder is None:
            return None
        return clip_file(self.folder, clip)

    def fill(self, run: Run, clips: Sequence[Clip]) -> None:
        """Computes what is missing, each process its share; clips that cannot be read are left out and told.

        Nothing without a folder. Raises CheckpointError when the disk is full.
        """
        paths = [(clip, self.path(clip)) for clip in clips[run.rank :: run.world_size]]
        missing = [clip for clip, path in paths if path is not None and not path.exists()]
        for count, clip in enumerate(missing, start=1):
            try:
                self.of(clip)
            except AudioError as error:
                run.say(f"Left out: {error}")
            if count % TELL_EVERY == 0:
                run.say(f"Listened to {count} of {len(missing)} clips.")
        run.barrier()


def clip_file(folder: Path, clip: Clip) -> Path:
    """Where something that is computed of a clip is kept."""
    return folder / (hashlib.sha256(f"{clip.id}\n{clip.audio}".encode()).hexdigest()[:24] + ".npy")


def keep(path: Path, values: npt.NDArray[Any]) -> None:
    """Writes an array whole or not at all. Raises CheckpointError when the disk is full."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, values)
    except OSError as error:
        raise CheckpointError(
            f"'{path.parent}' cannot be written ({error.strerror or error}): make room and run the same command "
            "again; what is there is kept."
        ) from None
