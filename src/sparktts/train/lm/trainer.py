"""A training of the language model: what it will do, its steps, its validation, its samples."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...checkpoint.layout import Checkpoint
from ...data.schema import Clip
from ...data.shards import read_shards
from ...errors import OptionError
from ...prompt import PromptBuilder
from ...text.phonemes import PHONEMES
from ..run import Run
from ..schedule import rate_at
from .adapters import Trained, adapt
from .head import LegalHead, families
from .network import TrainingModel
from .optimizer import make_optimizer
from .options import LanguageModelOptions
from .packing import Packed, pack
from .samples import SampleSpeech
from .sequences import OVERHEAD, Document, Examples, corrupted
from .start import Start, load_start, prepare_files
from .stream import BatchStream, cut

VALIDATION_CLIPS = 400  # at most: enough for two digits of the cross-entropy
VOICES = 16  # of validation clips, in which sample sentences are spoken
CORRUPTION = 1  # purpose of random numbers


def train(run: Run, options: LanguageModelOptions) -> int:
    """The whole training in one process; returns the last step done. Raises OptionError, CheckpointError."""
    return Trainer(run, options).fit()


@dataclass(frozen=True)
class Split:
    """Examples to train on and to validate with."""

    training: Examples
    validation: Examples


class Trainer:
    """Model, optimiser and data of one process."""

    def __init__(self, run: Run, options: LanguageModelOptions) -> None:
        self.run, self.options = run, options
        self.start = _start(run, options)
        self.tokenizer = self.start.tokenizer
        self.split = split_clips(options, PromptBuilder(self.tokenizer))
        model = self.start.model
        if options.lora is not None:
            adapt(model, options.lora, self.start.first_token)
        model.to(run.device).train()
        run.broadcast(model)
        head = LegalHead(families(self.tokenizer), model.config.vocab_size).to(run.device)
        self.network = TrainingModel(model, head, options.model.checkpointing)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(model, options.optimizer)
        training = self.split.training
        lengths = [example.length + OVERHEAD for example in training.items]
        self.stream = BatchStream(
            training.document, lengths, options.batch.tokens, options.run.seed, run.rank, run.world_size
        )
        self._validation = self._validation_batches()
        self.samples: SampleSpeech | None = None
        if options.samples is not None and run.is_main:
            voices = [example.voice for example in self.split.validation.items[:VOICES]]
            self.samples = SampleSpeech(run, options, voices)

    def fit(self) -> int:
        """Trains to the last step or to a stop. Returns the last step done."""
        for line in self.summary():
            self.run.say(line)
        state = {"model": Trained(self.network.model), "optimizer": self.optimizer, "stream": self.stream}
        return self.run.fit(state, self.step, self.validate, best="loss")

    def summary(self) -> Iterator[str]:
        """What will be done, for people."""
        training, validation, batch = self.split.training, self.split.validation, self.options.batch
        per_step = batch.tokens * batch.accumulate * self.run.world_size
        passes = per_step * self.options.run.steps / training.tokens
        yield (
            f"Training on {training.seconds / 3600:.2f} hours of speech: {len(training):,} clips,"
            f" {training.tokens:,} tokens; validation on {len(validation)} clips."
        )
        left_out = training.left_out + validation.left_out
        if left_out:
            reasons = ", ".join(f"{count:,} with {reason}" for reason, count in left_out.most_common())
            yield f"Left out: {reasons}."
        trained = sum(p.numel() for p in self.parameters)
        whole = sum(p.numel() for p in self.network.model.parameters())
        yield (
            f"{self.options.run.steps:,} steps of {per_step:,} tokens, {passes:.1f} passes over the data;"
            f" {trained:,} of {whole:,} parameters are trained, on {self.run.device}."
        )

    def step(self, step: int) -> dict[str, Tensor | float]:
        """One optimiser step over `accumulate` batches of each process."""
        run, options = self.run, self.options
        random = run.generator(step, CORRUPTION)
        batches = [self._packed(self.stream.next(), random) for _ in range(options.batch.accumulate)]
        count = run.sum(torch.tensor(float(sum(int((b.targets >= 0).sum()) for b in batches)), device=run.device))
        total: Tensor | float = 0.0
        parts: dict[str, tuple[Tensor | float, int]] = {}
        for batch in batches:
            with run.autocast():
                loss, named = self.network(batch.to(run.device))
            (loss * (run.world_size / count)).backward()
            total = total + loss.detach()
            for name, (value, amount) in named.items():
                before = parts.get(name, (0.0, 0))
                parts[name] = (before[0] + value, before[1] + amount)
        run.average_gradients(self.parameters)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, options.optimizer.clip or float("inf"))
        o = options.optimizer
        rate = rate_at(step, options.run.steps, o.learning_rate, o.warmup, o.final, o.decay)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        fed = sum(batch.tokens for batch in batches)
        metrics: dict[str, Tensor | float] = {"loss": total * (run.world_size / count), "gradient": norm}
        metrics.update({name: value / amount for name, (value, amount) in parts.items() if name == "speech"})
        return {**metrics, "learning_rate": rate, "tokens": float(fed)}

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """Cross-entropy in nats a token over the validation clips, in all and for each kind of token."""
        self.network.eval()
        sums: dict[str, tuple[float, int]] = {}
        for batch in self._validation:
            with self.run.autocast():
                _, parts = self.network(batch.to(self.run.device))
            for name, (value, count) in parts.items():
                before = sums.get(name, (0.0, 0))
                sums[name] = (before[0] + float(value), before[1] + count)
        self.network.train()
        total = sum(value for value, _ in sums.values()) / max(1, sum(count for _, count in sums.values()))
        losses = {name: value / count for name, (value, count) in sums.items()}
        return {"loss": total, **losses, **self._sample_errors(step)}

    def _packed(self, documents: list[Document], random: np.random.Generator) -> Packed:
        data, packed = self.options.data, []
        for document in documents:
            ids = document.ids
            if data.corrupt:
                ids = corrupted(ids, self.tokenizer.semantic.span, data.corrupt, random)
            if data.corrupt_voice:
                ids = corrupted(ids, self.tokenizer.speaker.span, data.corrupt_voice, random)
            packed.append((ids, document.targets))
        return pack(packed)

    def _validation_batches(self) -> list[Packed]:
        """The same sequences every time, uncorrupted."""
        examples, random = self.split.validation, np.random.default_rng(self.options.run.seed)
        documents = [examples.document(index, random) for index in range(min(len(examples), VALIDATION_CLIPS))]
        batches = cut(documents, self.options.batch.tokens)
        return [pack([(document.ids, document.targets) for document in batch]) for batch in batches]

    def _sample_errors(self, step: int) -> dict[str, float]:
        """What the judges say of the sample sentences, where they are due; nothing that is drawn later changes."""
        found: dict[str, float] = {}
        if self.samples is not None and self._samples_due(step):
            with self.run.kept_randomness():
                found = self.samples.measure(self.network.model, step)
        self.run.barrier()
        return found

    def _samples_due(self, step: int) -> bool:
        """Whether a multiple of `samples.every` has passed since the last validation."""
        assert self.options.samples is not None
        every, before = self.options.samples.every, max(0, step - self.options.run.validate_every)
        return every is None or step // every > before // every


def split_clips(options: LanguageModelOptions, builder: PromptBuilder) -> Split:
    """Reads the shards. Raises OptionError when nothing is left, or the tokens are not of the codec."""
    validation = options.data.validation
    if isinstance(validation, Path):
        training = Examples(options, builder, read_clips(options))
        held = Examples(options, builder, read_shards(validation))
    else:
        share = validation
        training = Examples(options, builder, (clip for clip in read_clips(options) if not _held(clip, share)))
        held = Examples(options, builder, (clip for clip in read_clips(options) if _held(clip, share)))
    for examples, what in ((training, "train on"), (held, "validate with")):
        if not len(examples):
            reasons = ", ".join(f"{count} with {reason}" for reason, count in examples.left_out.most_common())
            if examples is held and not reasons and not isinstance(validation, Path):
                reasons = f"`data.validation: {validation:g}` takes none of {len(training)}, make it larger"
            raise OptionError(f"There are no clips to {what} in the shards ({reasons or 'they are empty'}).")
    found, wanted = training.codec, Checkpoint(options.codec).codec_fingerprint
    if found is not None and found != wanted:
        raise OptionError(
            f"The tokens in the shards are of the codec {found}, but {options.codec} has the codec {wanted}:"
            " prepare the shards again with `--codec`."
        )
    return Split(training, held)


def read_clips(options: LanguageModelOptions) -> Iterator[Clip]:
    """Every clip of all folders."""
    for folder in options.data.shards:
        yield from read_shards(folder)


def _start(run: Run, options: LanguageModelOptions) -> Start:
    """Writes the files of the run, in the first process, and loads the model."""
    if run.is_main:
        folder = prepare_files(options, lambda: _texts(options), _always(options))
    run.barrier()
    if not run.is_main:
        folder = prepare_files(options, lambda: (), "")
    return load_start(options, folder)


def _texts(options: LanguageModelOptions) -> Iterable[str]:
    from .sequences import normalized

    for clip in read_clips(options):
        if options.text_frontend == "phonemes":
            yield " ".join(clip.words or ())
        else:
            yield normalized(clip)


def _always(options: LanguageModelOptions) -> str:
    """Characters that the tokenizer of a model from scratch has in any case."""
    if options.text_frontend == "phonemes":
        return "".join(PHONEMES)
    return "".join(chr(code) for code in range(32, 127))


def _held(clip: Clip, share: float) -> bool:
    """Whether a clip is for validation: decided by its id, so that it stays so when clips are added."""
    return zlib.crc32(clip.id.encode()) % 10_000 < share * 10_000
