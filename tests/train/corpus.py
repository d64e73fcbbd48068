"""A corpus of two golden clips, cut up, as shards; and the smallest codec that can be trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparktts.audio.mel import MelSpectrogram
from sparktts.audio.read import read_audio
from sparktts.audio.write import write_audio
from sparktts.data.schema import Clip
from sparktts.data.shards import write_shard

WAVE = {"input_channel": 32, "channels": 32, "rates": [8, 5, 4, 2], "kernel_sizes": [16, 11, 8, 4]}
FRAMES = {"input_channel": 32, "vocos_dim": 32, "vocos_intermediate_dim": 64, "vocos_num_layers": 2}
DECODERS: dict[str, dict[str, Any]] = {
    "wave_generator": WAVE,
    "vocos": {"type": "vocos", **FRAMES},
    "source_filter": {"type": "source_filter", **FRAMES},
}
REFINER = {"vocos_dim": 16, "vocos_intermediate_dim": 32, "vocos_num_layers": 1}
STACK = {"vocos_dim": 32, "vocos_intermediate_dim": 64, "vocos_num_layers": 1, "sampling_block_layers": 0}


def write_corpus(directory: Path, clips: list[Path], seconds: float = 1.6) -> Path:
    """Pieces of the clips as 16 kHz wav files and a shard with made-up tokens. Returns the folder of the shard."""
    (directory / "audio").mkdir()
    (directory / "shards").mkdir()
    rows, rng = [], np.random.default_rng(1)
    for path in clips:
        samples = read_audio(path)
        for start in range(0, len(samples) - 16000, 12800):
            piece = samples[start : start + round(seconds * 16000)]
            name = f"{len(rows)}.wav"
            write_audio(directory / "audio" / name, piece, 16000)
            semantic = tuple(int(token) for token in rng.integers(0, 64, len(piece) // 320))
            voice = tuple(int(token) for token in rng.integers(0, 4096, 8))
            duration = len(piece) / 16000
            rows.append(
                Clip(name, name, "Words.", "en", "speaker", duration, -20, 4, 4, semantic=semantic, global_tokens=voice)
            )
    write_shard(directory / "shards" / "clips-00000.parquet", rows, {"root": "../audio"})
    return directory / "shards"


def codec_model(decoder: str = "vocos") -> dict[str, Any]:
    """Section `model` of a configuration."""
    return {
        "mel_params": {
            "sample_rate": 16000,
            "n_fft": 1024,
            "win_length": 640,
            "hop_length": 320,
            "mel_fmin": 10,
            "mel_fmax": None,
            "num_mels": 128,
        },
        "encoder": {"input_channels": 64, "out_channels": 32, **STACK},
        "quantizer": {"input_dim": 32, "codebook_size": 64, "codebook_dim": 4},
        "speaker_encoder": {
            "input_dim": 128,
            "out_dim": 32,
            "latent_dim": 16,
            "token_num": 8,
            "fsq_levels": [4] * 6,
            "ecapa_channels": 32,
            "ecapa_se_bottleneck": 8,
            "ecapa_pool_bottleneck": 8,
            "ecapa_features": 32,
            "perceiver_heads": 2,
            "perceiver_head_dim": 8,
        },
        "prenet": {"input_channels": 32, "out_channels": 32, "condition_dim": 32, **STACK},
        "postnet": {"input_channels": 32, "out_channels": 64, **STACK},
        "decoder": DECODERS[decoder],
    }


def codec_values(out: Path, shards: Path, mini: Path, decoder: str = "vocos", **changes: Any) -> dict[str, Any]:
    """A whole configuration; `changes` by section are merged in, empty ones replace."""
    values: dict[str, Any] = {
        "run": {
            "out": str(out),
            "steps": 6,
            "log_every": 1,
            "validate_every": 3,
            "save_every": 2,
            "accelerator": "cpu",
        },
        "data": {
            "shards": str(shards),
            "segment_seconds": 0.4,
            "reference_seconds": 1.0,
            "batch": 3,
            "validation_clips": 1,
        },
        "features": {
            "path": str(mini / "wav2vec2-large-xlsr-53"),
            "layers": [1, 2],
            "cache": str(shards.parent / "features"),
        },
        "model": codec_model(decoder),
        "losses": {"mel_windows": [256, 512, 1024]},
        "optimizer": {"rate": 2e-3, "last_rate": 1e-3},
        "discriminators": {
            "start": None,
            "crop_seconds": 0.2,
            "periods": [2, 3],
            "period_channels": [4, 8],
            "windows": [256],
            "window_channels": 4,
        },
        "speaker_warmup": 2,
    }
    for section, change in changes.items():
        merged = change and isinstance(values.get(section), dict)
        values[section] = {**values[section], **change} if merged else change
    return values


class MelFeatures:
    """An encoder without a model: 64 log mel bands. The seeded wav2vec2 hears hardly any difference."""

    dim = 64
    fingerprints = ("log mel bands",)

    def __call__(self, audio: torch.Tensor) -> torch.Tensor:
        mels = [MelSpectrogram(num_mels=64)(clip)[:, :-1] for clip in audio.numpy()]
        return torch.from_numpy(np.stack([np.log(np.maximum(mel, 1e-3)).T for mel in mels]))
