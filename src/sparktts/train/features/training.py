"""Distillation: a small encoder learns to give a larger one's features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...audio.loudness import normalize_volume
from ...audio.samples import Samples
from ...data.audio_source import SAMPLE_RATE, open_audio
from ...data.schema import Clip
from ...data.shards import read_shards, source_folder
from ...errors import OptionError
from ..options import RunOptions, bounded
from ..run import Run
from ..schedule import rate_at
from .cache import CACHE_DIR, ClipFeatures, Features
from .extractors import HOP, EncoderOptions, open_encoder
from .student import Precision, Student, StudentOptions

HELD_OUT = 1  # purpose of the random numbers that choose clips for validation
EXPORT_DIR = "features"
BETAS = (0.9, 0.98)
FINAL_RATE = 0.05  # share of the learning rate that is left at the last step


@dataclass(frozen=True)
class FeaturesOptions:
    """The file of `sparktts train features`.

    shards: folder that `sparktts prepare` wrote; seconds: of speech in a row of a batch; cosine_weight: of 1 - cosine
    beside the mean absolute error, which is measured in units of the teacher's mean magnitude; cache: the teacher hears
    every clip once, and its features are kept in `teacher.cache` or the run's directory (for 512 values, 180 MB an
    hour); without, it hears the rows of each batch; held_out: clips that only validation hears; dtype: of the exported
    weights.
    """

    run: RunOptions
    shards: Path
    teacher: EncoderOptions
    student: StudentOptions = field(default_factory=StudentOptions)
    batch: int = bounded(8, low=1)
    seconds: float = bounded(3.0, low=0.2, high=28.0)
    learning_rate: float = bounded(1e-3, low=0.0)
    warmup: int = bounded(100, low=0)
    weight_decay: float = bounded(0.01, low=0.0)
    clip_norm: float = bounded(1.0, low=0.0)
    cosine_weight: float = bounded(1.0, low=0.0)
    cache: bool = True
    held_out: int = bounded(32, low=1)
    dtype: Precision = "fp16"


class Speech:
    """The clips of a prepared folder, held-out ones apart."""

    def __init__(self, shards: Path, held_out: int, seed: int) -> None:
        """Raises OptionError for fewer clips than are held out."""
        self.root = source_folder(shards)
        clips: list[Clip] = sorted(read_shards(shards), key=lambda clip: clip.id)
        order = np.random.default_rng([seed, HELD_OUT]).permutation(len(clips))
        if len(clips) < 2:
            raise OptionError(f"'{shards}' holds {len(clips)} clips, too few to train on.")
        count = min(held_out, len(clips) // 2)
        self.held_out = [clips[i] for i in order[:count]]
        self.clips = [clips[i] for i in sorted(order[count:])]

    @property
    def hours(self) -> float:
        """Of speech to train on."""
        return float(sum(clip.duration for clip in self.clips)) / 3600

    def read(self, clip: Clip) -> Samples:
        """(N,) samples at 16 kHz and normal volume. Raises AudioError."""
        return normalize_volume(open_audio(self.root, clip.audio))

    def row(self, rng: np.random.Generator, frames: int, cache: ClipFeatures | None = None) -> tuple[Samples, Features]:
        """(320 * frames,) samples cut from clips that follow each other, and the teacher's (frames, dim) features.

        Clips are drawn alike, however long. Without a cache the features are empty.
        """
        pieces: list[Samples] = []
        targets: list[Features] = []
        total, stop = 0, frames
        while total < stop:
            clip = self.clips[int(rng.integers(len(self.clips)))]
            samples = self.read(clip)
            features = cache.of(clip) if cache else np.zeros((len(samples) // HOP, 0), np.float16)
            count = min(len(features), len(samples) // HOP)
            if not pieces:  # begin anywhere in the first clip
                stop = frames + int(rng.integers(max(1, count - frames // 2)))
            pieces.append(samples[: count * HOP])
            targets.append(features[:count])
            total += count
        start = stop - frames
        return np.concatenate(pieces)[start * HOP : stop * HOP], np.concatenate(targets)[start:stop]


def train(run: Run, options: FeaturesOptions) -> int:
    """Runs or goes on with the training, and exports what it has reached. Returns the last step done."""
    speech = Speech(options.shards, options.held_out, options.run.seed)
    teacher = open_encoder(options.teacher, run.device)
    student = Student(options.student, teacher.dim, teacher.fingerprints[0]).to(run.device)
    run.broadcast(student)
    optimizer = torch.optim.AdamW(
        student.parameters(), options.learning_rate, betas=BETAS, weight_decay=options.weight_decay
    )
    cache = ClipFeatures(speech.root, options.teacher, teacher, run.device, run.out / CACHE_DIR)
    frames = max(2, round(options.seconds * SAMPLE_RATE / HOP))
    values = sum(p.numel() for p in student.features.parameters()) / 1e6
    run.say(f"{speech.hours:.1f} hours of speech; the small encoder has {values:.1f} M values.")

    def train_step(step: int) -> Mapping[str, Tensor | float]:
        rng = run.generator(step)
        rows = [speech.row(rng, frames, cache if options.cache else None) for _ in range(options.batch)]
        audio = torch.from_numpy(np.stack([samples for samples, _ in rows])).to(run.device)
        rate = rate_at(step, options.run.steps, options.learning_rate, options.warmup, FINAL_RATE)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with run.autocast():
            if options.cache:
                target = torch.from_numpy(np.stack([features for _, features in rows])).to(run.device)
            else:
                with torch.no_grad():
                    target = teacher(audio)
            measured = distance(student(audio), target)
        loss = measured["l1"] + options.cosine_weight * measured["cosine"]
        loss.backward()  # type: ignore[no-untyped-call]
        run.average_gradients(student.parameters())
        torch.nn.utils.clip_grad_norm_(student.parameters(), options.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        return {"loss": loss.detach(), "rate": rate, **{name: value.detach() for name, value in measured.items()}}

    @lru_cache(maxsize=1)
    def held_out() -> list[tuple[Tensor, Tensor]]:
        """Audio and the teacher's features of each clip."""
        pairs = []
        for clip in speech.held_out:
            samples = speech.read(clip)
            features = torch.from_numpy(np.array(cache.of(clip)))
            pairs.append((torch.from_numpy(samples).unsqueeze(0).to(run.device), features.unsqueeze(0).to(run.device)))
        return pairs

    def validate(step: int) -> dict[str, float]:
        student.eval()
        with torch.no_grad(), run.autocast():
            found = [distance(student(audio), target) for audio, target in held_out()]
        student.train()
        means = {name: float(torch.stack([one[name] for one in found]).mean()) for name in found[0]}
        means["loss"] = means["l1"] + options.cosine_weight * means["cosine"]
        run.say(f"Step {step}: loss {means['loss']:.3f}, {means['explained']:.0%} of the teacher's variance explained.")
        return means

    student.train()
    step = run.fit({"student": student, "optimizer": optimizer}, train_step, validate, best="loss")
    if run.is_main:
        student.export(run.out / EXPORT_DIR, options.dtype)
        run.say(
            f"{run.out / EXPORT_DIR} is the encoder after {step} steps; a checkpoint uses it by "
            f"`features: {{directory: {EXPORT_DIR}, layers: [{options.student.layers}]}}`."
        )
    return step


def distance(guess: Tensor, target: Tensor) -> dict[str, Tensor]:
    """How far features are from the teacher's. guess, target: (B, T, dim); frames that only one has are left out.

    l1: mean absolute error in units of the target's mean magnitude; cosine: 1 - mean cosine; explained: share of the
    target's variance over time.
    """
    frames = min(guess.shape[1], target.shape[1])
    guess, target = guess[:, :frames].float(), target[:, :frames].float()
    left = (guess.detach() - target).square().sum()
    spread = (target - target.mean(dim=(0, 1))).square().sum()
    return {
        "l1": (guess - target).abs().mean() / target.abs().mean(),
        "cosine": 1.0 - F.cosine_similarity(guess, target, dim=-1).mean(),
        "explained": 1.0 - left / spread,
    }
