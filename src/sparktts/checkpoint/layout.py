"""A checkpoint directory in the official layout: what must be there, and how its tensors are read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from .config import (
    MAX_LAYERS,
    BiCodecConfig,
    CodecOptions,
    LanguageModelConfig,
    Wav2Vec2Config,
    check_agreement,
    check_features,
)
from .exported import Exported
from .shapes import (
    BICODEC_IGNORED,
    WAV2VEC2_IGNORED,
    WAV2VEC2_OPTIONAL,
    Shapes,
    bicodec_shapes,
    differences,
    matches,
    qwen2_shapes,
    wav2vec2_shapes,
)
from .stored import STORED_TYPES, Array
from .tensors import FoldedTensors, open_weights

CODEC_DIR = "BiCodec"
LM_DIR = "LLM"
VOICES_DIR = "voices"
OFFICIAL_NAME = "Spark-TTS-0.5B"
OFFICIAL_LICENCE = "CC BY-NC-SA 4.0 (no commercial use)"
# The tensors that decide what a token stands for: two codecs with equal ones understand each other's tokens.
FINGERPRINTED = (
    "quantizer.codebook.weight",
    "speaker_encoder.quantizer.project_in.weight",
    "speaker_encoder.quantizer.project_in.bias",
)
GET = "`sparktts model download` gets a complete checkpoint"
_REPO_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Weights:
    """The tensors of one model inside a checkpoint, with the names and shapes that it should have."""

    where: Path
    source: FoldedTensors
    expected: Shapes
    stored_names: dict[str, str]  # expected name -> name in the file
    problems: tuple[str, ...]

    @classmethod
    def open(
        cls,
        directory: Path,
        expected: Shapes,
        ignored: tuple[str, ...] = (),
        optional: tuple[str, ...] = (),
        prefix: str = "",
    ) -> Weights:
        """Reads the index and compares it: `ignored` parts are dropped, `prefix` is cut off names.

        Raises CheckpointError.
        """
        stored, where = open_weights(directory)
        source = FoldedTensors.of(stored, str(where))
        names = {
            name.removeprefix(prefix): name
            for name in source.names
            if not matches(name, ignored) and not name.endswith(".num_batches_tracked")
        }
        expected = {k: v for k, v in expected.items() if k in names or k not in optional}
        found = {name: source.shape(stored_name) for name, stored_name in names.items()}
        return cls(where, source, expected, names, tuple(differences(expected, found, str(where))))

    def require_sound(self) -> Weights:
        """Raises CheckpointError with the first problem."""
        if self.problems:
            first, more = self.problems[0], len(self.problems) - 1
            if more:
                first = f"{first.removesuffix('.')} ({more} more such problems: `sparktts model check` lists them)."
            raise CheckpointError(first)
        return self

    def read_layers(self, layers: int | None = None) -> dict[str, Array]:
        """float32 values by name, of no more than the first so many transformer layers. Raises CheckpointError."""
        return {name: self.read(name) for name in self.expected if _layer(name) < (layers or MAX_LAYERS)}

    def read(self, name: str) -> Array:
        """float32 values of one tensor. Raises CheckpointError."""
        values = self.source.read(self.stored_names[name])
        if values.dtype != np.float32:
            raise CheckpointError(f"{self.where}: the tensor `{name}` holds {values.dtype} values, not floats.")
        return values


class Checkpoint:
    """A checkpoint whose files are all there and whose tensors have the right names and shapes.

    Values are read when asked for. The wav2vec2 model is needed for transcripts only, so its absence is no
    error before it is asked for. exported: the graphs of a model that `sparktts model export` wrote, which holds no
    tensors; None for all others.
    """

    path: Path
    options: CodecOptions
    bicodec: BiCodecConfig
    exported: Exported | None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.options = CodecOptions.read(path / "config.yaml")
        self.bicodec = BiCodecConfig.read(path / CODEC_DIR / "config.yaml")
        check_agreement(self.options, self.bicodec, path / CODEC_DIR / "config.yaml")
        self.exported = Exported.open(path) if Exported.is_at(path) else None

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Checkpoint:
        """Opens and validates a checkpoint directory without reading values. Raises CheckpointError."""
        checkpoint = cls.open_codec(path)
        if checkpoint.exported is None:
            checkpoint._lm_weights.require_sound()
        _ = checkpoint.lm, checkpoint.tokenizer_path
        return checkpoint

    @classmethod
    def open_codec(cls, path: str | PathLike[str]) -> Checkpoint:
        """The same for a directory that may hold a codec only, as codec training exports it. Raises CheckpointError."""
        checkpoint = cls(checkpoint_directory(path))
        if checkpoint.exported is None:
            checkpoint._codec_weights.require_sound()
        return checkpoint

    @cached_property
    def lm(self) -> LanguageModelConfig:
        """Configuration of the language model. Raises CheckpointError."""
        return LanguageModelConfig.read(self.path / LM_DIR / "config.json")

    @property
    def name(self) -> str:
        """The directory's name; for a snapshot in the hub's cache, the repository's."""
        path = self.path.resolve()
        if path.parent.name == "snapshots" and path.parent.parent.name.startswith("models--"):
            return path.parent.parent.name.split("--")[-1]
        return path.name

    @property
    def tokenizer_path(self) -> Path:
        """LLM/tokenizer.json. Raises CheckpointError."""
        return _existing(self.path / LM_DIR / "tokenizer.json")

    def bicodec_tensors(self, *parts: str) -> dict[str, Array]:
        """float32 values of the codec's tensors under the given dotted prefixes, all of them without any.

        Names are official ("prenet.linear.weight"), weight norm folded. Raises CheckpointError.
        """
        weights = self._codec_weights.require_sound()
        chosen = [name for name in weights.expected if not parts or matches(name, parts)]
        for part in parts:
            if not any(matches(name, (part,)) for name in chosen):
                raise CheckpointError(f"The codec has no part `{part}`.")
        return {name: weights.read(name) for name in chosen}

    def lm_tensors(self, skip: Collection[str] = ()) -> Iterator[tuple[str, Array]]:
        """Name and float32 values of each tensor of the language model, one in memory at a time.

        Raises CheckpointError.
        """
        weights = self._lm_weights.require_sound()
        for name in weights.expected:
            if name not in skip:
                yield name, weights.read(name)

    def lm_mapped(self, name: str) -> tuple[Array, str]:
        """One tensor of the language model mapped from its file, and its type, as safetensors names it.

        Values are as stored (BF16: uint16 bits). Rows that are never read take no memory. Raises CheckpointError.
        """
        weights = self._lm_weights.require_sound()
        stored = weights.stored_names[name]
        return weights.source.map(stored), weights.source.dtype(stored)

    @property
    def presets(self) -> Path | None:
        """Directory of the voices that came with it, if there are any."""
        directory = self.path / VOICES_DIR
        return directory if directory.is_dir() else None

    @property
    def optional_directories(self) -> tuple[str, ...]:
        """Directories of models that a checkpoint may lack: that of the semantic features, that of the aligner."""
        aligner = self.options.aligner
        return (self.options.features.directory, *((aligner,) if aligner else ()))

    @property
    def wav2vec2_dir(self) -> Path:
        """Directory of the wav2vec2 model. Raises CheckpointError when it is not there."""
        directory = self.path / self.options.features.directory
        if not directory.is_dir():
            raise CheckpointError(
                f"{directory} is missing: cloning with a transcript and encoding need it; {GET},"
                " or clone without a transcript."
            )
        return directory

    @property
    def aligner_dir(self) -> Path:
        """Directory of the word recogniser. Raises CheckpointError when the checkpoint has none."""
        if not self.options.aligner:
            raise CheckpointError(f"{self.path} has no word recogniser (`aligner` in its config.yaml).")
        return self.path / self.options.aligner

    @cached_property
    def wav2vec2(self) -> Wav2Vec2Config:
        """Configuration of the wav2vec2 model. Raises CheckpointError, also when it does not fit the codec."""
        file = self.wav2vec2_dir / "config.json"
        config = Wav2Vec2Config.read(file)
        check_features(self.options, self.bicodec, config, file)
        return config

    def wav2vec2_tensors(self, layers: int | None = None) -> dict[str, Array]:
        """float32 values of the wav2vec2 model: names without `wav2vec2.`, pretraining heads dropped, folded.

        layers: read no more than the first so many transformer layers. Raises CheckpointError.
        """
        return self._wav2vec2_weights.require_sound().read_layers(layers)

    @cached_property
    def codec_fingerprint(self) -> str:
        """16 hex digits, equal for codecs whose tokens mean the same. Raises CheckpointError."""
        if self.exported is not None:
            return self.exported.codec_fingerprint
        digest = hashlib.sha256()
        for name in FINGERPRINTED:
            digest.update(np.ascontiguousarray(self._codec_weights.read(name), dtype="<f4").tobytes())
        return digest.hexdigest()[:16]

    @property
    def transcripts(self) -> bool:
        """Whether it can hear what is said in a clip: a checkpoint may lack its feature model."""
        if self.exported is not None:
            return self.exported.has("features.onnx")
        return (self.path / self.options.features.directory).is_dir()

    def describe(self) -> dict[str, Any]:
        """Facts for people: sizes, rates, fingerprint, licence when known. Raises CheckpointError."""
        shapes = {"codec": bicodec_shapes(self.bicodec), "language model": qwen2_shapes(self.lm)}
        if self.transcripts:
            shapes["wav2vec2"] = wav2vec2_shapes(self.wav2vec2)
        return {
            "name": self.name,
            "path": str(self.path),
            "parameters": {name: _values(part) for name, part in shapes.items()},
            "dtypes": self._dtypes(),
            "sample_rate": self.options.sample_rate,
            "tokens_per_second": self.options.sample_rate / self.bicodec.hop,
            "codebook_size": self.bicodec.quantizer.codebook_size,
            "global_tokens": self.bicodec.speaker_encoder.token_num,
            "receptive_field": self.bicodec.receptive_field,
            "vocabulary": self.lm.vocab_size,
            "layers": self.lm.num_hidden_layers,
            "hidden_size": self.lm.hidden_size,
            "fingerprint": self.codec_fingerprint,
            "transcripts": self.transcripts,
            "licence": self.licence,
        }

    def _dtypes(self) -> dict[str, tuple[str, ...]]:
        if self.exported is not None:
            return {str(part["part"]).replace("_", " "): (str(part["weights"]),) for part in self.exported.verification}
        return {"codec": _dtypes(self._codec_weights), "language model": _dtypes(self._lm_weights)}

    @property
    def licence(self) -> str | None:
        """What the checkpoint's README.md declares, else what is known of the official name, else None."""
        return _declared_licence(self.path / "README.md") or (OFFICIAL_LICENCE if self.name == OFFICIAL_NAME else None)

    @cached_property
    def _codec_weights(self) -> Weights:
        self._require_weights()
        return Weights.open(self.path / CODEC_DIR, bicodec_shapes(self.bicodec), BICODEC_IGNORED)

    @cached_property
    def _lm_weights(self) -> Weights:
        self._require_weights()
        # A tied head is sometimes stored as well: it repeats the embedding.
        ignored = ("lm_head.weight",) if self.lm.tie_word_embeddings else ()
        return Weights.open(self.path / LM_DIR, qwen2_shapes(self.lm), ignored)

    @cached_property
    def _wav2vec2_weights(self) -> Weights:
        self._require_weights()
        return wav2vec2_weights(self.wav2vec2_dir, self.wav2vec2)

    def _require_weights(self) -> None:
        if self.exported is not None:
            raise CheckpointError(
                f"{self.path} is an exported model, which only the onnx engine runs: `sparktts model convert` makes a"
                " checkpoint of it."
            )


