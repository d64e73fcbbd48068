"""The MindSpore engine on this machine: whether its numbers are the published ones, and how fast it is.

    python -m benchmarks.ascend CHECKPOINT [--device auto] [--dtype auto] [--length 500]

Run it from the repository, where MindSpore is installed: `make test-mindspore` makes such an environment. Parity is
measured on the seeded mini checkpoint, whose results an independent implementation recorded (tests/data/golden); speed
on CHECKPOINT, a directory of plain weights: the official one, `sparktts model convert ember -o DIR`, or `python -m
tests.seeded_checkpoint DIR --size full --plain`, which has the official shapes. It ends with an error if a number is
not the published one.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tests.engine.sequences import GREEDY, Anything, names, run
from tests.seeded_checkpoint import HERE as GOLDEN
from tests.seeded_checkpoint import write_checkpoint

from sparktts.checkpoint.layout import Checkpoint
from sparktts.engine import load_engine
from sparktts.engine.base import Engine

from .machine import describe

FLOATS, TOKENS = 1e-4, 0.99  # as everywhere: of the largest value; share that is equal
BF16_FLOATS = 5e-2
REPEATS = 5
SPEAKING = 8193  # ids that may come next while the official model speaks
FIRST_TOKENS = 25  # half a second: what a stream waits for before its first sound
SECONDS = 5  # of speech that the codec is timed on


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--length", type=int, default=500, help="positions at which steps are timed (%(default)s)")
    arguments = parser.parse_args()
    print(describe(), end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder) / "mini", plain=True)
        mini = load_engine(Checkpoint.open(Path(folder) / "mini"), "mindspore", arguments.device, arguments.dtype)
        print(f"device: {mini.device}, products of the language model in {mini.dtype}\n")
        sound = _table("parity", "", parity(mini))
    engine = load_engine(Checkpoint.open(arguments.checkpoint), "mindspore", arguments.device, arguments.dtype)
    _table("speed", str(arguments.checkpoint), speed(engine, arguments.length))
    return 0 if sound else 1


def parity(engine: Engine) -> Iterator[tuple[str, str, bool]]:
    """What is compared, how near it is, and whether that is near enough."""
    with np.load(GOLDEN / "expected_mini.npz") as arrays:
        golden = dict(arrays)
    limit = FLOATS if engine.dtype == "fp32" else BF16_FLOATS
    for name in sorted(names(golden)):
        ids = golden[f"prompt.{name}.ids"][0].tolist()
        error = _error(engine.language_model.logits(ids)[-1:], golden[f"prompt.{name}.logits"])
        yield f"logits, prompt `{name}`", f"{error:.1e}", error <= limit
        expected = golden[f"prompt.{name}.greedy"][0]
        equal = float(np.mean(run(engine.language_model, ids, len(expected)) == expected))
        yield f"greedy tokens, prompt `{name}`", f"{equal:.0%} equal", equal == 1 or engine.dtype != "fp32"
    for clip in ("short", "long"):
        yield from _codec_parity(engine.codec, golden, clip)


def _codec_parity(codec: Any, golden: Mapping[str, np.ndarray], clip: str) -> Iterator[tuple[str, str, bool]]:
    semantic, speaker = golden[f"{clip}.semantic"][0], golden[f"{clip}.global"][0, 0].astype(np.int64)
    for name, error in (
        ("semantic features", _error(codec.features(golden[f"{clip}.wav"]), golden[f"{clip}.feat"][0])),
        ("waveform", _error(codec.decode(semantic, speaker)[0], golden[f"{clip}.recon"])),
    ):
        yield f"{name}, {clip} clip", f"{error:.1e}", error <= FLOATS
    for name, found, expected in (
        ("semantic", codec.semantic_tokens(golden[f"{clip}.wav"]), semantic),
        ("global", codec.speaker_tokens(golden[f"{clip}.ref_wav"][0]), speaker),
    ):
        equal = float(np.mean(found == expected))
        yield f"{name} tokens, {clip} clip", f"{equal:.1%} equal", equal >= TOKENS


def speed(engine: Engine, length: int) -> Iterator[tuple[str, str, bool]]:
    """Figures of one checkpoint. Graphs are compiled at the first call of each kind: that is timed by itself."""
    model: Any = engine.language_model
    prompt = np.random.default_rng(0).integers(0, model.config.vocab_size, length).tolist()
    grammar = Anything(min(SPEAKING, model.config.vocab_size), sys.maxsize)
    handle = model.add(prompt, GREEDY, grammar)
    prefilled = _seconds(model.step)
    compiled = _seconds(model.step)
    steps = [_seconds(model.step) for _ in range(4 * REPEATS)]
    model.cancel(handle)
    again = [_seconds(lambda: _one_token(model, prompt, grammar)) for _ in range(REPEATS)]
    step, whole = median(steps), median(again)
    yield "first prompt, its graph compiled", f"{prefilled:.1f} s", True
    yield "first step, its graph compiled", f"{compiled:.1f} s", True
    yield f"a token at {length} positions", f"{1 / step:.1f} a second", True
    yield "the same, sequence computed anew", f"{1 / whole:.2f} a second", True
    yield "cache over recomputation", f"{whole / step:.1f} x", True
    yield from _codec_speed(engine, step, whole)


def _codec_speed(engine: Engine, step: float, prompt: float) -> Iterator[tuple[str, str, bool]]:
    codec, rng = engine.codec, np.random.default_rng(0)
    limit = 4096
    semantic, speaker = rng.integers(0, limit, 50 * SECONDS), rng.integers(0, limit, 32)
    codec.decode(semantic[:FIRST_TOKENS], speaker)
    first = median(_seconds(lambda: codec.decode(semantic[:FIRST_TOKENS], speaker)) for _ in range(REPEATS))
    decoded = median(_seconds(lambda: codec.decode(semantic, speaker)) for _ in range(3)) / SECONDS
    yield "codec, real-time factor", f"{decoded:.2f}", True
    yield "language model and codec, real-time factor", f"{50 * step + decoded:.2f}", True
    yield "first sound: prompt, half a second of tokens, decode", f"{prompt + FIRST_TOKENS * step + first:.2f} s", True
    yield "memory, at most", f"{_memory(engine.device) / 2**30:.1f} GiB", True


def _one_token(model: Any, prompt: list[int], grammar: Anything) -> None:
    handle = model.add(prompt, GREEDY, grammar)
    model.step()
    model.cancel(handle)


def _memory(device: str) -> int:
    """Bytes: on an Ascend device what MindSpore took of its memory, else of this process."""
    if device != "cpu":
        import mindspore

        return int(mindspore.runtime.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _seconds(function: Any) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def _table(title: str, what: str, rows: Iterator[tuple[str, str, bool]]) -> bool:
    print(f"| {title} | {what} |\n|---|---|")
    sound = True
    for name, figure, good in rows:
        print(f"| {name} | {figure}{'' if good else ' **not as published**'} |", flush=True)
        sound = sound and good
    print()
    return sound


if __name__ == "__main__":
    sys.exit(main())
