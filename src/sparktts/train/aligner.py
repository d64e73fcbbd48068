"""Training of the word recogniser: which phonemes are said, learnt from words without times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ..checkpoint.aligner import AlignerConfig
from ..data.schema import Clip
from ..data.shards import read_shards, source_folder
from ..engine.torch.aligner import Aligner, AlignerNetwork, Alignment, pad_features, split_symbols
from ..errors import OptionError
from .exporting import write_network
from .features.cache import CACHE_DIR, ClipFeatures
from .features.extractors import Encoder, EncoderOptions, open_encoder
from .options import RunOptions, bounded
from .run import Run
from .schedule import rate_at

EXPORT_DIR = "aligner"
SHUFFLE = 1  # purpose of the random numbers that order the clips
STANDARDIZED = 200  # clips that tell the features' mean and deviation
POOR_SHARE = 0.002  # of well transcribed clips that the thresholds may refuse
FINAL_RATE = 0.1  # share of the learning rate that is left at the last step
MARGIN = 1.5  # the thresholds lie so many times further from certainty than that

Features = npt.NDArray[np.float16]


@dataclass(frozen=True)
class NetworkOptions:
    """Sizes of the network: width and kernel of its two convolutions."""

    width: int = bounded(256, low=4, high=4096)
    kernel: int = bounded(5, low=1, high=63)

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise ValueError(f"`kernel` must be odd, not {self.kernel}")


@dataclass(frozen=True)
class AlignerOptions:
    """The file of `sparktts train aligner`.

    shards: folder that `sparktts prepare` wrote, with words; features: what the network listens through, the same as
    in the checkpoint that it is for; clips: how many are used at most, drawn at random; held_out: of these, for
    validation and thresholds; batch: clips of one step; dropout: share of feature values hidden while training.
    """

    run: RunOptions
    shards: Path
    features: EncoderOptions
    network: NetworkOptions = field(default_factory=NetworkOptions)
    clips: int = bounded(3000, low=2)
    held_out: int = bounded(100, low=1)
    batch: int = bounded(16, low=1)
    learning_rate: float = bounded(2e-3, low=0.0)
    warmup: int = bounded(30, low=0)
    weight_decay: float = bounded(0.01, low=0.0)
    dropout: float = bounded(0.3, low=0.0, high=0.9)


@dataclass(frozen=True)
class Spoken:
    """One clip as the network sees it: where its features lie, and its words."""

    id: str
    path: Path
    words: tuple[str, ...]

    @property
    def features(self) -> Features:
        """(T, dim)."""
        values: Features = np.load(self.path)
        return values


def train(run: Run, options: AlignerOptions) -> int:
    """Runs or goes on with the training, and exports what it has reached. Returns the last step done."""
    clips, symbols = choose(options)
    encoder = open_encoder(options.features, run.device)
    spoken = listen(run, options, clips, encoder)
    held_out, kept = split(spoken, options.held_out)
    sizes = options.network
    config = AlignerConfig(encoder.dim, symbols, sizes.width, sizes.kernel, features=encoder.fingerprints[0])
    network = AlignerNetwork(config)
    network.standardize([clip.features for clip in kept[:STANDARDIZED]])
    network.to(run.device)
    run.broadcast(network)
    aligner = Aligner(config, network, run.device)
    optimizer = torch.optim.AdamW(network.parameters(), options.learning_rate, weight_decay=options.weight_decay)
    run.say(f"{len(kept)} clips to train on, {len(held_out)} held out, {len(symbols)} phonemes.")

    def train_step(step: int) -> Mapping[str, Tensor | float]:
        chosen = [kept[i] for i in draw(run, step, options.batch, len(kept))]
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, options.run.steps, options.learning_rate, options.warmup, FINAL_RATE)
        batch, lengths = pad_features([clip.features for clip in chosen])
        batch = F.dropout(batch.to(run.device), options.dropout)
        with run.autocast():
            log_probs = network(batch, lengths.to(run.device))
        targets = [spelling(aligner, clip.words) for clip in chosen]
        loss = ctc_loss(log_probs, lengths, targets)
        # Per phoneme of all processes, as in one process with all their clips.
        count = torch.tensor(float(sum(map(len, targets))), device=run.device)
        share = count * run.world_size / run.sum(count.clone())
        (loss * share).backward()  # type: ignore[no-untyped-call]
        run.average_gradients(network.parameters())
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return {"loss": loss.detach()}

    def validate(step: int) -> dict[str, float]:
        network.eval()
        features, words = [clip.features for clip in held_out], [clip.words for clip in held_out]
        rates = aligner.error_rates(features, words)
        scores = [alignment.score for alignment in aligner.align_batch(features, words)]
        network.train()
        found = {"phoneme_error": float(np.mean(rates)), "loss": -float(np.mean(scores))}
        run.say(f"Step {step}: phoneme error {found['phoneme_error']:.1%}, loss per phoneme {found['loss']:.2f}.")
        return found

    network.train()
    step = run.fit({"network": network, "optimizer": optimizer}, train_step, validate, best="phoneme_error")
    network.eval()
    if run.is_main:
        told = aligner.align_batch([clip.features for clip in held_out], [clip.words for clip in held_out])
        export(run.out / EXPORT_DIR, with_thresholds(config, told), network)
        run.say(f"{run.out / EXPORT_DIR} is the aligner after {step} steps.")
    return step


def choose(options: AlignerOptions) -> tuple[list[Clip], tuple[str, ...]]:
    """The clips that are used, and all phonemes: those of the front-end and those of the clips. Raises OptionError."""
    spelled = [clip for clip in read_shards(options.shards) if clip.words]
    clips = [clip for clip in spelled if any(map(split_symbols, clip.words or ()))]
    if len(clips) < 2:
        raise OptionError(
            f"'{options.shards}' holds {len(clips)} clips with phonemes: prepare them with `--phonemes` first."
        )
    clips.sort(key=lambda clip: clip.id)
    order = np.random.default_rng([options.run.seed, SHUFFLE]).permutation(len(clips))
    found = {symbol for clip in clips for word in clip.words or () for symbol in split_symbols(word)}
    return [clips[i] for i in order[: options.clips]], tuple(sorted(found | set(known_symbols())))


def known_symbols() -> list[str]:
    """The phonemes that the text front-end can write."""
    try:
        from ..text.phonemes import PHONEMES
    except ImportError:
        return []
    return split_symbols("".join(PHONEMES))


def listen(run: Run, options: AlignerOptions, clips: Sequence[Clip], encoder: Encoder) -> list[Spoken]:
    """Features of every clip, kept in `features.cache` or the run's directory; unreadable clips are left out.

    Raises CheckpointError when the disk is full.
    """
    heard = ClipFeatures(source_folder(options.shards), options.features, encoder, run.device, run.out / CACHE_DIR)
    heard.fill(run, clips)
    spoken = [(path, clip) for clip in clips if (path := heard.path(clip)) is not None and path.exists()]
    return [Spoken(clip.id, path, clip.words or ()) for path, clip in spoken]


def split(spoken: Sequence[Spoken], held_out: int) -> tuple[list[Spoken], list[Spoken]]:
    """Held-out clips, at most half of all, and those to train on. Raises OptionError for fewer than two."""
    if len(spoken) < 2:
        raise OptionError(f"Only {len(spoken)} clips could be read, too few to train on.")
    count = min(held_out, len(spoken) // 2)
    return list(spoken[:count]), list(spoken[count:])


def draw(run: Run, step: int, batch: int, clips: int) -> list[int]:
    """The clips of a step: every clip once in each round, whatever was done before; processes take turns."""
    first = ((step - 1) * run.world_size + run.rank) * batch
    rounds: dict[int, npt.NDArray[np.int64]] = {}
    chosen = []
    for place in range(first, first + batch):
        number, index = divmod(place, clips)
        if number not in rounds:
            rounds[number] = run.generator(number, SHUFFLE, shared=True).permutation(clips)
        chosen.append(int(rounds[number][index]))
    return chosen


def spelling(aligner: Aligner, words: Sequence[str]) -> list[int]:
    """The outputs that the words of a clip stand for."""
    return [symbol for word in words for symbol in aligner.spell(word)]


def ctc_loss(log_probs: Tensor, lengths: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
    """Negative log-likelihood per phoneme; clips too short for their words count nothing."""
    sizes = torch.tensor([len(target) for target in targets])
    flat = torch.tensor([symbol for target in targets for symbol in target])
    losses = F.ctc_loss(
        log_probs.transpose(0, 1), flat.to(log_probs.device), lengths, sizes, reduction="none", zero_infinity=True
    )
    return losses.sum() / sizes.sum()


def with_thresholds(config: AlignerConfig, told: Sequence[Alignment]) -> AlignerConfig:
    """Thresholds that nearly all of these alignments, of clips known to be well transcribed on the whole, pass."""
    scores = [alignment.score for alignment in told]
    words = [score for alignment in told for score in alignment.word_scores]
    threshold = MARGIN * float(np.quantile(scores, POOR_SHARE))
    word_threshold = MARGIN * float(np.quantile(words, POOR_SHARE))
    return replace(config, threshold=round(min(threshold, -0.1), 3), word_threshold=round(min(word_threshold, -0.5), 3))


def export(directory: Path, config: AlignerConfig, network: AlignerNetwork) -> None:
    """Writes config.json and model.safetensors (fp32), each whole or not at all. Raises CheckpointError."""
    tensors = {name: value.detach().float().cpu().contiguous() for name, value in network.state_dict().items()}
    write_network(directory, config.values(), tensors)
