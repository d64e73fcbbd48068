"""How fast a small codec trains: seconds of audio per second of training, with and without discriminators.

python -m benchmarks.train_codec [--decoder vocos] [--precision bf16] [--steps 5]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from typing import Any

import torch

from sparktts.train.codec.discriminators import Discriminators
from sparktts.train.codec.options import CodecTraining, DiscriminatorOptions
from sparktts.train.codec.segments import Batch
from sparktts.train.codec.trainer import CodecTrainer, codec_config
from sparktts.train.options import parse_options
from sparktts.train.run import Run

from .machine import describe

STACK = {"vocos_dim": 256, "vocos_intermediate_dim": 768, "vocos_num_layers": 4}
DECODERS: dict[str, dict[str, Any]] = {
    "wave_generator": {"input_channel": 256, "channels": 256, "rates": [8, 5, 4, 2], "kernel_sizes": [16, 11, 8, 4]},
    "vocos": {"type": "vocos", "input_channel": 256, **STACK, "vocos_num_layers": 8},
    "source_filter": {"type": "source_filter", "input_channel": 256, **STACK},
}
NARROW = {"crop_seconds": 0.8, "period_channels": [8, 16, 32, 64, 64], "window_channels": 8}


def small_codec(decoder: str) -> dict[str, Any]:
    """Section `model` of a codec of about 10 M parameters."""
    mel = {"sample_rate": 16000, "n_fft": 1024, "win_length": 640, "hop_length": 320, "mel_fmin": 10, "num_mels": 128}
    voice = {"input_dim": 128, "out_dim": 256, "latent_dim": 64, "token_num": 32, "fsq_levels": [4] * 6}
    return {
        "mel_params": mel,
        "encoder": {"input_channels": 512, "out_channels": 256, **STACK},
        "quantizer": {"input_dim": 256, "codebook_size": 4096, "codebook_dim": 8},
        "speaker_encoder": {**voice, "ecapa_channels": 128, "ecapa_features": 384},
        "prenet": {"input_channels": 256, "out_channels": 256, "condition_dim": 256, **STACK},
        "postnet": {"input_channels": 256, "out_channels": 512, **STACK, "vocos_num_layers": 2},
        "decoder": DECODERS[decoder],
    }


class _Noise:
    """Segments of noise: what is measured is the arithmetic."""

    def __init__(self, count: int, seconds: float) -> None:
        frames = round(50 * seconds)
        self.made = Batch(
            audio=0.1 * torch.randn(count, 320 * frames),
            reference=0.1 * torch.randn(count, 96000),
            features=torch.randn(count, 512, frames),
            semantic=None,
            global_tokens=None,
            log_f0=torch.full((count, frames), 5.0),
            voiced=torch.ones(count, frames),
            first=torch.zeros(count, dtype=torch.int64),
        )

    def batch(self, step: int) -> Batch:
        return self.made


def audio_per_second(
    decoder: str = "vocos",
    discriminators: bool = True,
    precision: str = "fp32",
    steps: int = 5,
    batch: int = 12,
    seconds: float = 1.6,
) -> float:
    """Seconds of audio that are trained on in a second, after two steps of warming up."""
    from dataclasses import asdict

    from sparktts.audio.mel import MelSpectrogram
    from sparktts.train.codec.model import CodecModel

    with tempfile.TemporaryDirectory() as folder:
        values = {
            "run": {"out": folder, "steps": 1000, "precision": precision},
            "data": {"shards": folder, "batch": batch, "segment_seconds": seconds},
            "features": {"model": folder, "layers": [1]},
            "model": small_codec(decoder),
            "discriminators": NARROW
            if discriminators
            else {"start": None, "period_channels": [1], "window_channels": 1},
        }
        options = parse_options(values, CodecTraining)
        run = Run.alone(options.run, options)
        config = codec_config(options)
        model = CodecModel(config, MelSpectrogram(**asdict(config.mel)))
        trainer = CodecTrainer(run, options, model, _Noise(batch, seconds))  # type: ignore[arg-type]
        for step in (1, 2):
            trainer.train_step(step)
        began = time.perf_counter()
        for step in range(3, 3 + steps):
            result = trainer.train_step(step)
        float(result["loss"])  # waits for the device
        return batch * seconds * steps / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decoder", choices=[*DECODERS, "all"], default="all")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    print(describe())
    narrow = parse_options({**NARROW}, DiscriminatorOptions)
    print(f"discriminators: {sum(p.numel() for p in Discriminators(narrow).parameters()) / 1e6:.2f} M parameters")
    for decoder in DECODERS if args.decoder == "all" else [args.decoder]:
        for judged in (False, True):
            rate = audio_per_second(decoder, judged, args.precision, args.steps)
            print(f"{decoder}, {'with' if judged else 'without'} discriminators: {rate:.1f} s of audio per second")


if __name__ == "__main__":
    main()
