"""Tokens a second of the language model: ours against `transformers.generate`, on the same weights in one run.

    python -m benchmarks.lm DIR [--tokens 60] [--rounds 3] [--batch 1 8] [--device cpu] [--dtype fp32]

DIR: a checkpoint; `python -m tests.seeded_checkpoint DIR --size full` writes one with the official shapes. Both sample
with the published settings after a prompt of the length of a cloning prompt. Rounds alternate between the two; medians
are reported.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import machine

PROMPT_TOKENS = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    args = parser.parse_args()
    print(machine.describe(), f"dtype: {args.dtype}, device: {args.device}", sep="\n")
    ours, theirs = our_decoder(args), their_decoder(args)
    print("\n| sequences | transformers tokens/s | sparktts tokens/s | ratio |\n|---|---|---|---|")
    for batch in args.batch:
        rates: dict[str, list[float]] = {"theirs": [], "ours": []}
        for run in (theirs, ours):
            run(batch, 4)  # warm-up
        for _ in range(args.rounds):
            rates["theirs"].append(rate(theirs, batch, args.tokens))
            rates["ours"].append(rate(ours, batch, args.tokens))
        ratio = statistics.median(a / b for a, b in zip(rates["ours"], rates["theirs"], strict=True))
        theirs_rate, our_rate = statistics.median(rates["theirs"]), statistics.median(rates["ours"])
        print(f"| {batch} | {theirs_rate:.1f} | {our_rate:.1f} | {ratio:.2f} |", flush=True)


def rate(run: Callable[[int, int], float], batch: int, tokens: int) -> float:
    """Tokens a second of all sequences together, the prompt's time left out."""
    return batch * (tokens - 1) / run(batch, tokens)


def prompts(batch: int, vocabulary: int) -> list[list[int]]:
    random = np.random.default_rng(0)
    return [random.integers(0, vocabulary, PROMPT_TOKENS).tolist() for _ in range(batch)]


def our_decoder(
    args: argparse.Namespace, engine: str = "torch", clock: Callable[[], float] = time.perf_counter
) -> Callable[[int, int], float]:
    """run(sequences, tokens) -> seconds of all but the first token, by that clock."""
    from sparktts.checkpoint.layout import Checkpoint
    from sparktts.engine import load_engine
    from sparktts.prompt import Choose, SpeechGrammar
    from sparktts.sampling import SamplingOptions
    from sparktts.tokenizer import SparkTokenizer

    checkpoint = Checkpoint.open(args.model)
    model = load_engine(checkpoint, engine, args.device, args.dtype).language_model
    semantic = SparkTokenizer.from_file(checkpoint.tokenizer_path).semantic

    def run(batch: int, tokens: int) -> float:
        for seed, prompt in enumerate(prompts(batch, checkpoint.lm.vocab_size)):
            model.add(prompt, SamplingOptions(seed=seed), SpeechGrammar((Choose(semantic, count=tokens),)))
        model.step()
        started = clock()
        for _ in range(tokens - 1):
            model.step()
        return clock() - started

    return run


def their_decoder(
    args: argparse.Namespace, clock: Callable[[], float] = time.perf_counter
) -> Callable[[int, int], float]:
    """The same for `transformers.generate`."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.generation.streamers import BaseStreamer

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[args.dtype]
    model = AutoModelForCausalLM.from_pretrained(args.model / "LLM", dtype=dtype).to(args.device).eval()

    class Clock(BaseStreamer):  # type: ignore[misc]
        """Notes when each token comes; generate() allows it for one sequence only."""

        def __init__(self) -> None:
            self.times: list[float] = []

        def put(self, value: torch.Tensor) -> None:
            self.times.append(clock())

        def end(self) -> None:
            pass

    def run(batch: int, tokens: int) -> float:
        ids = torch.tensor(prompts(batch, model.config.vocab_size), device=args.device)
        options = {
            "do_sample": True,
            "top_k": 50,
            "top_p": 0.95,
            "temperature": 0.8,
            "attention_mask": torch.ones_like(ids),
        }
        if batch == 1:
            seen = Clock()
            model.generate(ids, min_new_tokens=tokens, max_new_tokens=tokens, streamer=seen, **options)
            return seen.times[-1] - seen.times[1]  # the first put is the prompt
        times = []
        for count in (1, tokens):
            started = clock()
            model.generate(ids, min_new_tokens=count, max_new_tokens=count, **options)
            times.append(clock() - started)
        return times[1] - times[0]

    return run


if __name__ == "__main__":
    main()
