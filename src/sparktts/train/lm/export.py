"""From a trained model to a checkpoint in the published layout: fused projections apart, adapters merged."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import yaml
from torch import Tensor

from ...checkpoint.fields import read_yaml
from ...checkpoint.layout import LM_DIR, Checkpoint, checkpoint_directory
from ...checkpoint.stored import Array, to_bfloat16_bits
from ...checkpoint.tensors import TensorPlan, write_safetensors
from ...engine.torch.qwen2 import Qwen2, fused_rows
from ...errors import OptionError
from ...files import link_tree, new_directory
from ..run import load_checkpoint
from .adapters import Trained, adapt, merged_weights
from .options import LanguageModelOptions
from .start import CONFIG, COPIED, TOKENIZER, load_start

Precision = Literal["fp32", "bf16"]


def export_run(options: LanguageModelOptions, target: Path, which: str = "best", precision: Precision = "fp32") -> Path:
    """Writes a whole checkpoint from a run: its language model, and all else of `options.codec`.

    which: "best", "newest", or a step. The directory appears when it is complete. Raises CheckpointError, OptionError.
    """
    folder = options.run.out / LM_DIR
    if not (folder / CONFIG).is_file():
        raise OptionError(f"There is no run in {options.run.out}: train it with `sparktts train lm`.")
    content = load_checkpoint(_saved(options.run.out, which))
    start = load_start(options, folder)
    if options.lora is not None:
        adapt(start.model, options.lora, start.first_token)
    Trained(start.model).load_state_dict(content["state"]["model"])
    return write_checkpoint(options, start.model, target, precision)


def write_checkpoint(options: LanguageModelOptions, model: Qwen2, target: Path, precision: Precision = "fp32") -> Path:
    """Writes a whole checkpoint with this model. Raises OptionError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with new_directory(target) as directory:
        _write_surroundings(options, checkpoint_directory(options.codec), directory)
        write_language_model(model, directory / LM_DIR, precision)
        Checkpoint.open(directory)
    return target


def write_frame(options: LanguageModelOptions, codec: Path, target: Path) -> Path:
    """Writes a checkpoint, or writes it again, without the weights of a language model. Raises OptionError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with new_directory(target, replace=True) as directory:
        _write_surroundings(options, codec, directory)
    return target


def write_language_model(model: Qwen2, target: Path, precision: Precision = "fp32") -> None:
    """Writes the weights into LLM/, which holds the configuration and the tokenizer."""
    stored = "BF16" if precision == "bf16" else "F32"
    if precision == "bf16":
        text = (target / CONFIG).read_text(encoding="utf-8")
        (target / CONFIG).write_text(text.replace('"float32"', '"bfloat16"'), encoding="utf-8")
    plans = [
        TensorPlan(name, stored, tuple(value.shape), _reader(value, precision))
        for name, value in published_tensors(model)
    ]
    write_safetensors(target / "model.safetensors", plans)


def published_tensors(model: Qwen2) -> Iterator[tuple[str, Tensor]]:
    """Tensors under the published names: the rows of each fused projection under the names that they came from."""
    table = fused_rows(model.config)
    parts: dict[str, list[tuple[str, int, int]]] = {}
    for part, (fused, start, stop) in table.items():
        parts.setdefault(fused, []).append((part, start, stop))
    for name, value in merged_weights(model).items():
        fused = ".".join(name.split(".")[2:-1])
        prefix = "" if name.startswith("lm_head.") else "model."
        for part, start, stop in parts.get(fused, [(fused, 0, len(value))]):
            yield prefix + (name.replace(fused, part) if fused else name), value[start:stop]


def _reader(value: Tensor, precision: Precision) -> Callable[[], Array]:
    def read() -> Array:
        values: Array = value.detach().float().cpu().numpy()
        return to_bfloat16_bits(values) if precision == "bf16" else values

    return read


def _saved(out: Path, which: str) -> Path:
    folder = out / "checkpoints"
    newest = sorted(folder.glob("step-*.pt"), key=lambda path: int(path.stem[5:]) if path.stem[5:].isdigit() else -1)
    if which == "best":
        best = folder / "best.pt"
        if best.is_file() or not newest:
            return best
        return newest[-1]
    if which == "newest":
        if not newest:
            raise OptionError(f"{folder} holds no checkpoint yet.")
        return newest[-1]
    if not which.isdigit():
        raise OptionError(f"Export newest, best or the number of a step, not {which!r:.40}.")
    return folder / f"step-{which}.pt"


def _write_surroundings(options: LanguageModelOptions, codec: Path, target: Path) -> None:
    """All but the weights of the language model: the codec's files, the options, configuration and tokenizer."""
    for path in sorted(codec.iterdir()):
        if path.name not in (LM_DIR, "config.yaml", "README.md") and path.name[0] != ".":
            link_tree(path, target / path.name)
    _write_options(options, codec, target)
    files = options.run.out / LM_DIR
    (target / LM_DIR).mkdir()
    for name in (TOKENIZER, CONFIG, *COPIED):
        if (files / name).is_file():
            shutil.copyfile(files / name, target / LM_DIR / name)


def _write_options(options: LanguageModelOptions, codec: Path, target: Path) -> None:
    values = dict(read_yaml(codec / "config.yaml").values)
    for name, value, usual in (
        ("text_frontend", options.text_frontend, "text"),
        ("text_order", options.text_order, "text_first"),
    ):
        values.pop(name, None)
        if value != usual:
            values[name] = value
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    (target / "config.yaml").write_text(text, encoding="utf-8")
