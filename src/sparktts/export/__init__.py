"""Export of whole checkpoints to graphs that ONNX Runtime runs without PyTorch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import Any

from ..checkpoint.blocks import BlockFormat
from ..checkpoint.convert import copy_descriptions, copy_presets
from ..checkpoint.exported import FORMAT, GRAPHS_DIR, MANIFEST, WEIGHTS
from ..checkpoint.layout import CODEC_DIR, LM_DIR, Checkpoint
from ..errors import OptionError
from ..files import new_directory
from .report import ExportReport, PartReport, Progress

MADE_WITH = ("sparktts", "numpy", "onnx", "onnxruntime", "torch")
CODEC_WEIGHTS = ("fp32", "fp16", "int8")
CODEC_BLOCKS = BlockFormat(8, 64)
_BLOCK = 1 << 20


def export(
    source: str | PathLike[str],
    target: str | PathLike[str],
    weights: str = "int4",
    full_head: bool = False,
    progress: Progress | None = None,
    codec_weights: str | None = None,
) -> ExportReport:
    """Writes a model that the onnx engine runs, and compares each part of it with the torch engine.

    weights: how the large matrices are stored: int4, int8 or fp32. full_head: also what `LanguageModel.logits` needs.
    progress: is told what is being done. codec_weights: how those of the codec and its recognisers are stored: fp32,
    fp16 or int8, which are all computed in float32; by default fp16, or fp32 if that is what `weights` says. The
    directory appears when it is complete. Raises CheckpointError for a bad source, OptionError for bad options, a bad
    target, or missing packages.
    """
    if weights not in WEIGHTS:
        raise OptionError(f"Weights are stored as {', '.join(WEIGHTS)}, not {weights!r:.40}.")
    codec_weights = codec_weights or ("fp32" if weights == "fp32" else "fp16")
    if codec_weights not in CODEC_WEIGHTS:
        raise OptionError(f"The codec's weights are stored as {', '.join(CODEC_WEIGHTS)}, not {codec_weights!r:.40}.")
    _require_packages()
    checkpoint = Checkpoint.open(source)
    if checkpoint.exported is not None:
        raise OptionError(f"{checkpoint.path} is an exported model already: give the checkpoint that it was made of.")
    target = Path(target)
    with new_directory(target) as directory:
        _copy_descriptions(checkpoint, directory)
        folder = directory / GRAPHS_DIR
        folder.mkdir()
        parts = tuple(_parts(checkpoint, folder, weights, codec_weights, full_head, progress or _silent))
        manifest = _manifest(checkpoint, folder, weights, parts)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        Checkpoint.open(directory)
    return ExportReport(target, weights, parts, sum(file["bytes"] for file in manifest["files"].values()))


def _parts(
    checkpoint: Checkpoint, folder: Path, weights: str, codec_weights: str, full_head: bool, progress: Progress
) -> Iterator[PartReport]:
    """Writes all graphs. folder: onnx/ of the new directory."""
    from .aligner import export_aligner
    from .codec import export_codec
    from .compare import compared
    from .graph import Storage
    from .language_model import export_language_model

    storage = Storage(half=codec_weights != "fp32", packed=CODEC_BLOCKS if codec_weights == "int8" else None)
    written = list(export_codec(checkpoint, folder, storage, progress))
    if checkpoint.options.aligner:
        written.append(export_aligner(checkpoint, folder, storage, progress))
    yield from compared(checkpoint, folder, written, progress)
    yield export_language_model(checkpoint, folder, weights, full_head, progress)


def _copy_descriptions(checkpoint: Checkpoint, directory: Path) -> None:
    """Configurations, tokenizer and licence, so that what reads checkpoints reads the new directory too."""
    copy_descriptions(checkpoint.path, directory, top=True)
    copy_presets(checkpoint, directory)
    for part in (CODEC_DIR, LM_DIR, *checkpoint.optional_directories):
        if (checkpoint.path / part).is_dir():
            (directory / part).mkdir()
            copy_descriptions(checkpoint.path / part, directory / part)


def _manifest(checkpoint: Checkpoint, folder: Path, weights: str, parts: tuple[PartReport, ...]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "weights": weights,
        "codec_fingerprint": checkpoint.codec_fingerprint,
        "source": checkpoint.name,
        "made_with": {name: found for name in MADE_WITH if (found := _version(name))},
        "parts": {part.name: dict(part.settings) for part in parts},
        "files": {path.name: _described(path) for path in sorted(folder.iterdir())},
        "verification": [part.verification() for part in parts],
    }


def _described(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _require_packages() -> None:
    """Raises OptionError when what only an export needs is not installed."""
    try:
        import onnx  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise OptionError(
            f'Exporting a model needs PyTorch and onnx, once ({error.name} is missing): pip install "sparktts[export]".'
        ) from None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _silent(_: str) -> None:
    """For callers that do not ask."""
