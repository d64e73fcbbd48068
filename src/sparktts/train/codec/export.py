"""A run's averaged weights as a checkpoint that the engine reads."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from torch import Tensor

from ...audio.mel import MelSpectrogram
from ...checkpoint.layout import CODEC_DIR, Checkpoint
from ...errors import CheckpointError, OptionError
from ...files import link_tree, replacing, write_atomically
from ..features.extractors import is_checkpoint
from ..options import read_options
from ..run import load_checkpoint
from .model import CodecModel
from .options import CodecTraining
from .trainer import codec_config, codec_section

Dtype = Literal["fp32", "fp16"]


def export(run: Path, target: Path, which: str = "newest", dtype: Dtype = "fp32") -> Path:
    """Writes BiCodec/, the feature model and config.yaml into `target`, a new or an existing checkpoint.

    run: directory of a run; which: `newest`, `best` or a step; dtype: of the matrices, `fp16` for half the size. What
    else is in `target` stays as it is, a language model among it. Where the tokens are those of init_from, everything
    else comes from there. Returns target. Raises CheckpointError, OptionError.
    """
    from safetensors.torch import save

    options = read_options(run / "config.yaml", CodecTraining)
    path = _chosen(run, which)
    state = load_checkpoint(path)["state"]
    config = codec_config(options)
    model = CodecModel(config, MelSpectrogram(**asdict(config.mel)), options.stage).prepare()
    try:
        model.load_state_dict(state["averaged"])
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"{path} does not fit {run / 'config.yaml'}: {' '.join(str(error).split())[:200]}"
        ) from None
    try:
        (target / CODEC_DIR).mkdir(parents=True, exist_ok=True)
        write_atomically(
            target / CODEC_DIR / "model.safetensors", save(_stored(model.folded(), dtype), {"format": "pt"})
        )
        section = yaml.safe_dump({"audio_tokenizer": codec_section(options)}, sort_keys=False)
        write_atomically(target / CODEC_DIR / "config.yaml", section.encode())
        _write_top(options, config.mel.sample_rate, config.hop, target)
        if options.stage == "decoder" and options.init_from is not None:
            _take_the_rest(options.init_from, target)
    except OSError as error:
        raise OptionError(f"{target} cannot be written: {error.strerror or error}.") from None
    Checkpoint.open_codec(target)
    return target


def _stored(tensors: dict[str, Tensor], dtype: Dtype) -> dict[str, Tensor]:
    """In that precision; vectors and what decides between tokens stay as they are."""
    if dtype == "fp32":
        return tensors
    exact = ("quantizer.", "speaker_encoder.quantizer.")
    return {
        name: tensor if tensor.dim() < 2 or name.startswith(exact) else tensor.half()
        for name, tensor in tensors.items()
    }


def _chosen(run: Path, which: str) -> Path:
    folder = run / "checkpoints"
    if which == "newest":
        found = sorted(folder.glob("step-*.pt"), key=lambda path: int(path.stem[5:]))
        if not found:
            raise OptionError(f"{run} holds no checkpoint yet: train first.")
        return found[-1]
    return folder / ("best.pt" if which == "best" else f"step-{which}.pt")


def _write_top(options: CodecTraining, sample_rate: int, hop: int, target: Path) -> None:
    """The top config.yaml: that of init_from or of the target, with what the codec decides; and the feature model."""
    content: dict[str, Any] = {}
    before = options.init_from
    for place in (target, before):
        if place is not None and (place / "config.yaml").is_file() and not content:
            content = yaml.safe_load((place / "config.yaml").read_text(encoding="utf-8")) or {}
    content.update(sample_rate=sample_rate, latent_hop_length=hop)
    content.setdefault("ref_segment_duration", int(options.data.reference_seconds))
    content.setdefault("segment_duration", options.data.segment_seconds)
    content.setdefault("volume_normalize", True)
    content.setdefault("highpass_cutoff_freq", 40)
    model = _feature_model(options)
    if model is not None:
        content["features"] = {"directory": model.directory.name, "layers": list(model.layers)}
    write_atomically(target / "config.yaml", yaml.safe_dump(content, sort_keys=False).encode())
    if model is not None:
        _copy_model(model.directory, target / model.directory.name)


def _take_the_rest(source: Path, target: Path) -> None:
    """What reads and writes the same tokens, and is not in `target`: language model, aligner, features, voices."""
    for path in sorted(source.iterdir()):
        if path.name[0] != "." and not (target / path.name).exists():
            link_tree(path, target / path.name)


class _FeatureModel(NamedTuple):
    directory: Path
    layers: tuple[int, ...]


def _feature_model(options: CodecTraining) -> _FeatureModel | None:
    """What the checkpoint hears through; None after Whisper, which `sparktts train features` makes a small one of."""
    source = options.features
    if source is not None and source.kind == "whisper":
        return None
    if source is not None and not is_checkpoint(source.path):
        return _FeatureModel(source.path.resolve(), source.layers)
    path = source.path if source is not None else options.init_from
    assert path is not None
    checkpoint = Checkpoint.open_codec(path)
    directory = checkpoint.path / checkpoint.options.features.directory
    layers = (source.layers if source else ()) or checkpoint.options.features.layers
    return _FeatureModel(directory.resolve(), layers) if directory.is_dir() else None


def _copy_model(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        return
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.suffix in (".json", ".safetensors", ".bin", ".md"):
            with replacing(target / path.name) as temporary:
                shutil.copyfile(path, temporary)
