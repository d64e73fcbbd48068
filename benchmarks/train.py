"""Training speed: the language model beside `transformers.Trainer`, and the codec with and without discriminators.

    python -m benchmarks.train [--dtype bf16] [--device cpu] [--threads 0] [--rounds 3] [--steps 8] [--skip codec]
        [--layers 6] [--width 256] [--inner 1024] [--heads 4] [--kv-heads 4] [--tokens 4000] [--vocabulary 9216]
        [--codes 4096] [--length 300] [--decoder all] [--clock wall]

Language model: random documents of random length around --length, the same batches for both; a prompt without loss,
then speech tokens with one. A step is forward, backward, clipping and AdamW. The Trainer computes what it always does:
padded batches (documents of a batch are of similar length, as in ours) and the scores of the whole vocabulary; ours the
legal rows. Tokens are those of documents, padding left out. The share of the peak counts the arithmetic that a step
needs (six times the parameters of the layers a token, attention, and the legal rows of the head at positions with a
loss), against the best of several products of 2048 x 2048 matrices in this precision, on the same threads. Rounds
alternate; medians. --clock cpu counts processor time: on a machine that others use too, with --threads 1.

Codec: seconds of audio trained on in a second, batches of 12 segments of 1.6 s of noise, a codec of about 10 million
parameters, narrow discriminators on crops of 0.8 s.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from sparktts.audio.mel import MelSpectrogram
from sparktts.checkpoint.config import LanguageModelConfig
from sparktts.engine.torch.qwen2 import Qwen2
from sparktts.train.codec.model import CodecModel
from sparktts.train.codec.options import CodecTraining
from sparktts.train.codec.segments import Batch
from sparktts.train.codec.trainer import CodecTrainer, codec_config
from sparktts.train.lm.head import Family, LegalHead
from sparktts.train.lm.network import TrainingModel
from sparktts.train.lm.optimizer import make_optimizer
from sparktts.train.lm.options import OptimizerOptions
from sparktts.train.lm.packing import pack
from sparktts.train.lm.sequences import Document
from sparktts.train.lm.start import initialize
from sparktts.train.lm.stream import cut
from sparktts.train.options import parse_options
from sparktts.train.run import Run

from . import machine

PROMPT = 80  # ids without a loss at the beginning of a document
CONTROL = 64  # ids of marks and styles, before the codes in the vocabulary
PARTS = ("forward", "backward", "step")
SEGMENTS, SECONDS = 12, 1.6  # of a batch of the codec

Batches = list[list[Document]]
Times = dict[str, float]  # seconds of each part, and of the whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (
        ("--layers", 6), ("--width", 256), ("--inner", 1024), ("--heads", 4), ("--kv-heads", 4), ("--tokens", 4000),
        ("--steps", 8), ("--rounds", 3), ("--threads", 0), ("--vocabulary", 9216), ("--codes", 4096), ("--length", 300),
    ):  # fmt: skip
        parser.add_argument(name, type=int, default=value)
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--decoder", choices=[*DECODERS, "all"], default="all")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--skip", choices=["lm", "codec"])
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    print(machine.describe())
    print(f"dtype: {args.dtype}, device: {args.device}, threads: {torch.get_num_threads()}, clock: {args.clock}")
    if args.skip != "lm":
        language_model(args)
    if args.skip != "codec":
        codec(args)


# --- language model


def language_model(args: argparse.Namespace) -> None:
    made = batches(args)
    tokens = sum(len(document.ids) for batch in made for document in batch)
    peak = matmul_peak(args)
    print(f"matrix product peak: {peak / 1e9:.0f} GFLOP/s; {tokens / len(made):.0f} tokens a batch")
    runs = {"transformers.Trainer": their_trainer(args, made), "sparktts": our_trainer(args, made)}
    times: dict[str, list[Times]] = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, run in runs.items():
            times[name].append(run())
    needed = arithmetic(args, made) / tokens
    print(f"\n| | tokens/s | share of the peak | {' | '.join(f'{part}, tokens/s' for part in PARTS)} |")
    print("|---|---|---|---|---|---|")
    for name, found in times.items():
        rate = tokens / statistics.median(one["whole"] for one in found)
        parts = [statistics.median(one[part] for one in found) for part in PARTS if part in found[0]]
        cells = [f"{tokens / seconds:.0f}" for seconds in parts] or ["", "", ""]
        print(f"| {name} | {rate:.0f} | {100 * rate * needed / peak:.0f} % | {' | '.join(cells)} |")
    theirs, ours = times.values()
    ratio = statistics.median(a["whole"] / b["whole"] for a, b in zip(theirs, ours, strict=True))
    print(f"\nratio: {ratio:.2f}", flush=True)


def config(args: argparse.Namespace) -> LanguageModelConfig:
    return LanguageModelConfig(
        vocab_size=args.vocabulary,
        hidden_size=args.width,
        intermediate_size=args.inner,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        num_key_value_heads=args.kv_heads,
        head_dim=args.width // args.heads,
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=0,
    )


def batches(args: argparse.Namespace) -> Batches:
    """As many batches as steps, made as a training makes them: documents of similar length together."""
    random = np.random.default_rng(0)
    documents: list[Document] = []
    while sum(len(document.ids) for document in documents) < args.tokens * args.steps:
        length = int(args.length * random.uniform(0.6, 1.4))
        ids = random.integers(CONTROL, CONTROL + args.codes, length + 1).astype(np.int32)
        targets = np.where(np.arange(length) >= PROMPT, ids[1:], np.int32(-1))
        documents.append(Document(ids[:-1], targets))
    made = cut(documents, args.tokens)[: args.steps]
    return [made[index] for index in random.permutation(len(made))]


def our_trainer(args: argparse.Namespace, made: Batches) -> Callable[[], Times]:
    device = torch.device(args.device)
    model = Qwen2(config(args))
    initialize(model, torch.Generator().manual_seed(0))
    model.to(device)
    speech = Family("speech", torch.arange(CONTROL - 1, CONTROL + args.codes))
    network = TrainingModel(model, LegalHead([speech], args.vocabulary).to(device))
    optimizer = make_optimizer(model, OptimizerOptions(learning_rate=1e-4))

    def step(documents: list[Document], times: Times) -> None:
        started = now(args)
        batch = pack([(document.ids, document.targets) for document in documents])
        count = int((batch.targets >= 0).sum())
        with torch.autocast(args.device, torch.bfloat16, enabled=args.dtype == "bf16"):
            loss, _ = network(batch.to(device))
        forward = now(args)
        (loss / count).backward()
        backward = now(args)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        done = now(args)
        spent = (forward - started, backward - forward, done - backward, done - started)
        for name, seconds in zip((*PARTS, "whole"), spent, strict=True):
            times[name] = times.get(name, 0.0) + seconds

    def run() -> Times:
        step(made[0], {})
        times: Times = {}
        for documents in made:
            step(documents, times)
        return times

    return run


def their_trainer(args: argparse.Namespace, made: Batches) -> Callable[[], Times]:
    import transformers

    c = config(args)
    model = transformers.Qwen2ForCausalLM(
        transformers.Qwen2Config(
            vocab_size=c.vocab_size, hidden_size=c.hidden_size, intermediate_size=c.intermediate_size,
            num_hidden_layers=c.num_hidden_layers, num_attention_heads=c.num_attention_heads,
            num_key_value_heads=c.num_key_value_heads, max_position_embeddings=c.max_position_embeddings,
            tie_word_embeddings=True, use_cache=False,
        )
    )  # fmt: skip
    # An item is a whole batch: the Trainer's loader then pads what we pack.
    items = [made[0], *made]

    def collate(chosen: list[list[Document]]) -> dict[str, torch.Tensor]:
        documents = chosen[0]
        width = max(len(document.ids) for document in documents)
        ids, labels, mask = (torch.zeros(len(documents), width, dtype=torch.long) for _ in range(3))
        labels -= 100
        for row, document in enumerate(documents):
            length = len(document.ids)
            ids[row, :length] = torch.from_numpy(document.ids).long()
            mask[row, :length] = 1
            learnt = torch.from_numpy(document.targets).long()
            labels[row, 1:length] = torch.where(learnt >= 0, learnt, -100)[:-1]
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        started = ended = 0.0

        def on_step_end(self, arguments: Any, state: Any, control: Any, **others: Any) -> None:
            self.ended = now(args)
            if state.global_step == 1:
                self.started = self.ended

    def run() -> Times:
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            arguments = transformers.TrainingArguments(
                folder, per_device_train_batch_size=1, max_steps=len(items), learning_rate=1e-4, report_to=[],
                save_strategy="no", logging_strategy="no", bf16=args.dtype == "bf16", use_cpu=args.device == "cpu",
                disable_tqdm=True, max_grad_norm=1.0, dataloader_pin_memory=False,
            )  # fmt: skip
            trainer = transformers.Trainer(
                model, arguments, train_dataset=items, data_collator=collate, callbacks=[clock]
            )
            trainer.remove_callback(transformers.PrinterCallback)
            trainer.train()
        return {"whole": clock.ended - clock.started}

    transformers.logging.set_verbosity_error()
    return run


def arithmetic(args: argparse.Namespace, made: Batches) -> float:
    """Floating-point operations of the forward and backward passes of all batches."""
    c = config(args)
    attention = (c.num_attention_heads * 2 + c.num_key_value_heads * 2) * c.head_dim * c.hidden_size
    layer = attention + 3 * c.hidden_size * c.intermediate_size
    total = 0.0
    for document in (document for batch in made for document in batch):
        length, learnt = len(document.ids), int((document.targets >= 0).sum())
        total += 6 * length * c.num_hidden_layers * layer
        total += 6 * c.num_hidden_layers * length**2 * c.num_attention_heads * c.head_dim  # half of all pairs
        total += 6 * learnt * (args.codes + 1) * c.hidden_size
    return total


def matmul_peak(args: argparse.Namespace) -> float:
    """Operations a second of a large matrix product."""
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    a, b = (torch.randn(2048, 2048, dtype=dtype, device=args.device) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        started = now(args)
        a @ b
        best = min(best, now(args) - started)
    return 2 * 2048**3 / best


def now(args: argparse.Namespace) -> float:
    """The time once the device has done all that it was asked for."""
    if args.device == "cuda":
        torch.cuda.synchronize()
    return time.process_time() if args.clock == "cpu" else time.perf_counter()


# --- codec

STACK = {"vocos_dim": 256, "vocos_intermediate_dim": 768, "vocos_num_layers": 4}
DECODERS: dict[str, dict[str, Any]] = {
    "wave_generator": {"input_channel": 256, "channels": 256, "rates": [8, 5, 4, 2], "kernel_sizes": [16, 11, 8, 4]},
    "vocos": {"type": "vocos", "input_channel": 256, **STACK, "vocos_num_layers": 8},
    "source_filter": {"type": "source_filter", "input_channel": 256, **STACK},
}
JUDGED = {"crop_seconds": 0.8, "period_channels": [8, 16, 32, 64, 64], "window_channels": 8}


def codec(args: argparse.Namespace) -> None:
    print("\n| decoder | audio s/s without discriminators | with |\n|---|---|---|")
    for decoder in DECODERS if args.decoder == "all" else [args.decoder]:
        rates = [audio_rate(args, decoder, judged) for judged in (False, True)]
        print(f"| {decoder} | {rates[0]:.1f} | {rates[1]:.1f} |", flush=True)


def audio_rate(args: argparse.Namespace, decoder: str, judged: bool) -> float:
    """Seconds of audio that are trained on in a second, after two steps of warming up."""
    with tempfile.TemporaryDirectory() as folder:
        run = {"out": folder, "steps": 1000, "precision": args.dtype, "accelerator": args.device}
        values = {
            "run": {**run, "threads": args.threads or None},
            "data": {"shards": folder, "batch": SEGMENTS, "segment_seconds": SECONDS},
            "features": {"path": folder, "layers": [1]},
            "model": small_codec(decoder),
            "discriminators": JUDGED if judged else {"start": None},
        }
        options = parse_options(values, CodecTraining)
        section = codec_config(options)
        model = CodecModel(section, MelSpectrogram(**asdict(section.mel)))
        trainer = CodecTrainer(Run.alone(options.run, options), options, model, Noise())  # type: ignore[arg-type]
        for step in range(1, 3 + args.steps):
            if step == 3:
                began = now(args)
            trainer.train_step(step)
        return SEGMENTS * SECONDS * args.steps / (now(args) - began)


def small_codec(decoder: str) -> dict[str, Any]:
    """Section `model` of a configuration."""
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


class Noise:
    """Takes the place of Segments: what is measured is the arithmetic."""

    def __init__(self) -> None:
        frames = round(50 * SECONDS)
        self.made = Batch(
            audio=0.1 * torch.randn(SEGMENTS, 320 * frames),
            reference=0.1 * torch.randn(SEGMENTS, 96000),
            features=torch.randn(SEGMENTS, 512, frames),
            semantic=None,
            global_tokens=None,
            log_f0=torch.full((SEGMENTS, frames), 5.0),
            voiced=torch.ones(SEGMENTS, frames),
            first=torch.zeros(SEGMENTS, dtype=torch.int64),
        )

    def batch(self, step: int) -> Batch:
        return self.made


if __name__ == "__main__":
    main()
