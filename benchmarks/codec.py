"""Real-time factors of the codec: speaker tokens, semantic tokens, and decoding, for several lengths.

    python -m benchmarks.codec DIR CLIP [--rounds 3] [--device cpu] [--seconds 2 10 30]

DIR: a checkpoint; `python -m tests.seeded_checkpoint DIR --size full` writes one with the official shapes. CLIP is
repeated up to each length. Medians; the first call of each part, which reads its weights, is reported apart.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, nargs="+", default=[2.0, 10.0, 30.0])
    args = parser.parse_args()
    from sparktts.audio.read import read_audio
    from sparktts.checkpoint.layout import Checkpoint
    from sparktts.engine import load_engine
    from sparktts.windows import decode_in_windows

    print(machine.describe(), f"device: {args.device}", sep="\n")
    codec = load_engine(Checkpoint.open(args.model), "torch", args.device).codec
    clip = read_audio(args.clip, codec.sample_rate)
    speaker = np.arange(32)

    def decode(audio: np.ndarray) -> None:
        random = np.random.default_rng(0)
        decode_in_windows(codec, random.integers(0, 4096, len(audio) // codec.hop), speaker)

    parts: dict[str, Callable[[np.ndarray], object]] = {
        "speaker tokens": codec.speaker_tokens,
        "semantic tokens": codec.semantic_tokens,
        "decode": decode,
    }
    lengths = [f"{seconds:g} s" for seconds in args.seconds]
    print(f"\n| part | first call, s | RTF {' | RTF '.join(lengths)} |\n|---|---{'|---' * len(lengths)}|")
    for name, run in parts.items():
        first = timed(run, clip)
        cells = []
        for seconds in args.seconds:
            audio = np.resize(clip, round(seconds * codec.sample_rate))
            cells.append(f"{statistics.median(timed(run, audio) for _ in range(args.rounds)) / seconds:.3f}")
        print(f"| {name} | {first:.1f} | {' | '.join(cells)} |", flush=True)


def timed(run: Callable[[np.ndarray], object], audio: np.ndarray) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    run(audio)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
