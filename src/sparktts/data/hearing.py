"""Through which encoder the passes over shards hear clips, if not through a codec's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError

if TYPE_CHECKING:
    import torch

    from ..train.features.cache import ClipFeatures


@dataclass(frozen=True)
class FeatureSource:
    """path: a checkpoint, a directory in wav2vec2's layout, or a file of Whisper's weights.

    layers: whose outputs are averaged, empty: what the checkpoint says. cache: folder of features that are kept, such
    as that of a training through the same encoder.
    """

    path: str
    layers: tuple[int, ...] = ()
    cache: str | None = None

    def open(self, root: Path, device: torch.device) -> ClipFeatures:
        """root: folder that the clips' audio is relative to. Raises CheckpointError, OptionError."""
        from ..train.features.cache import ClipFeatures
        from ..train.features.extractors import EncoderOptions, open_encoder

        path, cache = Path(self.path), None if self.cache is None else Path(self.cache)
        try:
            options = EncoderOptions(path, "whisper" if path.is_file() else "wav2vec2", self.layers, cache)
        except ValueError as error:
            raise OptionError(f"--features '{path}': {error}; name them by --layers.") from None
        return ClipFeatures(root, options, open_encoder(options, device), device)