def wav2vec2_weights(directory: Path, config: Wav2Vec2Config) -> Weights:
    """The tensors of a model in wav2vec2 architecture, inside a checkpoint or not. Raises CheckpointError."""
    return Weights.open(directory, wav2vec2_shapes(config), WAV2VEC2_IGNORED, WAV2VEC2_OPTIONAL, prefix="wav2vec2.")


@dataclass(frozen=True)
class PartReport:
    """One model of a checkpoint: tensors that are used, their values, stored bytes and stored types."""

    name: str
    tensors: int
    values: int
    bytes: int
    dtypes: tuple[str, ...]


@dataclass(frozen=True)
class CheckReport:
    """What `check` found. problems: one sentence each; none means that the checkpoint is sound."""

    path: Path
    problems: tuple[str, ...]
    parts: tuple[PartReport, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def check(path: str | PathLike[str]) -> CheckReport:
    """Reads every tensor of a checkpoint and reports all problems instead of stopping at the first.

    A checkpoint without a wav2vec2 directory is sound: it speaks and clones, without transcripts.
    """
    problems: list[str] = []
    parts: list[PartReport] = []
    try:
        checkpoint = Checkpoint(checkpoint_directory(path))
    except CheckpointError as error:
        return CheckReport(Path(path), (str(error),), ())
    if checkpoint.exported is not None:
        return _check_exported(checkpoint, checkpoint.exported)
    openers: list[tuple[str, Callable[[], Weights]]] = [
        ("codec", lambda: checkpoint._codec_weights),
        ("language model", lambda: checkpoint._lm_weights),
    ]
    if (checkpoint.path / checkpoint.options.features.directory).exists():
        openers.append(("wav2vec2", lambda: checkpoint._wav2vec2_weights))
    if (aligner := _aligner_opener(checkpoint)) is not None:
        openers.append(("aligner", aligner))
    for name, opener in openers:
        try:
            weights = opener()
        except CheckpointError as error:
            problems.append(str(error))
            continue
        problems += [*weights.problems, *_bad_values(weights)]
        parts.append(_part_report(name, weights))
    try:
        _ = checkpoint.tokenizer_path
    except CheckpointError as error:
        problems.append(str(error))
    return CheckReport(checkpoint.path, tuple(problems), tuple(parts))


def _check_exported(checkpoint: Checkpoint, exported: Exported) -> CheckReport:
    """Reads every file of an exported model. Its parts are its files."""
    problems = list(exported.changes())
    try:
        _ = checkpoint.lm, checkpoint.tokenizer_path
    except CheckpointError as error:
        problems.append(str(error))
    stored = {name: str(part["weights"]) for part in exported.verification for name in part.get("files", ())}
    parts = [
        PartReport(name, tensors=0, values=0, bytes=file.bytes, dtypes=(stored.get(name, exported.weights),))
        for name, file in exported.files.items()
    ]
    return CheckReport(checkpoint.path, tuple(problems), tuple(parts))


def checkpoint_directory(path: str | PathLike[str]) -> Path:
    """The directory that a path names. Raises CheckpointError saying how to get a model."""
    directory = Path(path)
    try:
        if directory.is_dir():
            return directory
        exists = directory.exists()
    except (OSError, ValueError):  # too long, or holding a zero character
        exists = False
    if exists:
        raise CheckpointError(f"{directory} is a file, but a model is a directory with BiCodec/ and LLM/ in it.")
    shown = repr(str(path))[:200]
    if is_repository_name(str(path)):
        raise CheckpointError(f"There is no model {shown} here; `sparktts model download {path}` downloads it.")
    raise CheckpointError(f"The model directory {shown} does not exist; {GET}.")


def is_repository_name(text: str) -> bool:
    """Whether a text has the form `owner/name`."""
    return _REPO_ID.fullmatch(text) is not None


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; {GET}.")
    return path


def _aligner_opener(checkpoint: Checkpoint) -> Callable[[], Weights] | None:
    """How to open the word recogniser of a checkpoint that has one."""
    from .aligner import AlignerConfig, aligner_weights

    if not checkpoint.options.aligner:
        return None
    directory = checkpoint.aligner_dir
    return lambda: aligner_weights(directory, AlignerConfig.read(directory / "config.json"))


def _bad_values(weights: Weights) -> Iterator[str]:
    for name, shape in weights.expected.items():
        if name not in weights.stored_names or weights.source.shape(weights.stored_names[name]) != shape:
            continue
        try:
            values = weights.read(name)
        except CheckpointError as error:
            yield str(error)
            continue
        if bad := values.size - int(np.count_nonzero(np.isfinite(values))):
            yield f"{weights.where}: the tensor `{name}` has {bad} values that are not finite numbers."


def _part_report(name: str, weights: Weights) -> PartReport:
    source = weights.source
    stored = [member for tensor in weights.stored_names.values() for member in source.parts[tensor]]
    sizes = [(int(np.prod(source.source.shape(m), dtype=object)), source.source.dtype(m)) for m in stored]
    return PartReport(
        name=name,
        tensors=len(weights.stored_names),
        values=_count(weights),
        bytes=sum(count * STORED_TYPES[dtype].itemsize for count, dtype in sizes),
        dtypes=_dtypes(weights),
    )


def _layer(name: str) -> int:
    """Number of the transformer layer that a tensor belongs to; 0 for the others."""
    found = re.match(r"encoder\.layers\.(\d+)\.", name)
    return int(found[1]) if found else 0


def _count(weights: Weights) -> int:
    return _values(weights.expected)


def _values(shapes: Shapes) -> int:
    """How many numbers tensors of these shapes hold."""
    return sum(int(np.prod(shape, dtype=object)) for shape in shapes.values())


def _dtypes(weights: Weights) -> tuple[str, ...]:
    return tuple(sorted({weights.source.dtype(name) for name in weights.stored_names.values()}))


def _declared_licence(readme: Path) -> str | None:
    """The `license:` entry in the first lines of a model card, tidied."""
    try:
        head = readme.read_bytes()[:4096].decode("utf-8", "replace")
    except OSError:
        return None
    match = re.search(r"^license:\s*([\w.-]{1,60})\s*$", head, re.MULTILINE)
    if not head.startswith("---") or not match:
        return None
    return OFFICIAL_LICENCE if match[1].lower() == "cc-by-nc-sa-4.0" else match[1]
