"""The model that a training starts with: from scratch, from Qwen2.5, or from a Spark-TTS checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ...checkpoint.config import BiCodecConfig, LanguageModelConfig
from ...checkpoint.fields import read_json
from ...checkpoint.layout import CODEC_DIR, LM_DIR, Weights, checkpoint_directory
from ...checkpoint.shapes import qwen2_shapes
from ...engine.torch.qwen2 import Qwen2
from ...files import write_atomically
from ...tokenizer import SparkTokenizer
from .options import LanguageModelOptions, ModelOptions
from .vocabulary import STOP, extended_tokenizer, rows_for, small_tokenizer

if TYPE_CHECKING:
    import tokenizers

GAIN = 0.6  # of initial weights: 0.6 / sqrt(inputs) is Qwen2.5's 0.02 at its width of 896
TOKENIZER = "tokenizer.json"
CONFIG = "config.json"
COPIED = ("tokenizer_config.json", "generation_config.json", "special_tokens_map.json", "added_tokens.json")


@dataclass
class Start:
    """A model and what it is exported with. config_json: the content of LLM/config.json; fresh_rows: rows of the
    embedding that no one has trained yet, from this one on."""

    model: Qwen2
    tokenizer: SparkTokenizer
    config_json: dict[str, Any]
    fresh_rows: int | None = None

    @property
    def first_token(self) -> int:
        """The first id of the Spark-TTS tokens."""
        return min(self.tokenizer.speaker.first, self.tokenizer.semantic.first)


def prepare_files(options: LanguageModelOptions, texts: Callable[[], Iterable[str]], always: str) -> Path:
    """Writes tokenizer.json and config.json of the run, unless they are there. Returns their folder.

    texts: what a tokenizer from scratch is made of; always: characters that it has in any case. Raises CheckpointError.
    """
    folder = options.run.out / LM_DIR
    if (folder / CONFIG).is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    source = _source_directory(options.model, options.checkpoint)
    if options.model.source == "spark":
        assert source is not None
        shutil.copyfile(source / TOKENIZER, folder / TOKENIZER)
        values = dict(read_json(source / CONFIG).values)
    else:
        codec = BiCodecConfig.read(checkpoint_directory(options.codec) / CODEC_DIR / "config.yaml")
        codes = codec.quantizer.codebook_size, codec.speaker_encoder.codes
        if source is None:
            tokenizer = small_tokenizer(texts(), *codes, always=always)
            values = _scratch_config(options.model, tokenizer)
        else:
            tokenizer = extended_tokenizer(source / TOKENIZER, *codes)
            values = dict(read_json(source / CONFIG).values)
            values["vocab_size"] = max(rows_for(tokenizer), int(values.get("vocab_size", 0)))
            values["eos_token_id"] = tokenizer.token_to_id(STOP)
        write_atomically(folder / TOKENIZER, tokenizer.to_str(pretty=False).encode())
    for name in COPIED:
        if source is not None and (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if values.pop("torch_dtype", None) or "dtype" not in values:
        values["dtype"] = "float32"
    write_atomically(folder / CONFIG, json.dumps(values, indent=2).encode())  # last: it says that all is there
    return folder


def load_start(options: LanguageModelOptions, folder: Path) -> Start:
    """The model with its first weights, on the CPU in float32. folder: of `prepare_files`. Raises CheckpointError."""
    config = LanguageModelConfig.read(folder / CONFIG)
    tokenizer = SparkTokenizer.from_file(folder / TOKENIZER)
    model = Qwen2(config)
    if not config.tie_word_embeddings:
        model.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
    source = _source_directory(options.model, options.checkpoint)
    generator = torch.Generator().manual_seed(options.run.seed)
    fresh = None
    if source is None:
        initialize(model, generator)
    else:
        fresh = _load(model, source, generator)
    return Start(model, tokenizer, dict(read_json(folder / CONFIG).values), fresh)


@torch.no_grad()
def initialize(model: Qwen2, generator: torch.Generator) -> None:
    """Random weights; those that write to the residual stream are the smaller the more layers there are."""
    depth = (2 * len(model.layers)) ** -0.5
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            scale = GAIN * parameter.shape[1] ** -0.5
            scale *= depth if "o_proj" in name or "down_proj" in name else 1.0
            parameter.normal_(0.0, scale, generator=generator)
        elif name.endswith("bias"):
            parameter.zero_()
        else:
            parameter.fill_(1.0)


def _load(model: Qwen2, directory: Path, generator: torch.Generator) -> int | None:
    """Fills the model from a Qwen2 directory whose vocabulary may be smaller; returns the first new row, if any."""
    config = replace(model.config, vocab_size=LanguageModelConfig.read(directory / CONFIG).vocab_size)
    ignored = ("lm_head.weight",) if config.tie_word_embeddings else ()
    weights = Weights.open(directory, qwen2_shapes(config), ignored).require_sound()
    vocabulary = {"model.embed_tokens.weight": model.embed_tokens.weight}
    if not config.tie_word_embeddings:
        vocabulary["lm_head.weight"] = cast(nn.Linear, model.lm_head).weight
    others = ((name, weights.read(name)) for name in weights.expected if name not in vocabulary)
    model.load(others, torch.device("cpu"))
    known = _known_rows(directory, config.vocab_size)
    for name, target in vocabulary.items():
        _extend(target, torch.from_numpy(weights.read(name)), known, generator)
    return known if known < model.config.vocab_size else None


def _known_rows(directory: Path, rows: int) -> int:
    """Rows of the embedding that stand for tokens: a Qwen2.5 model pads its vocabulary, and the new tokens go there.

    A Spark-TTS checkpoint keeps its padding.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
    if tokenizer.token_to_id("<|bicodec_semantic_0|>") is not None:
        return rows
    return min(max(tokenizer.get_vocab().values()) + 1, rows)


@torch.no_grad()
def _extend(target: Tensor, source: Tensor, known: int, generator: torch.Generator) -> None:
    """Rows beyond the known ones get the mean and the spread, dimension by dimension, of the known ones.

    Rows that a model merely pads its vocabulary with count as unknown.
    """
    target[:known].copy_(source[:known])
    mean, spread = source[:known].mean(0), source[:known].std(0)
    fresh = torch.randn(len(target) - known, source.shape[1], generator=generator)
    target[known:].copy_(mean + spread * fresh)


def _source_directory(model: ModelOptions, checkpoint: Path) -> Path | None:
    if model.source == "scratch":
        return None
    if model.source == "spark":
        return checkpoint_directory(checkpoint) / LM_DIR
    assert model.directory is not None
    return model.directory


def _scratch_config(model: ModelOptions, tokenizer: tokenizers.Tokenizer) -> dict[str, Any]:
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_act": "silu",
        "vocab_size": rows_for(tokenizer),
        "hidden_size": model.width,
        "intermediate_size": model.inner,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "max_position_embeddings": model.max_positions,
        "tie_word_embeddings": True,
        "eos_token_id": tokenizer.token_to_id(STOP),
    }
