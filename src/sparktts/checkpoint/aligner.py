"""The word recogniser of an on-demand checkpoint: a directory of config.json and model.safetensors, about 4 MB."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .config import KERNEL_LIMIT
from .fields import read_json
from .layout import Weights
from .shapes import Shapes
from .stored import Array

FORMAT = "sparktts.aligner/1"
LOWEST = -1e6


@dataclass(frozen=True)
class AlignerConfig:
    """What decides the shapes and the use of an aligner.

    input_dim: values per frame of the semantic features; width, kernel: of its two convolutions; symbols: the phonemes
    of outputs 1.., output 0 being the blank; threshold, word_threshold: mean log-probability per symbol of a clip, and
    of its worst word, below which the words are held not to be what is said; features: fingerprint of the encoder that
    it was trained through, None where that is not known.
    """

    input_dim: int
    symbols: tuple[str, ...]
    width: int = 256
    kernel: int = 5
    frame_rate: float = 50.0
    threshold: float = LOWEST
    word_threshold: float = LOWEST
    features: str | None = None

    @classmethod
    def read(cls, path: Path) -> AlignerConfig:
        """Reads config.json. Raises CheckpointError naming file and key."""
        top = read_json(path)
        if (found := top.text("format")) != FORMAT:
            raise top.error("format", f"must be {FORMAT}, not {found!r:.40}")
        symbols = top.values.get("symbols")
        if not isinstance(symbols, list) or not all(isinstance(s, str) and len(s) == 1 for s in symbols):
            raise top.error("symbols", "must be a list of phonemes, one character each")
        if not symbols or len(set(symbols)) < len(symbols):
            raise top.error("symbols", "must be a list of different phonemes, at least one")
        kernel = top.integer("kernel", high=KERNEL_LIMIT)
        if kernel % 2 == 0:
            raise top.error("kernel", f"must be odd, so that the convolution is centred, not {kernel}")
        return cls(
            input_dim=top.integer("input_dim"),
            symbols=tuple(symbols),
            width=top.integer("width"),
            kernel=kernel,
            frame_rate=top.number("frame_rate", 50.0, low=1.0, high=1e4),
            threshold=top.number("threshold", LOWEST, low=LOWEST, high=0.0),
            word_threshold=top.number("word_threshold", LOWEST, low=LOWEST, high=0.0),
            features=top.text("features") if top.has("features") else None,
        )

    def values(self) -> dict[str, Any]:
        """What config.json holds."""
        return {"format": FORMAT, **asdict(self), "symbols": list(self.symbols)}


def aligner_shapes(config: AlignerConfig) -> Shapes:
    """All tensors of an aligner."""
    c = config
    return {
        "mean": (c.input_dim,),
        "scale": (c.input_dim,),
        "first.weight": (c.width, c.input_dim, c.kernel),
        "first.bias": (c.width,),
        "second.weight": (c.width, c.width, c.kernel),
        "second.bias": (c.width,),
        "head.weight": (len(c.symbols) + 1, c.width),
        "head.bias": (len(c.symbols) + 1,),
    }


def aligner_weights(directory: Path, config: AlignerConfig) -> Weights:
    """The tensors of an aligner. Raises CheckpointError."""
    return Weights.open(directory, aligner_shapes(config))


def read_aligner(directory: Path) -> tuple[AlignerConfig, dict[str, Array]]:
    """Configuration and float32 tensors. Raises CheckpointError."""
    if not directory.is_dir():
        raise CheckpointError(f"{directory} is missing: the word recogniser, which `sparktts train aligner` makes.")
    config = AlignerConfig.read(directory / "config.json")
    return config, aligner_weights(directory, config).require_sound().read_layers()
