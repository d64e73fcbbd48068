"""The language model of a checkpoint as graphs, its matrices in blocks of 8 and 4 bits, and how far that is from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checkpoint.blocks import BlockFormat
from ..checkpoint.config import LanguageModelConfig
from ..checkpoint.layout import Checkpoint
from ..checkpoint.stored import Array, to_float32
from ..checkpoint.tensors import TensorFile, TensorPlan, write_safetensors
from ..engine.base import IdSet
from ..engine.onnx.heads import FULL
from ..engine.onnx.tables import DATA, PART, STACK
from ..errors import CheckpointError, OptionError
from ..prompt import Choose, PromptBuilder, SpeechGrammar
from ..sampling import SamplingOptions
from ..tokenizer import SparkTokenizer
from .blocks import quantize
from .report import PartReport, Progress

SPEAKING, CONTROL = "head_speaking", "head_control"
HEAD_SIZE_STEP = 16  # GroupQueryAttention turns heads of such sizes
ROWS_AT_ONCE = 8192  # of the embedding: 30 MB
CONTROL_SHARE = 0.75  # of the vocabulary: above it, the head of all ids serves, which takes no disk
COMPARED_TOKENS = 60
COMPARED_TEXT = "The quick brown fox jumps over the lazy dog."

Floats = npt.NDArray[np.float32]
Plans = Iterator[TensorPlan]


@dataclass(frozen=True)
class Forms:
    """How each kind of matrix is stored; None: as float32. The heads are stored as the embedding."""

    qkv: BlockFormat | None = None
    output: BlockFormat | None = None
    gate_up: BlockFormat | None = None
    down: BlockFormat | None = None
    embedding: BlockFormat | None = None

    def fitting(self, config: LanguageModelConfig) -> Forms:
        """With blocks of 64 in the feed-forward where rows are no whole number of longer ones."""
        columns = {"gate_up": config.hidden_size, "down": config.intermediate_size}
        changed = {}
        for name, count in columns.items():
            form: BlockFormat | None = getattr(self, name)
            if form is not None and count % form.size:
                changed[name] = replace(form, size=min(form.size, 64))
        return replace(self, **changed)

    def settings(self) -> dict[str, list[int] | None]:
        """For the manifest: bits and block size of each."""
        return {name: form and [form["bits"], form["size"]] for name, form in asdict(self).items()}


# Measured (docs/onnx.md): in int4, attention in 8 bits takes two thirds off the divergence for a tenth of the bytes,
# and an embedding in 4 bits alone would cost twenty times what one in 8 bits does. Longer blocks in 4 bits cost little
# and make eight sequences together a sixth faster.
EIGHT, FOUR = BlockFormat(8, 64), BlockFormat(4, 128)
FORMS = {
    "fp32": Forms(),
    "int8": Forms(EIGHT, EIGHT, EIGHT, EIGHT, EIGHT),
    "int4": Forms(EIGHT, EIGHT, FOUR, FOUR, EIGHT),
}


def export_language_model(
    checkpoint: Checkpoint, folder: Path, weights: str, full_head: bool, progress: Progress
) -> PartReport:
    """Writes graphs and tensors into `folder`, and compares them with the torch engine in fp32.

    full_head: also one over the whole vocabulary, for `logits`. One matrix of the source is in memory at a time.
    Raises CheckpointError, OptionError without PyTorch, OSError.
    """
    config = checkpoint.lm
    forms = FORMS[weights].fitting(config)
    if config.head_dim % HEAD_SIZE_STEP:
        raise CheckpointError(
            f"{checkpoint.path} has attention heads of size {config.head_dim}, "
            f"but ONNX Runtime needs a multiple of {HEAD_SIZE_STEP}: use the torch engine."
        )
    progress("the language model's weights")
    heads = spoken_ids(SparkTokenizer.from_file(checkpoint.tokenizer_path))
    if len(heads[CONTROL]) >= CONTROL_SHARE * config.vocab_size:
        del heads[CONTROL]
        full_head = True
    write_safetensors(folder / DATA, list(_Tensors(checkpoint, forms).plans(heads)))
    progress("the language model's graphs")
    files = (*_write_graphs(folder, config, forms, heads, full_head), DATA)
    scored = {name: [list(span) for span in ids.ranges] for name, ids in heads.items()}
    if full_head:
        scored[FULL] = [[0, config.vocab_size]]
    report = PartReport(PART, weights, files, settings={"forms": forms.settings(), "heads": scored})
    progress("comparing the language model with the torch engine")
    return compared(report, checkpoint, folder)


def spoken_ids(tokenizer: SparkTokenizer) -> dict[str, IdSet]:
    """What each head scores: all that may follow while speaking, and all that any grammar asks for.

    While speaking: semantic ids, the stop, and the request for more text.
    """
    t = tokenizer
    alone = [t.stop, t.task_tts, t.task_create, *t.start.values(), *t.end.values()]
    families = (t.speaker, t.semantic, t.pitch_value, t.speed_value, t.pitch_label, t.speed_label, t.gender)
    return {
        SPEAKING: _merged([_one(t.stop), _one(t.start["content"]), t.semantic.span]),
        CONTROL: _merged([*map(_one, alone), *(family.span for family in families)]),
    }


def _one(token: int) -> tuple[int, int]:
    return token, token + 1


def _merged(spans: Iterable[tuple[int, int]]) -> IdSet:
    """Ascending ranges that neither touch nor overlap."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return IdSet(tuple(merged))


