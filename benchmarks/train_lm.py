"""Training speed of the language model: ours against `transformers.Trainer`, same shape, batch and precision.

    python -m benchmarks.train_lm [--layers 6] [--width 256] [--tokens 4000] [--steps 8] [--rounds 3] [--threads 0]
        [--dtype bf16] [--vocabulary 9216] [--codes 4096] [--length 300] [--device cpu]

Random documents of random length around --length, the same batches for both: a prompt without loss, then speech tokens
with one. A step is forward, backward, clipping and AdamW. The Trainer computes what it always does: padded batches
(documents of a batch are of similar length, as in ours) and the scores of the whole vocabulary; ours the legal rows.
Tokens are those of documents, padding left out. The share of the peak counts the arithmetic that a step needs (six
times the parameters of the layers a token, attention, and the legal rows of the head at positions with a loss), against
the best of several products of 2048 x 2048 matrices in this precision, on the same threads. Rounds alternate; medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from sparktts.checkpoint.config import LanguageModelConfig
from sparktts.engine.torch.qwen2 import Qwen2
from sparktts.train.lm.head import Family, LegalHead
from sparktts.train.lm.network import TrainingModel
from sparktts.train.lm.options import OptimizerOptions
from sparktts.train.lm.packing import pack
from sparktts.train.lm.sequences import Document
from sparktts.train.lm.start import initialize
from sparktts.train.lm.stream import cut
from sparktts.train.lm.trainer import make_optimizer

from . import machine

PROMPT = 80  # ids without a loss at the beginning of a document
CONTROL = 64  # ids of marks and styles, before the codes in the vocabulary

Batches = list[list[Document]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (
        ("--layers", 6), ("--width", 256), ("--inner", 1024), ("--heads", 4), ("--kv-heads", 4), ("--tokens", 4000),
        ("--steps", 8), ("--rounds", 3), ("--threads", 0), ("--vocabulary", 9216), ("--codes", 4096), ("--length", 300),
    ):  # fmt: skip
        parser.add_argument(name, type=int, default=value)
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    print(
        machine.describe(), f"dtype: {args.dtype}, device: {args.device}, threads: {torch.get_num_threads()}", sep="\n"
    )
    made = batches(args)
    tokens = sum(len(document.ids) for batch in made for document in batch)
    peak = matmul_peak(args)
    print(f"matrix product peak: {peak / 1e9:.0f} GFLOP/s; {tokens / len(made):.0f} tokens a batch")
    runs = {"transformers.Trainer": their_trainer(args, made), "sparktts": our_trainer(args, made)}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, run in runs.items():
            rates[name].append(tokens / run())
    needed = arithmetic(args, made) / tokens
    print("\n| | tokens/s | share of the peak |\n|---|---|---|")
    for name, found in rates.items():
        rate = statistics.median(found)
        print(f"| {name} | {rate:.0f} | {100 * rate * needed / peak:.0f} % |")
    ratio = statistics.median(a / b for a, b in zip(rates["sparktts"], rates["transformers.Trainer"], strict=True))
    print(f"\nratio: {ratio:.2f}")


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


def our_trainer(args: argparse.Namespace, made: Batches) -> Callable[[], float]:
    model = Qwen2(config(args))
    initialize(model, torch.Generator().manual_seed(0))
    model.to(args.device)
    speech = Family("speech", torch.arange(CONTROL - 1, CONTROL + args.codes))
    network = TrainingModel(model, LegalHead([speech], args.vocabulary).to(torch.device(args.device)))
    optimizer = make_optimizer(model, OptimizerOptions(learning_rate=1e-4))

    def step(documents: list[Document]) -> None:
        batch = pack([(document.ids, document.targets) for document in documents])
        count = int((batch.targets >= 0).sum())
        with torch.autocast(args.device.split(":")[0], torch.bfloat16, enabled=args.dtype == "bf16"):
            loss, _ = network(batch.to(torch.device(args.device)))
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def run() -> float:
        step(made[0])
        wait(args)
        started = time.perf_counter()
        for documents in made:
            step(documents)
        wait(args)
        return time.perf_counter() - started

    return run


def their_trainer(args: argparse.Namespace, made: Batches) -> Callable[[], float]:
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
            wait(args)
            if state.global_step == 1:
                self.started = time.perf_counter()
            self.ended = time.perf_counter()

    def run() -> float:
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
            trainer.train()
        return clock.ended - clock.started

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
        wait(args)
        started = time.perf_counter()
        a @ b
        wait(args)
        best = min(best, time.perf_counter() - started)
    return 2 * 2048**3 / best


def wait(args: argparse.Namespace) -> None:
    if args.device != "cpu":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
