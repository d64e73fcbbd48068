"""An exported model: graphs in onnx/, listed with their sizes and checksums in a manifest. No torch, no onnx."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .fields import Section, read_json

FORMAT = "sparktts.onnx/1"
GRAPHS_DIR = "onnx"
MANIFEST = "manifest.json"
WEIGHTS = ("int4", "int8", "fp32")
_BLOCK = 1 << 20
_AGAIN = "export the model again, or copy the directory again"


@dataclass(frozen=True)
class ExportedFile:
    """One file of an export, as its manifest describes it."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Exported:
    """What onnx/manifest.json says, after its files were found to be there and of the right size.

    path: the model's directory; weights: how the big matrices are stored; source: name of the checkpoint it was made
    of; made_with: versions of the programs; verification: how far each part is from the torch engine.
    """

    path: Path
    weights: str
    codec_fingerprint: str
    source: str
    made_with: Mapping[str, str]
    parts: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, ExportedFile]
    verification: tuple[Mapping[str, Any], ...]

    @staticmethod
    def is_at(path: str | PathLike[str]) -> bool:
        """Whether a directory holds an export."""
        return (Path(path) / GRAPHS_DIR / MANIFEST).is_file()

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Exported:
        """Reads the manifest, looks for its files and compares their sizes. Raises CheckpointError."""
        directory = Path(path)
        top = read_json(directory / GRAPHS_DIR / MANIFEST)
        if (found := top.text("format")) != FORMAT:
            raise top.error("format", f"is {found!r:.40}, but this version reads {FORMAT}; {_AGAIN}")
        exported = cls(
            path=directory,
            weights=_weights(top),
            codec_fingerprint=_matching(top, "codec_fingerprint", r"[0-9a-f]{16}", "16 hexadecimal digits"),
            source=top.text("source"),
            made_with={str(k): str(v) for k, v in top.section("made_with").values.items()},
            parts=_mappings(top.section("parts")),
            files=_files(top.section("files")),
            verification=tuple(_list_of_mappings(top, "verification")),
        )
        for name in exported.files:
            exported._require_size(name)
        return exported

    def file(self, name: str) -> Path:
        """The path of a file that the manifest lists. Raises CheckpointError."""
        if name not in self.files:
            raise CheckpointError(f"{self._manifest} lists no file {name!r:.60}: {_AGAIN}.")
        return self.path / GRAPHS_DIR / name

    def has(self, name: str) -> bool:
        """Whether the manifest lists a file."""
        return name in self.files

    def part(self, name: str) -> Mapping[str, Any]:
        """What the manifest says of a part. Raises CheckpointError when it was not exported."""
        if name not in self.parts:
            raise CheckpointError(f"{self.path} was exported without the part {name!r:.40}: {_AGAIN}.")
        return self.parts[name]

    def section(self, name: str) -> Section:
        """The same with typed access, whose errors name the file and the key. Raises CheckpointError."""
        return Section(str(self._manifest), self.part(name), f"parts.{name}.")

    def changes(self) -> Iterator[str]:
        """Reads every file and yields a sentence for each whose checksum is another one."""
        for name, expected in self.files.items():
            digest = hashlib.sha256()
            path = self.file(name)
            try:
                with path.open("rb") as file:
                    while block := file.read(_BLOCK):
                        digest.update(block)
            except OSError as error:
                yield f"{path} cannot be read: {error.strerror or error}."
                continue
            if digest.hexdigest() != expected.sha256:
                yield f"{path} was changed or damaged after the export: {_AGAIN}."

    @property
    def _manifest(self) -> Path:
        return self.path / GRAPHS_DIR / MANIFEST

    def _require_size(self, name: str) -> None:
        path, expected = self.file(name), self.files[name].bytes
        try:
            found = path.stat().st_size if path.is_file() else None
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
        if found is None:
            raise CheckpointError(f"{path} is missing: {_AGAIN}.")
        if found != expected:
            raise CheckpointError(f"{path} has {found} bytes, but {expected} were exported: {_AGAIN}.")


def _weights(top: Section) -> str:
    name = top.text("weights")
    if name not in WEIGHTS:
        raise top.error("weights", f"must be one of {', '.join(WEIGHTS)}, not {name!r:.40}")
    return name


def _files(section: Section) -> dict[str, ExportedFile]:
    files = {}
    for name in map(str, section.values):
        if re.fullmatch(r"\w[\w.-]{0,99}", name) is None:
            raise section.error(name[:60], "is not the plain name of a file")
        entry = section.section(name)
        size = entry.integer("bytes", low=0, high=1 << 48)
        files[name] = ExportedFile(size, _matching(entry, "sha256", r"[0-9a-f]{64}", "64 hexadecimal digits"))
    return files


def _mappings(section: Section) -> dict[str, Mapping[str, Any]]:
    return {str(name): section.section(name).values for name in section.values}


def _list_of_mappings(top: Section, key: str) -> list[Mapping[str, Any]]:
    value = top.values.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise top.error(key, "must be a list of mappings")
    return value


def _matching(section: Section, key: str, pattern: str, what: str) -> str:
    value = section.text(key)
    if re.fullmatch(pattern, value) is None:
        raise section.error(key, f"must be {what}, not {value!r:.40}")
    return value
