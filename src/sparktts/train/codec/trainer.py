"""The training of the codec, one step after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pickle import UnpicklingError
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from ...audio.mel import MelSpectrogram
from ...checkpoint.config import BiCodecConfig, SourceFilterConfig
from ...checkpoint.fields import Section
from ...checkpoint.layout import CODEC_DIR, Checkpoint
from ...engine.torch.aligner import Aligner, AlignerNetwork
from ...errors import CheckpointError, OptionError
from ...evaluate.judges.ge2e_network import GE2ENetwork
from ..features.cache import ClipFeatures
from ..features.extractors import EncoderOptions, open_encoder
from ..run import Metrics, Run, launch
from .discriminators import Discriminators
from .losses import (
    adversarial_loss,
    discriminator_loss,
    feature_loss,
    identity_loss,
    mel_distance,
    phoneme_loss,
    resolutions,
)
from .model import Averaged, CodecModel, Made, SyncedBatchNorm
from .options import CodecTraining
from .segments import Batch, Needs, Recordings, Segments, load_clips
from .validation import Validation

CROPS, ENTRIES = 21, 22  # purposes of random numbers


def train(options: CodecTraining) -> int:
    """Runs the training, or goes on with it. Returns the last step done. Raises SparkTTSError."""
    codec_config(options)  # a wrong configuration should not wait for the processes
    return launch(options.run, _body, options, config=options)


def _body(run: Run, options: CodecTraining) -> int:
    trainer = CodecTrainer.start(run, options)
    try:
        return trainer.fit()
    finally:
        trainer.segments.close()


def codec_section(options: CodecTraining) -> dict[str, Any]:
    """The section `audio_tokenizer` of the checkpoint to be made: the options merged over init_from's."""
    if options.init_from is None:
        return options.model
    path = options.init_from / CODEC_DIR / "config.yaml"
    try:
        base = yaml.safe_load(path.read_text(encoding="utf-8"))["audio_tokenizer"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        raise CheckpointError(f"{path} cannot be read: `init_from` must be the directory of a checkpoint.") from None
    return _merged(base, options.model)


def codec_config(options: CodecTraining) -> BiCodecConfig:
    """Raises CheckpointError naming the key."""
    config = BiCodecConfig.parse(Section(f"The configuration's `model` ({options.run.out})", codec_section(options)))
    if options.stage == "decoder" and options.init_from is not None:
        before = Checkpoint.open_codec(options.init_from).bicodec
        for part in ("encoder", "quantizer", "speaker_encoder"):
            if getattr(before, part) != getattr(config, part):
                raise OptionError(f"`stage: decoder` keeps the tokens, so `model.{part}` must be that of `init_from`.")
    return config


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        same_kind = isinstance(value, dict) and isinstance(old, dict) and value.get("type") == old.get("type")
        result[key] = _merged(old, value) if same_kind else value  # type: ignore[arg-type]
    return result


class CodecTrainer:
    """Model, discriminators, optimisers and data of one run."""

    def __init__(
        self,
        run: Run,
        options: CodecTraining,
        model: CodecModel,
        segments: Segments,
        validation: Validation | None = None,
        aligner: AlignerNetwork | None = None,
        voices: GE2ENetwork | None = None,
    ) -> None:
        self.run, self.options, self.segments, self.validation = run, options, segments, validation
        self.model = model.prepare().to(run.device)
        if run.world_size > 1:
            SyncedBatchNorm.everywhere(self.model)
        run.broadcast(self.model)
        self.aligner, self.voices = aligner, voices
        self.averaged = Averaged(self.model, options.optimizer.ema)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = self._adam(self.parameters)
        self.mels = resolutions(options.losses.mel_windows, model.config.mel.sample_rate)
        self.state: dict[str, Any] = {
            "model": self.model,
            "averaged": self.averaged,
            "optimizer": self.optimizer,
        }
        self.discriminators: Discriminators | None = None
        self.discriminator_optimizer: torch.optim.AdamW | None = None
        if options.discriminators.start is not None:
            self.discriminators = Discriminators(options.discriminators).to(run.device)
            run.broadcast(self.discriminators)
            self.discriminator_optimizer = self._adam(self.discriminators.parameters())
            self.state["discriminators"] = self.discriminators
            self.state["discriminator_optimizer"] = self.discriminator_optimizer

    @classmethod
    def start(cls, run: Run, options: CodecTraining) -> CodecTrainer:
        """Everything from the options. Raises SparkTTSError."""
        config = codec_config(options)
        before = None if options.init_from is None else Checkpoint.open_codec(options.init_from)
        model = CodecModel(config, MelSpectrogram(**asdict(config.mel)), options.stage)
        if before is not None and (fresh := model.load(before)):
            run.say(f"Untrained at the beginning: {', '.join(fresh)}.")
        clips, held, root, held_root = load_clips(options.data)
        needs = Needs(
            reference=options.stage == "all",
            features=options.stage == "all",
            tokens=options.stage == "decoder",
            pitch=isinstance(config.decoder, SourceFilterConfig),
        )
        heard = held_heard = aligner = None
        if needs.features:
            source = feature_source(options)
            encoder = open_encoder(source, run.device)
            if encoder.dim != config.encoder.input_channels:
                raise OptionError(
                    f"The features have {encoder.dim} values, but `model.encoder.input_channels` is "
                    f"{config.encoder.input_channels}: make them equal."
                )
            if options.aligner is not None:
                aligner = Aligner.load(options.aligner, run.device).require(encoder.fingerprints).network
                aligner.requires_grad_(False)
            heard = ClipFeatures(root, source, encoder, run.device)
            held_heard = ClipFeatures(held_root, source, encoder, run.device)
            heard.fill(run, clips)
        data, kept = options.data, options.data.pitch_cache
        recordings = Recordings(clips, root, config.hop, data.cache_mb, kept)
        segments = Segments(run, recordings, data, needs, heard)
        validation = None
        if held:
            held_recordings = Recordings(held, held_root, config.hop, data.cache_mb, kept)
            validation = Validation(run, held_recordings, held_heard, data.reference_seconds)
        trainer = cls(run, options, model, segments, validation, aligner, voice_encoder(options, run.device))
        trainer.announce()
        return trainer

    def announce(self) -> None:
        """Says what is about to happen."""
        count = sum(p.numel() for p in self.parameters) / 1e6
        judges = "no discriminators"
        if self.discriminators is not None:
            judges = f"{sum(p.numel() for p in self.discriminators.parameters()) / 1e6:.1f} M in discriminators"
        left_out = len(self.segments.recordings.clips) - len(self.segments.usable)
        self.run.say(
            f"Codec, stage {self.options.stage}: {count:.1f} M parameters ({judges}), "
            f"{self.segments.hours:.2f} hours of speech in {len(self.segments.usable)} clips"
            + (f" ({left_out} shorter than a segment left out)" if left_out else "")
            + f", {self.options.run.steps:,} steps."
        )

    def fit(self) -> int:
        """Trains to the end or to a stop. Returns the last step done."""
        return self.run.fit(self.state, self.train_step, self.validate if self.validation else None, best="mel")

    def validate(self, step: int) -> Metrics:
        assert self.validation is not None
        with self.averaged.applied() as model:
            return self.validation.measure(model, step)

    def train_step(self, step: int) -> Metrics:
        """One step of the generator, and one of the discriminators once they have begun."""
        batch = self.segments.batch(step).to(self.run.device)
        self._set_rates(step)
        start = self.options.discriminators.start
        judged = start is not None and step > start
        with self.run.autocast():
            warmup = self.options.quantizer_warmup
            made = self.model(batch, continuous=step <= self.options.speaker_warmup, unquantized=step <= warmup)
        metrics: dict[str, Tensor | float] = {}
        if judged:
            metrics["discriminators"] = self.discriminator_step(batch.audio, made.wave.detach(), step)
        metrics.update(self.generator_step(batch, made, step, judged))
        return metrics

    def discriminator_step(self, real: Tensor, fake: Tensor, step: int) -> Tensor:
        """Teaches the discriminators. real, fake: (B, N). Returns their loss before the step."""
        assert self.discriminators is not None
        assert self.discriminator_optimizer is not None
        self.discriminators.requires_grad_(True)
        real, fake = self._cropped(real, fake, step)
        with self.run.autocast():
            # One pass over both: batches are what processors do best.
            layers = self.discriminators(torch.cat([real, fake]))
        heard = [[layer[: len(real)] for layer in member] for member in layers]
        made = [[layer[len(real) :] for layer in member] for member in layers]
        loss = discriminator_loss(heard, made)
        self._step(loss, self.discriminator_optimizer, list(self.discriminators.parameters()))
        return loss.detach()

    def generator_step(self, batch: Batch, made: Made, step: int, judged: bool) -> Metrics:
        """Teaches everything else. Returns each loss, unweighted, and their weighted sum."""
        losses = self.generator_losses(batch, made, step, judged)
        weights = asdict(self.options.losses)
        total = torch.stack([weights[name] * value for name, value in losses.items() if weights[name]]).sum()
        norm = self._step(total, self.optimizer, self.parameters)
        if made.quantized is not None:
            shared = self.run.generator(step, ENTRIES, shared=True)
            moved = self.model.quantizer.revive(self.run, made.quantized.tokens, made.quantized.latent, shared)
            self.averaged.update(step)
            self.averaged.follow("quantizer.codebook.weight", moved)
        else:
            moved = None
            self.averaged.update(step)
        metrics: dict[str, Tensor | float] = {"loss": total.detach(), "gradient": norm}
        metrics.update({name: value.detach() for name, value in losses.items()})
        if made.quantized is not None and moved is not None:
            metrics["codes_used"] = float(len(torch.unique(made.quantized.tokens)))
            metrics["codes_moved"] = float(len(moved))
        if made.similarity is not None:
            metrics["speaker_cosine"] = made.similarity
        return metrics

    def generator_losses(self, batch: Batch, made: Made, step: int, judged: bool) -> dict[str, Tensor]:
        """All losses of the generator by their names in `losses`."""
        losses = {"mel": mel_distance(batch.audio, made.wave, self.mels), **made.losses}
        if self.aligner is not None and batch.features is not None and made.features is not None:
            losses["phonemes"] = phoneme_loss(self.aligner, batch.features, made.features)
        if self.voices is not None:
            losses["identity"] = identity_loss(self.voices, batch.audio, made.wave)
        if judged:
            assert self.discriminators is not None
            self.discriminators.requires_grad_(False)
            real, fake = self._cropped(batch.audio, made.wave, step)
            with self.run.autocast():
                with torch.no_grad():
                    heard = self.discriminators(real)
                judged_layers = self.discriminators(fake)
            losses["adversarial"] = adversarial_loss(judged_layers)
            losses["features"] = feature_loss(heard, judged_layers)
        return losses

    def _cropped(self, real: Tensor, fake: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The same random part of every segment, if discriminators hear only a part."""
        seconds = self.options.discriminators.crop_seconds
        wanted = real.shape[1] if seconds is None else round(seconds * self.model.config.mel.sample_rate)
        if wanted >= real.shape[1]:
            return real, fake
        start = int(self.run.generator(step, CROPS).integers(0, real.shape[1] - wanted + 1))
        return real[:, start : start + wanted], fake[:, start : start + wanted]

    def _step(self, loss: Tensor, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> Tensor:
        """Backward, mean over processes, clipping, update. Returns the gradient's norm."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.run.average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, self.options.optimizer.clip or float("inf"))
        if not torch.isfinite(norm):
            optimizer.zero_grad(set_to_none=True)  # one bad batch must not end a run of days
        else:
            optimizer.step()
        return norm.detach()

    def _adam(self, parameters: Iterable[nn.Parameter]) -> torch.optim.AdamW:
        o = self.options.optimizer
        fused = self.run.device.type in ("cpu", "cuda")
        return torch.optim.AdamW(
            parameters, lr=o.rate, betas=(o.betas[0], o.betas[1]), weight_decay=o.weight_decay, fused=fused
        )

    def _set_rates(self, step: int) -> None:
        """The learning rate is a function of the step alone."""
        o = self.options.optimizer
        passed = (step - 1) / max(1, self.options.run.steps - 1)
        rate = o.rate * (o.last_rate / o.rate) ** passed if o.rate and o.last_rate else o.rate * (1 - passed)
        rate *= min(1.0, step / o.warmup) if o.warmup else 1.0
        for optimizer in filter(None, (self.optimizer, self.discriminator_optimizer)):
            for group in optimizer.param_groups:
                group["lr"] = rate


def voice_encoder(options: CodecTraining, device: torch.device) -> GE2ENetwork | None:
    """What hears who speaks, if the options name it. Raises CheckpointError."""
    if options.voice_encoder is None:
        return None
    try:
        return GE2ENetwork.load(options.voice_encoder).to(device)
    except (OSError, RuntimeError, KeyError, ValueError, UnpicklingError):
        raise CheckpointError(
            f"{options.voice_encoder} holds no weights of GE2E: `voice_encoder` must be pretrained.pt of the package "
            "resemblyzer."
        ) from None


def feature_source(options: CodecTraining) -> EncoderOptions:
    """The encoder that the options name, or that of the checkpoint that they go on from."""
    if options.features is not None:
        return options.features
    assert options.init_from is not None
    return EncoderOptions(options.init_from)
