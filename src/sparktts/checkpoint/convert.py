"""Rewriting checkpoints: to safetensors throughout, and to another precision of the language model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from ..errors import OptionError
from ..files import new_directory
from .fields import read_json
from .layout import CODEC_DIR, LM_DIR, VOICES_DIR, Checkpoint
from .stored import FLOATS, Array, to_bfloat16_bits
from .tensors import TensorFile, TensorPlan, TensorSource, open_weights, write_safetensors

DTYPES = ("keep", "fp32", "bf16")
_STORED = {"fp32": "F32", "bf16": "BF16"}
_CONFIGURED = {"fp32": "float32", "bf16": "bfloat16"}
_COPIED = (".json", ".yaml", ".yml", ".txt", ".md", ".jinja", "")  # everything that is not weights
_TOP_FILES = ("config.yaml", "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE", "NOTICE.txt")


def convert_checkpoint(source: str | PathLike[str], target: str | PathLike[str], dtype: str = "keep") -> Path:
    """Writes a complete checkpoint in the official layout, all weights as safetensors. Returns its directory.

    dtype: "keep", "fp32" or "bf16", for the language model alone. The directory appears when it is complete.
    Raises CheckpointError for a bad source, OptionError for a bad target or dtype.
    """
    if dtype not in DTYPES:
        why = " (fp16 overflows in this language model)" if dtype == "fp16" else ""
        raise OptionError(f"The precision must be one of {', '.join(DTYPES)}, not {dtype!r:.40}{why}.")
    checkpoint = Checkpoint.open(source)
    target = Path(target)
    with new_directory(target) as directory:
        copy_descriptions(checkpoint.path, directory, top=True)
        copy_presets(checkpoint, directory)
        for part in (CODEC_DIR, LM_DIR, *checkpoint.optional_directories):
            if (checkpoint.path / part).is_dir():
                _convert_part(checkpoint, part, directory / part, dtype if part == LM_DIR else "keep")
        Checkpoint.open(directory)
    return target


def convert_bin_to_safetensors(source: str | PathLike[str], target: str | PathLike[str]) -> None:
    """Writes the tensors of a torch file as safetensors: equal names, types, values; replaces an old target.

    Nothing in the source runs. Raises CheckpointError for a bad source, OptionError for an unwritable target.
    """
    tensors = TensorFile.open(source)
    write_safetensors(Path(target), _plans(tensors, tensors.names, "keep"))


def _convert_part(checkpoint: Checkpoint, part: str, target: Path, dtype: str) -> None:
    directory = checkpoint.path / part
    target.mkdir()
    copy_descriptions(directory, target)
    tensors, _ = open_weights(directory)
    names: Iterable[str] = tensors.names
    if part == LM_DIR and checkpoint.lm.tie_word_embeddings:
        names = [name for name in names if name != "lm_head.weight"]  # a repetition of the embedding
    write_safetensors(target / "model.safetensors", _plans(tensors, names, dtype))
    if dtype in _CONFIGURED:
        _set_configured_type(target / "config.json", _CONFIGURED[dtype])


def _plans(tensors: TensorSource, names: Iterable[str], dtype: str) -> list[TensorPlan]:
    return [_plan(tensors, name, dtype) for name in names]


def _plan(tensors: TensorSource, name: str, dtype: str) -> TensorPlan:
    stored, shape = tensors.dtype(name), tensors.shape(name)
    wanted = _STORED.get(dtype, stored)
    if stored == wanted or stored not in FLOATS:
        return TensorPlan(name, stored, shape, lambda: tensors.read_stored(name))
    if wanted == "F32":
        return TensorPlan(name, wanted, shape, lambda: tensors.read(name))

    def rounded() -> Array:
        return to_bfloat16_bits(tensors.read(name))

    return TensorPlan(name, wanted, shape, rounded)


def _set_configured_type(path: Path, name: str) -> None:
    """What transformers loads the weights as."""
    values = dict(read_json(path).values)
    values["dtype" if "dtype" in values else "torch_dtype"] = name
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def copy_presets(checkpoint: Checkpoint, target: Path) -> None:
    """Copies the voices that came with a checkpoint. Raises OSError."""
    if checkpoint.presets is not None:
        shutil.copytree(checkpoint.presets, target / VOICES_DIR)


def copy_descriptions(source: Path, target: Path, top: bool = False) -> None:
    """Copies the files of a directory that are not weights, following the links that a hub's cache is made of.

    top: of a checkpoint's own directory, only those that belong to it. Raises OSError.
    """
    for path in sorted(source.iterdir()):
        known = path.name in _TOP_FILES if top else path.suffix in _COPIED and ".index." not in path.name
        if known and path.name[0] != "." and path.is_file():
            shutil.copyfile(path, target / path.name)