class _Tensors:
    """What the graphs' file holds, in the forms that it is stored in."""

    def __init__(self, checkpoint: Checkpoint, forms: Forms) -> None:
        self._checkpoint, self._forms = checkpoint, forms

    def plans(self, heads: dict[str, IdSet]) -> Plans:
        """Every tensor of the file."""
        c, forms = self._checkpoint.lm, self._forms
        for layer in range(c.num_hidden_layers):
            source, target = f"model.layers.{layer}.", f"layers.{layer}."
            projections = [f"{source}self_attn.{part}_proj" for part in "qkv"]
            yield from self._matrix(f"{target}qkv", [f"{name}.weight" for name in projections], forms.qkv)
            yield self._plain(f"{target}qkv.bias", [f"{name}.bias" for name in projections])
            yield from self._matrix(f"{target}output", [f"{source}self_attn.o_proj.weight"], forms.output)
            gates = [f"{source}mlp.{part}_proj.weight" for part in ("gate", "up")]
            yield from self._matrix(f"{target}gate_up", gates, forms.gate_up)
            yield from self._matrix(f"{target}down", [f"{source}mlp.down_proj.weight"], forms.down)
            yield self._plain(f"{target}attention_norm", [f"{source}input_layernorm.weight"])
            yield self._plain(f"{target}feed_forward_norm", [f"{source}post_attention_layernorm.weight"])
        yield self._plain("norm", ["model.norm.weight"])
        yield from _angles(c)
        yield from self._matrix("embedding", ["model.embed_tokens.weight"], forms.embedding)
        scoring = "model.embed_tokens.weight" if c.tie_word_embeddings else "lm_head.weight"
        if not c.tie_word_embeddings:
            yield from self._matrix("head", [scoring], forms.embedding)
        for name, ids in heads.items():
            yield from self._matrix(name, [scoring], forms.embedding, ids.ids)

    def _matrix(
        self, name: str, sources: list[str], form: BlockFormat | None, chosen: npt.NDArray[np.int64] | None = None
    ) -> Plans:
        """Matrices of equal width on top of each other. chosen: rows of the only one that are taken."""
        if form is None:
            yield self._plain(name, sources, chosen)
            return
        pieces = [quantize(rows, form) for source in sources for rows in self._rows(source, chosen)]
        codes, scales = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        yield _plan(f"{name}.codes", codes)
        yield _plan(f"{name}.scales", scales)

    def _plain(self, name: str, sources: list[str], chosen: npt.NDArray[np.int64] | None = None) -> TensorPlan:
        mapped = [self._checkpoint.lm_mapped(source)[0] for source in sources]
        count = sum(map(len, mapped)) if chosen is None else len(chosen)

        def read() -> Array:
            return np.concatenate([rows for source in sources for rows in self._rows(source, chosen)])

        return TensorPlan(name, "F32", (count, *mapped[0].shape[1:]), read)

    def _rows(self, source: str, chosen: npt.NDArray[np.int64] | None) -> Iterator[Floats]:
        """float32 rows of a tensor, some thousands at a time."""
        mapped, kind = self._checkpoint.lm_mapped(source)
        for start in range(0, len(mapped if chosen is None else chosen), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            rows = to_float32(np.asarray(mapped[part if chosen is None else chosen[part]]), kind)
            if not np.isfinite(rows).all():
                raise CheckpointError(
                    f"{self._checkpoint.path}: the tensor `{source}` holds values that are not finite."
                )
            yield rows


def _plan(name: str, values: Array) -> TensorPlan:
    return TensorPlan(name, "U8" if values.dtype == np.uint8 else "F32", values.shape, lambda: values)


def _angles(c: LanguageModelConfig) -> Plans:
    """Cosines and sines of the rotary angles, (positions, head_dim / 2) each."""
    inverse = c.rope_theta ** -(np.arange(0, c.head_dim, 2) / c.head_dim)
    for name, function in (("cosines", np.cos), ("sines", np.sin)):
        angles = np.outer(np.arange(c.max_position_embeddings), inverse)
        yield _plan(name, function(angles).astype(np.float32))


def _write_graphs(
    folder: Path, config: LanguageModelConfig, forms: Forms, heads: Iterable[str], full_head: bool
) -> Iterator[str]:
    """Names of the graphs, each written when its name comes."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise OptionError(f'Exporting needs onnx ({error}): pip install "sparktts[export]".') from None
    from .language_model_graph import decoder_stack, head

    file = TensorFile.open(folder / DATA)
    graphs = {STACK: decoder_stack(file, config, vars(forms))}
    matrices = {name: name for name in heads}
    if full_head:  # costs no disk: the tied embedding lies there in the same form
        matrices[FULL] = "embedding" if config.tie_word_embeddings else "head"
    for name, matrix in matrices.items():
        graphs[f"{name}.onnx"] = head(file, config, name, matrix, forms.embedding)
    for name, graph in graphs.items():
        graph.save(folder / name)
        yield name


def compared(report: PartReport, checkpoint: Checkpoint, folder: Path) -> PartReport:
    """The report with its differences from the torch engine, over what may follow while speaking.

    Both get the same prefix, which the torch engine in fp32 has sampled. Raises OptionError without PyTorch.
    """
    from ..engine.onnx.language_model import OnnxLanguageModel
    from .compare import Draft

    builder = PromptBuilder(SparkTokenizer.from_file(checkpoint.tokenizer_path))
    speaking = spoken_ids(builder.tokenizer)[SPEAKING]
    theirs = _torch_model(checkpoint)
    ids = sample_sequence(theirs, builder, COMPARED_TEXT, COMPARED_TOKENS)
    expected = theirs.logits(ids)[-COMPARED_TOKENS - 1 : -1, speaking.ids]
    del theirs
    ours = OnnxLanguageModel.open(checkpoint.lm, Draft(folder, [report]))
    found = ours.scores(ids, speaking)[-COMPARED_TOKENS - 1 : -1]
    divergence = float(divergences(expected, found).mean())
    return replace(
        report,
        max_difference=float(np.abs(found - expected).max() / np.abs(expected).max()),
        agreement=float(np.mean(found.argmax(axis=-1) == expected.argmax(axis=-1))),
        notes=(f"Mean divergence from the checkpoint's next-token distribution: {divergence:.2g} nats.",),
    )


def sample_sequence(model: Any, builder: PromptBuilder, text: str, count: int, seed: int = 0) -> list[int]:
    """Ids of a prompt and of `count` semantic tokens sampled after it. model: a LanguageModel."""
    voice = np.random.default_rng(seed).integers(0, builder.tokenizer.speaker.count, 32)
    prompt = [*builder.clone(text, voice.tolist()).ids, builder.tokenizer.start["semantic_token"]]
    grammar = SpeechGrammar((Choose(builder.tokenizer.semantic, count=count),))
    model.add(prompt, SamplingOptions(seed=seed), grammar)
    while not grammar.done:
        prompt += model.step().values()
    return prompt


def divergences(expected: Floats, found: Floats) -> npt.NDArray[np.float64]:
    """(n,) KL divergence in nats of each row of logits from the expected one."""
    p, q = _log_softmax(expected), _log_softmax(found)
    result: npt.NDArray[np.float64] = (np.exp(p) * (p - q)).sum(axis=-1)
    return result


def _log_softmax(logits: Floats) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _torch_model(checkpoint: Checkpoint) -> Any:
    try:
        import torch
    except ImportError:
        raise OptionError('Exports are compared with PyTorch: pip install "sparktts[export]".') from None
    from ..engine.torch.language_model import TorchLanguageModel

    return TorchLanguageModel(checkpoint, torch.device("cpu"), torch.float32)
