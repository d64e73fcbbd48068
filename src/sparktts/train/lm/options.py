"""What the configuration of a language-model training says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..features.extractors import EncoderOptions
from ..options import RunOptions, bounded
from ..schedule import Decay

OptimizerKind = Literal["adamw", "muon"]


@dataclass(frozen=True)
class DataOptions:
    """Section `data`. shards: folders with token shards, as `sparktts prepare --codec` writes them.

    validation: share of the clips kept for validation (chosen by their ids), or a folder with shards of its own.
    max_tokens: longer sequences are left out, counted. corrupt: share of the semantic tokens that the model reads as
    random ones, so that it learns to go on after its own mistakes; what it is to say stays as it is. corrupt_voice: the
    same for the tokens of the voice, so that it does not know few voices by heart and others not at all.
    """

    shards: tuple[Path, ...]
    validation: float | Path = 0.02
    max_tokens: int = bounded(1500, low=16)
    corrupt: float = bounded(0.0, low=0, high=0.9)
    corrupt_voice: float = bounded(0.0, low=0, high=0.9)

    def __post_init__(self) -> None:
        if not self.shards:
            raise ValueError("`shards` must name at least one folder")
        if isinstance(self.validation, float | int) and not 0 < self.validation < 0.5:
            raise ValueError(f"`validation` must be a share above 0 and below 0.5, or a folder, not {self.validation}")


@dataclass(frozen=True)
class TaskOptions:
    """Section `tasks`: shares, whose sum counts as one.

    clone: voice tokens of another clip of the same speaker where there is one; clone_transcript: also the transcript
    and the tokens of that clip; create: a style, then the voice and the speech (for clips with gender and pitch).
    """

    clone: float = bounded(0.5, low=0)
    clone_transcript: float = bounded(0.2, low=0)
    create: float = bounded(0.3, low=0)

    def __post_init__(self) -> None:
        if self.clone + self.clone_transcript + self.create <= 0:
            raise ValueError("at least one share must be above 0")


@dataclass(frozen=True)
class ModelOptions:
    """Section `model`. source: scratch (the sizes below), qwen2.5 (`directory`: a Qwen2.5 model, whose vocabulary is
    extended), or spark (`directory`: a Spark-TTS checkpoint; nothing: that of `codec`).

    layers ... max_positions: of a model from scratch. checkpointing: less memory for a third more arithmetic.
    """

    source: Literal["scratch", "qwen2.5", "spark"]
    directory: Path | None = None
    layers: int = bounded(6, low=1, high=512)
    width: int = bounded(256, low=8)
    inner: int = bounded(1024, low=8)
    heads: int = bounded(4, low=1)
    kv_heads: int = bounded(4, low=1)
    max_positions: int = bounded(4096, low=64)
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.source == "qwen2.5" and self.directory is None:
            raise ValueError("`directory` must name the Qwen2.5 model")
        if self.width % (2 * self.heads):
            raise ValueError(f"`width` must be a multiple of twice the heads, {2 * self.heads}, not {self.width}")
        if self.heads % self.kv_heads:
            raise ValueError(f"`kv_heads` must divide `heads`, {self.heads}, not be {self.kv_heads}")


@dataclass(frozen=True)
class LoraOptions:
    """Section `lora`: train small additions to the projections instead of all weights.

    rank, alpha (scale = alpha / rank), dropout; token_rows: the rows of the Spark-TTS tokens are trained as well, as
    they must be where the vocabulary is new.
    """

    rank: int = bounded(16, low=1)
    alpha: float = bounded(32.0, low=0)
    dropout: float = bounded(0.0, low=0, high=0.9)
    token_rows: bool = True


@dataclass(frozen=True)
class OptimizerOptions:
    """Section `optimizer`. warmup: steps to the full rate; then `decay` to `final` (share of the rate).

    kind: muon orthogonalises the updates of the layers' matrices and leaves the rest to adamw, at the same rate; it
    takes fewer steps where a model is trained from nothing.
    weight_decay acts on matrices, not on embeddings, biases and norms. clip: largest norm of the gradient.
    """

    kind: OptimizerKind = "adamw"
    learning_rate: float = bounded(1e-3, low=0)
    warmup: int = bounded(100, low=0)
    decay: Decay = "cosine"
    final: float = bounded(0.05, low=0, high=1)
    weight_decay: float = bounded(0.01, low=0)
    beta1: float = bounded(0.9, low=0, high=1)
    beta2: float = bounded(0.96, low=0, high=1)
    clip: float = bounded(1.0, low=0)


@dataclass(frozen=True)
class BatchOptions:
    """Section `batch`. tokens: fed in one pass of one process; accumulate: passes for one optimiser step."""

    tokens: int = bounded(4000, low=64)
    accumulate: int = bounded(1, low=1)


@dataclass(frozen=True)
class SampleOptions:
    """Section `samples`: sentences spoken at validations, as wav files and in TensorBoard, and judged.

    every: in steps, null: at every validation. checkpoint: what speaks, null: `codec`; the tokens must be the same.
    aligner: hears the phonemes, null: that of the checkpoint, if it has one; features: what it listens through, null:
    the checkpoint's own. judge: a recogniser, as `sparktts eval --asr` names them, null: none.
    """

    sentences: tuple[str, ...]
    every: int | None = bounded(None, low=1)
    checkpoint: Path | None = None
    aligner: Path | None = None
    features: EncoderOptions | None = None
    judge: str | None = None

    def __post_init__(self) -> None:
        if not self.sentences:
            raise ValueError("`sentences` must hold at least one")


@dataclass(frozen=True)
class LanguageModelOptions:
    """A whole configuration. codec: checkpoint whose codec made the tokens; what is exported speaks with it."""

    run: RunOptions
    data: DataOptions
    model: ModelOptions
    codec: Path
    tasks: TaskOptions = TaskOptions()
    batch: BatchOptions = BatchOptions()
    optimizer: OptimizerOptions = OptimizerOptions()
    lora: LoraOptions | None = None
    samples: SampleOptions | None = None
    text_frontend: Literal["text", "phonemes"] = "text"
    text_order: Literal["text_first", "on_demand"] = "text_first"

    def __post_init__(self) -> None:
        if self.lora is not None and self.model.source == "scratch":
            raise ValueError("`lora` adapts a trained model, so `model.source` cannot be scratch")
        if self.text_order == "on_demand" and self.text_frontend != "phonemes":
            raise ValueError("`text_order: on_demand` needs `text_frontend: phonemes`, whose words it hands out")

    @property
    def checkpoint(self) -> Path:
        """The Spark-TTS checkpoint that a training from `spark` starts from."""
        return self.model.directory or self.codec
