"""From an exported model back to a checkpoint: quantised matrices become floats again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path

from ..checkpoint.config import DecoderConfig
from ..checkpoint.convert import copy_descriptions, copy_presets
from ..checkpoint.exported import Exported
from ..checkpoint.fields import read_json
from ..checkpoint.layout import CODEC_DIR, LM_DIR, Checkpoint
from ..checkpoint.shapes import (
    WAV2VEC2_OPTIONAL,
    Shapes,
    bicodec_shapes,
    qwen2_shapes,
    wav2vec2_shapes,
)
from ..checkpoint.tensors import TensorFile, write_arriving
from ..errors import CheckpointError, OptionError
from ..files import new_directory
from .codec import FEATURE_MODEL, KEPT_FILE
from .folding import unfolded
from .graph import Array, plain, read_tensors
from .wave_generator import stored_convolutions

TYPES = {"keep": "F32", "fp32": "F32", "bf16": "BF16"}
CONFIGURED = {"F32": "float32", "BF16": "bfloat16"}


def restore(source: str | PathLike[str], target: str | PathLike[str], dtype: str = "keep") -> Path:
    """Writes a complete checkpoint of an exported model: safetensors, floats. Returns its directory.

    dtype: of the language model, fp32 (as `keep` is too) or bf16. Layers of the feature model that no token needs were
    not exported; its new config.json says so. Raises CheckpointError, OptionError.
    """
    if dtype not in TYPES:
        raise OptionError(f"The precision must be one of {', '.join(TYPES)}, not {dtype!r:.40}.")
    checkpoint = Checkpoint.open(source)
    if (exported := checkpoint.exported) is None:
        raise OptionError(f"{checkpoint.path} is not an exported model.")
    target = Path(target)
    with new_directory(target) as directory:
        copy_descriptions(checkpoint.path, directory, top=True)
        copy_presets(checkpoint, directory)
        for part in (CODEC_DIR, LM_DIR, *checkpoint.optional_directories):
            if (checkpoint.path / part).is_dir():
                (directory / part).mkdir()
                copy_descriptions(checkpoint.path / part, directory / part)
        file = TensorFile.open(exported.file(KEPT_FILE))
        kept = plain({name: file.read(name) for name in file.names})
        _write_codec(checkpoint, exported, kept, directory)
        _write_features(checkpoint, exported, kept, directory)
        _write_aligner(checkpoint, exported, directory)
        _write_language_model(checkpoint, exported, directory, TYPES[dtype])
        Checkpoint.open(directory)
    return target


def _write_codec(checkpoint: Checkpoint, exported: Exported, kept: Mapping[str, Array], directory: Path) -> None:
    tensors = _graphs(exported, "speaker_encoder", "semantic_encoder", "latents", "decoder", "refiner")
    tensors |= {name: values for name, values in kept.items() if not name.startswith(FEATURE_MODEL)}
    config = checkpoint.bicodec.decoder
    if isinstance(config, DecoderConfig):
        alphas = {name: values for name, values in tensors.items() if name.endswith(".alpha")}
        prefix = "decoder."
        own = {name.removeprefix(prefix): values for name, values in alphas.items()}
        plain = unfolded(stored_convolutions(tensors), own, config)
        tensors |= {prefix + name: values for name, values in plain.items()}
    _write(directory / CODEC_DIR, bicodec_shapes(checkpoint.bicodec), tensors)


def _write_features(checkpoint: Checkpoint, exported: Exported, kept: Mapping[str, Array], directory: Path) -> None:
    """The feature model up to the last layer that tokens need."""
    if not exported.has("features.onnx"):
        return
    place = directory / checkpoint.options.features.directory
    path = place / "config.json"
    content = {**read_json(path).values, "num_hidden_layers": max(checkpoint.options.features.layers)}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    tensors = _graphs(exported, "features_front", "features")
    names = [name for name in kept if name.startswith(FEATURE_MODEL)]
    tensors |= {name.removeprefix(FEATURE_MODEL): kept[name] for name in names}
    shapes = wav2vec2_shapes(Checkpoint(directory).wav2vec2)
    wanted = {name: shape for name, shape in shapes.items() if name in tensors or name not in WAV2VEC2_OPTIONAL}
    _write(place, wanted, tensors)


def _write_aligner(checkpoint: Checkpoint, exported: Exported, directory: Path) -> None:
    from ..checkpoint.aligner import AlignerConfig, aligner_shapes

    if checkpoint.options.aligner:
        shapes = aligner_shapes(AlignerConfig.read(checkpoint.aligner_dir / "config.json"))
        _write(directory / checkpoint.options.aligner, shapes, _graphs(exported, "aligner"))


def _write_language_model(checkpoint: Checkpoint, exported: Exported, directory: Path, dtype: str) -> None:
    from .restore_language_model import language_model_tensors

    target = directory / LM_DIR
    write_arriving(target / "model.safetensors", qwen2_shapes(checkpoint.lm), dtype, language_model_tensors(exported))
    content = dict(read_json(target / "config.json").values)
    content["dtype" if "dtype" in content else "torch_dtype"] = CONFIGURED[dtype]
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (target / "config.json").write_text(text, encoding="utf-8")


def _graphs(exported: Exported, *names: str) -> dict[str, Array]:
    """The tensors in those of the graphs that there are."""
    found: dict[str, Array] = {}
    for name in names:
        if exported.has(f"{name}.onnx"):
            found |= read_tensors(exported.file(f"{name}.onnx"))
    return found


def _write(directory: Path, shapes: Shapes, tensors: Mapping[str, Array]) -> None:
    """Convolutions may have been stored with a further axis."""

    def shaped() -> Iterator[tuple[str, Array]]:
        for name, shape in shapes.items():
            if name not in tensors:
                raise CheckpointError(f"The exported model lacks the tensor `{name}`: export it again.")
            yield name, tensors[name].reshape(shape)

    write_arriving(directory / "model.safetensors", shapes, "F32", shaped())
