"""How good the codec is on clips that it never trains on."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...audio.reference import reference_window
from ...audio.samples import Samples
from ..features.cache import ClipFeatures
from ..run import Metrics, Run
from .losses import mel_distance, mel_spectrogram, resolutions
from .model import CodecModel
from .quality import measures
from .segments import Recordings

WINDOWS = (512, 1024, 2048)  # of the mel distance
LONGEST = 10.0  # seconds of a clip that are used
HEARD = 4  # clips whose sound goes to TensorBoard


class Validation:
    """Whole clips through tokens and back."""

    def __init__(self, run: Run, recordings: Recordings, heard: ClipFeatures | None, reference_seconds: float) -> None:
        """heard None: tokens come from the shards."""
        self.run, self.recordings, self.heard, self.seconds = run, recordings, heard, reference_seconds
        self._features: dict[int, Tensor] = {}

    @torch.no_grad()
    def measure(self, model: CodecModel, step: int) -> Metrics:
        """mel: mean log10 distance per resolution; stoi, pesq: see `quality`; tokens_used, voices_used: different ones;
        perplexity of the semantic tokens; speaker_cosine of x-vector and d-vector."""
        mels = resolutions(WINDOWS, model.config.mel.sample_rate)
        found: dict[str, list[float]] = defaultdict(list)
        semantic, voices = [], []
        for index in range(len(self.recordings.clips)):
            audio = self.recordings.samples(index)[: round(LONGEST * model.config.mel.sample_rate)]
            tokens, voice, cosine = self._tokens(model, index, audio)
            made = model.decode(tokens, voice)[0].clamp(-1, 1)
            real = torch.from_numpy(audio).to(made.device)[: len(made)]
            made = made[: len(real)]
            found["mel"].append(float(mel_distance(real[None], made[None], mels)) / len(mels))
            for name, score in measures(real.cpu().numpy(), made.cpu().numpy(), model.config.mel.sample_rate).items():
                found[name].append(score)
            if cosine is not None:
                found["speaker_cosine"].append(cosine)
            semantic.append(tokens.flatten().cpu().numpy())
            voices.append(voice.flatten().cpu().numpy())
            if index < HEARD:
                self._show(step, index, real, made, model)
        spoken = np.concatenate(semantic)
        shares = np.unique(spoken, return_counts=True)[1] / len(spoken)
        return {
            **{name: float(np.mean(values)) for name, values in found.items()},
            "tokens_used": float(len(shares)),
            "perplexity": float(np.exp(-(shares * np.log(shares)).sum())),
            "voices_used": float(len(np.unique(np.concatenate(voices)))),
        }

    def _tokens(self, model: CodecModel, index: int, audio: Samples) -> tuple[Tensor, Tensor, float | None]:
        device = next(model.parameters()).device
        clip = self.recordings.clips[index]
        if self.heard is None:
            count = len(audio) // model.config.hop
            semantic = torch.tensor(clip.semantic, dtype=torch.int64, device=device)[None, :count]
            return semantic, torch.tensor(clip.global_tokens, dtype=torch.int64, device=device)[None], None
        if index not in self._features:
            count = len(audio) // model.config.hop
            self._features[index] = torch.from_numpy(np.array(self.heard.of(clip)[:count], np.float32))
        reference = torch.from_numpy(reference_window(audio, "first-6s", self.seconds)).to(device)[None]
        features = self._features[index].to(device).T[None]
        tokens, voice = model.tokens(features, reference)
        encoding = model.speaker_encoder.encode(mel_spectrogram(model.mel, reference))
        return tokens, voice, float(F.cosine_similarity(encoding.x_vector, encoding.d_vector)[0])

    def _show(self, step: int, index: int, real: Tensor, made: Tensor, model: CodecModel) -> None:
        rate = model.config.mel.sample_rate
        for name, wave in (("recording", real), ("codec", made)):
            self.run.log_audio(step, f"{name}/{index}", wave.cpu().numpy(), rate)
            logs = mel_spectrogram(model.mel, wave[None])[0].clamp(min=1e-4).log10()
            self.run.log_image(step, f"{name}_mel/{index}", logs.cpu().numpy())
