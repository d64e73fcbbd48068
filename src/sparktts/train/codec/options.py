"""What a codec training can be told; see docs/train-codec.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..features.extractors import EncoderOptions
from ..options import RunOptions, bounded


@dataclass(frozen=True)
class DataOptions:
    """shards: what `sparktts prepare` wrote; validation: another such folder, or null: `validation_clips` are held out.

    root: where the audio is, if the shards do not say it (or say it wrong). batch: segments per process and step.
    reference: what tells the voice: `clip`: the clip itself, the segment masked to zero; `speaker`: another clip of the
    same speaker, drawn at random, where there is one.
    reference_augment: share of the references that are made worse: echo, noise, a narrower band, cut-off peaks; with
    it, those from another clip are a piece of it, 2 s or more.
    cache_mb: memory for decoded clips; pitch_cache: folder in which their pitch is kept, for all processes and runs;
    loaders: threads that read ahead.
    """

    shards: Path
    root: Path | None = None
    validation: Path | None = None
    validation_clips: int = bounded(8, low=0)
    segment_seconds: float = bounded(2.4, low=0.2, high=60)
    reference: Literal["clip", "speaker"] = "clip"
    reference_seconds: float = bounded(6.0, low=0.5, high=60)
    reference_augment: float = bounded(0.0, low=0, high=1)
    batch: int = bounded(16, low=1)
    cache_mb: int = bounded(1000, low=0)
    pitch_cache: Path | None = None
    loaders: int = bounded(1, low=1, high=64)


@dataclass(frozen=True)
class OptimizerOptions:
    """AdamW for the generator and for the discriminators; the rate falls exponentially from the first to the last."""

    rate: float = bounded(1e-4, low=0, high=1)
    last_rate: float = bounded(1e-5, low=0, high=1)
    warmup: int = bounded(0, low=0)
    betas: tuple[float, ...] = (0.8, 0.9)
    weight_decay: float = bounded(0.01, low=0, high=1)
    clip: float = bounded(1.0, low=0)
    ema: float = bounded(0.999, low=0, high=0.99999)

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("`betas` must be two numbers below 1")


@dataclass(frozen=True)
class LossOptions:
    """Weights of the losses; 0 leaves one out. mel_windows: STFT windows of the mel loss, in samples.

    spread keeps all dimensions of the codebook in use, phonemes keeps what is said in the tokens (with `aligner`),
    identity keeps who says it (with `voice_encoder`); the published training has none of them.
    """

    mel: float = bounded(15.0, low=0)
    adversarial: float = bounded(1.0, low=0)
    features: float = bounded(1.0, low=0)
    quantizer: float = bounded(1.0, low=0)
    spread: float = bounded(0.1, low=0)
    phonemes: float = bounded(5.0, low=0)
    speaker: float = bounded(1.0, low=0)
    identity: float = bounded(10.0, low=0)
    postnet: float = bounded(1.0, low=0)
    f0: float = bounded(1.0, low=0)
    voicing: float = bounded(1.0, low=0)
    mel_windows: tuple[int, ...] = bounded((32, 64, 128, 256, 512, 1024, 2048), low=16, high=1 << 14)


@dataclass(frozen=True)
class DiscriminatorOptions:
    """start: step at which they begin, null: there are none. crop_seconds: what they hear of a segment, null: all.

    period_channels: one width per layer; 32 128 512 1024 1024 are those of HiFi-GAN, narrow ones train on a CPU.
    """

    start: int | None = 0
    crop_seconds: float | None = None
    periods: tuple[int, ...] = bounded((2, 3, 5, 7, 11), low=1, high=100)
    period_channels: tuple[int, ...] = bounded((32, 128, 512, 1024, 1024), low=1, high=4096)
    windows: tuple[int, ...] = bounded((2048, 1024, 512), low=32, high=1 << 14)
    window_channels: int = bounded(32, low=1, high=1024)


@dataclass(frozen=True)
class CodecTraining:
    """One training.

    stage: `all`, or `decoder`: encoder, quantisers and tokens stay as they are, tokens come from the shards.
    features: what hears the speech; null: the model of init_from; without `cache` it hears every batch anew.
    aligner: what `sparktts train aligner` made on the same features; the tokens are then to keep the phonemes.
    voice_encoder: weights of GE2E (resemblyzer's pretrained.pt); it then hears whether the sound is the same person's.
    init_from: a checkpoint to go on from. model: section `audio_tokenizer` of BiCodec/config.yaml, merged over that of
    init_from; parts whose configuration differs start untrained.
    speaker_warmup: steps during which the continuous x-vector is the condition; quantizer_warmup: steps before the
    semantic vectors are quantised.
    """

    run: RunOptions
    data: DataOptions
    features: EncoderOptions | None = None
    aligner: Path | None = None
    voice_encoder: Path | None = None
    model: dict[str, Any] = field(default_factory=dict)
    stage: Literal["all", "decoder"] = "all"
    init_from: Path | None = None
    optimizer: OptimizerOptions = OptimizerOptions()
    losses: LossOptions = LossOptions()
    discriminators: DiscriminatorOptions = DiscriminatorOptions()
    speaker_warmup: int = bounded(1000, low=0)
    quantizer_warmup: int = bounded(0, low=0)

    def __post_init__(self) -> None:
        if self.init_from is None and not self.model:
            raise ValueError("give `model`, the codec's dimensions, or `init_from`, a checkpoint")
        if self.init_from is None and self.stage == "decoder":
            raise ValueError("`stage: decoder` needs `init_from`, the checkpoint whose tokens stay")
        if self.aligner is not None and self.stage == "decoder":
            raise ValueError("`aligner` is for the tokens, which `stage: decoder` leaves as they are")
        if self.init_from is None and self.features is None:
            raise ValueError("give `features`, the encoder that hears the speech, or `init_from`, a checkpoint")
