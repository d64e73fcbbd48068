"""The codec as it is trained: the networks of the engine, initialised, weight-normed, and run over segments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from ...audio.mel import MelSpectrogram
from ...checkpoint.config import BiCodecConfig, SourceFilterConfig
from ...checkpoint.layout import Checkpoint
from ...engine.torch.convnext import AdaptiveLayerNorm, ConvNeXtBackbone
from ...engine.torch.feature_networks import FeatureDecoder, SemanticEncoder
from ...engine.torch.parts import make_decoder
from ...engine.torch.source_filter import SourceFilterDecoder
from ...engine.torch.speaker_encoder import SpeakerEncoder
from ...engine.torch.wave_generator import WaveGenerator
from .losses import f0_loss, mel_spectrogram
from .processes import sum_of_all
from .quantizing import LearningQuantizer, Quantized
from .segments import Batch

PARTS = ("encoder", "quantizer", "speaker_encoder", "prenet", "postnet", "decoder")
TRAINED = {"all": PARTS, "decoder": ("prenet", "decoder")}


class Made(NamedTuple):
    """What a forward pass gives: samples and the losses that do not depend on them."""

    wave: Tensor  # (B, hop * S)
    losses: dict[str, Tensor]
    quantized: Quantized | None
    global_tokens: Tensor  # (B, token_num)
    similarity: Tensor | None  # cosine of x-vector and d-vector
    features: Tensor | None = None  # (B, dim, S), rebuilt by the postnet


class CodecModel(nn.Module):
    """All networks of the codec; names of parameters are those of the checkpoint, weight norm aside."""

    def __init__(self, config: BiCodecConfig, mel: MelSpectrogram, stage: str = "all") -> None:
        super().__init__()
        self.config, self.mel, self.stage = config, mel, stage
        self.encoder = SemanticEncoder(config.encoder)
        self.quantizer = LearningQuantizer(config.quantizer)
        self.speaker_encoder = SpeakerEncoder(config.speaker_encoder)
        self.prenet = FeatureDecoder(config.prenet)
        self.postnet = FeatureDecoder(config.postnet)
        self.decoder = make_decoder(config.decoder)
        for part in (self.encoder, self.prenet, self.postnet, self.decoder):
            if not isinstance(part, WaveGenerator):
                part.apply(_initialize)
        nn.init.normal_(self.quantizer.codebook.weight, std=0.1)
        # Entries are told apart by direction: what all frames have in common must not hide how they differ.
        nn.init.zeros_(cast(Tensor, self.quantizer.in_project.bias))
        nn.init.normal_(self.speaker_encoder.perceiver_sampler.latents, std=0.5)  # unlike from the start

    @property
    def trained(self) -> list[nn.Module]:
        """The parts that this stage trains."""
        return [self.get_submodule(name) for name in TRAINED[self.stage]]

    def load(self, checkpoint: Checkpoint) -> list[str]:
        """Takes the weights of the parts that have the same configuration. Returns the names of the others."""
        fresh = []
        for part in PARTS:
            wanted, known = getattr(self.config, part), getattr(checkpoint.bicodec, part)
            if _unrefined(wanted) != _unrefined(known):
                fresh.append(part)
                continue
            arrays = checkpoint.bicodec_tensors(part)
            state = {name.removeprefix(f"{part}."): torch.from_numpy(array) for name, array in arrays.items()}
            if wanted != known:  # a refiner more, less, or of another size
                state = {name: value for name, value in state.items() if not name.startswith("refiner.")}
                fresh += [f"{part}.refiner"] if wanted.refiner else []
            missing, _ = self.get_submodule(part).load_state_dict(state, strict=False)
            expected = ("cluster_size", "num_batches_tracked")
            assert all(name.endswith(expected) or f"{part}.refiner" in fresh for name in missing), missing
        if "quantizer" not in fresh:
            self.quantizer.cluster_size.fill_(1.0)  # entries of a trained codebook are not dead before they are counted
        return fresh

    def prepare(self) -> CodecModel:
        """Weight norm where the published model has it, frozen parts as they are. Call once, after `load`."""
        trained = self.trained
        for part in PARTS:
            module = self.get_submodule(part)
            if module not in trained:
                module.requires_grad_(False)
        if self.quantizer in trained:
            weight_norm(self.quantizer.in_project)
            weight_norm(self.quantizer.out_project)
        if isinstance(self.decoder, WaveGenerator):
            for layer in list(self.decoder.modules()):
                if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
                    weight_norm(layer)
        return self.train()

    def train(self, mode: bool = True) -> CodecModel:
        """Frozen parts stay in evaluation mode: their statistics are weights too."""
        super().train(mode)
        for part in PARTS:
            if part not in TRAINED[self.stage]:
                self.get_submodule(part).eval()
        return self

    def folded(self) -> dict[str, Tensor]:
        """The tensors of a checkpoint: official names, weight norm folded."""
        state = {k: v for k, v in self.state_dict().items() if ".parametrizations." not in k and "num_batches" not in k}
        for name, module in self.named_modules():
            if parametrize.is_parametrized(module):
                state[f"{name}.weight"] = cast(Tensor, module.weight)
        return {name: tensor.detach().float().cpu().contiguous() for name, tensor in state.items()}

    def forward(self, batch: Batch, continuous: bool = False, unquantized: bool = False) -> Made:
        """One pass over segments.

        continuous: the x-vector is the condition, not the one rebuilt from tokens; unquantized: semantic vectors are
        those before the quantiser.
        """
        if self.stage == "decoder":
            return self._from_tokens(batch)
        assert batch.features is not None
        assert batch.reference is not None
        voices = self.speaker_encoder
        x_vector, features = voices.speaker_encoder(mel_spectrogram(self.mel, batch.reference))
        gathered = voices.perceiver_sampler(features.transpose(1, 2))
        z = self.encoder(batch.features)
        with _full_precision(z):  # rounding decides here
            vectors, global_tokens = voices.quantizer(gathered.float())
            quantized = self.quantizer.learn(z.float(), unquantized)
        d_vector = voices.project(vectors.transpose(1, 2).flatten(1))
        condition = x_vector if continuous else d_vector
        latent = self.prenet(quantized.vectors, condition)
        rebuilt = self.postnet(latent).float()
        losses = {
            "quantizer": quantized.loss,
            "spread": quantized.spread,
            "speaker": F.mse_loss(d_vector.float(), x_vector.detach().float()),
            "postnet": F.mse_loss(rebuilt, batch.features),
        }
        wave = self._wave(latent + condition.unsqueeze(-1), batch, losses)
        similarity = F.cosine_similarity(x_vector.detach().float(), d_vector.detach().float()).mean()
        return Made(wave, losses, quantized, global_tokens, similarity, rebuilt)

    def _from_tokens(self, batch: Batch) -> Made:
        assert batch.semantic is not None
        assert batch.global_tokens is not None
        with torch.no_grad(), _full_precision(batch.audio):
            condition = self.speaker_encoder.d_vector(batch.global_tokens)
            vectors = self.quantizer.embed(batch.semantic)
        losses: dict[str, Tensor] = {}
        wave = self._wave(self.prenet(vectors, condition) + condition.unsqueeze(-1), batch, losses)
        return Made(wave, losses, None, batch.global_tokens, None)

    def _wave(self, latent: Tensor, batch: Batch, losses: dict[str, Tensor]) -> Tensor:
        """The samples; a source-filter decoder gets the recording's pitch, and losses for its own."""
        if not isinstance(self.decoder, SourceFilterDecoder):
            return cast(Tensor, self.decoder(latent)).float()
        assert batch.log_f0 is not None
        assert batch.voiced is not None
        controls = self.decoder.controls(latent)
        losses["f0"] = f0_loss(controls.log_f0, batch.log_f0, batch.voiced)
        losses["voicing"] = F.binary_cross_entropy_with_logits(controls.voicing, batch.voiced)
        with _full_precision(latent):
            plain = self.decoder.synthesize(controls, batch.log_f0, batch.voiced, first=batch.first)
        return self.decoder.refine(plain, latent)

    @torch.no_grad()
    def tokens(self, features: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """Semantic tokens (B, T) and global tokens (B, token_num), as the engine computes them."""
        voice = self.speaker_encoder.tokens(mel_spectrogram(self.mel, reference))
        return self.quantizer.quantize(self.encoder(features)), voice

    @torch.no_grad()
    def decode(self, semantic: Tensor, global_tokens: Tensor) -> Tensor:
        """(B, hop * T) samples, as the engine computes them."""
        condition = self.speaker_encoder.d_vector(global_tokens)
        features = self.prenet(self.quantizer.embed(semantic), condition)
        return cast(Tensor, self.decoder(features + condition.unsqueeze(-1))).float()


class Averaged:
    """Running means of a model's parameters, with which it is validated and exported; buffers are copied."""

    def __init__(self, model: CodecModel, decay: float) -> None:
        self.model, self.decay = model, decay
        self.values = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        current = self.model.state_dict()
        averaged = {name for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        for name, value in self.values.items():
            if name in averaged:
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])

    @torch.no_grad()
    def follow(self, name: str, rows: Tensor) -> None:
        """Takes over rows that were set anew."""
        self.values[name][rows] = self.model.state_dict()[name][rows]

    @contextmanager
    def applied(self) -> Iterator[CodecModel]:
        """The model in evaluation mode with the means as its parameters; its own come back afterwards."""
        own = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(self.values)
        self.model.eval()
        try:
            yield self.model
        finally:
            self.model.load_state_dict(own)
            self.model.train()

    def state_dict(self) -> dict[str, Tensor]:
        return self.values

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, value in self.values.items():
            value.copy_(state[name])


class SyncedBatchNorm(nn.BatchNorm1d):
    """Batch norm over the batches of all processes; unlike torch's own also on CPUs."""

    @classmethod
    def everywhere(cls, model: nn.Module) -> None:
        """Takes the place of every batch norm below `model`."""
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if type(child) is nn.BatchNorm1d:
                    synced = cls(child.num_features, child.eps, child.momentum)
                    synced.load_state_dict(child.state_dict())
                    setattr(module, name, synced)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C) or (B, C, T)."""
        if not self.training:
            return super().forward(x)
        x = x.float()
        axes = (0,) if x.dim() == 2 else (0, 2)
        shape = (1, -1) if x.dim() == 2 else (1, -1, 1)
        count = torch.full((1,), x.numel() / x.shape[1], device=x.device)
        sums = sum_of_all(torch.cat([x.sum(axes), count]))
        total = sums[-1].detach()
        mean = sums[:-1] / total
        # In two passes: the difference of mean squares would lose what matters where deviations are small.
        centred = x - mean.view(shape)
        variance = sum_of_all(centred.square().sum(axes)) / total
        with torch.no_grad():
            momentum = self.momentum or 0.1
            cast(Tensor, self.running_mean).lerp_(mean, momentum)
            cast(Tensor, self.running_var).lerp_(variance * total / (total - 1), momentum)
        normed = centred / (variance.view(shape) + self.eps).sqrt()
        return normed * self.weight.view(shape) + self.bias.view(shape)


def _unrefined(part: object) -> object:
    return replace(part, refiner=None) if isinstance(part, SourceFilterConfig) else part


def _full_precision(like: Tensor) -> Any:
    return torch.autocast(like.device.type, enabled=False)


def _initialize(module: nn.Module) -> None:
    """Blocks that add to their input begin weakly; conditions begin without effect on the gain. Source: as Vocos."""
    if isinstance(module, AdaptiveLayerNorm):
        nn.init.ones_(module.scale.bias)
    elif isinstance(module, ConvNeXtBackbone):
        for block in module.convnext:
            nn.init.constant_(cast(Tensor, block.gamma), 1 / len(module.convnext))
    elif isinstance(module, nn.Linear | nn.Conv1d) and module.bias is not None:
        nn.init.zeros_(module.bias)
