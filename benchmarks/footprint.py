"""Time and memory of one process that loads a checkpoint, clones a recording without a transcript and speaks.

    python -m benchmarks.footprint DIR CLIP [--dtype fp32 bf16] [--device cpu]

DIR: a checkpoint; `python -m tests.seeded_checkpoint DIR --size full` writes one with the official shapes. Random
weights never stop by themselves, so checks are off and the text is cut at its budget, about 10 s of speech. Each
precision runs in a process of its own; its peak is the highest resident memory that the system counted.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from . import machine

TEXT = "The quick brown fox jumps over the lazy dog near the river."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--dtype", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.model, args.clip, args.dtype[0], args.device)))
        return
    print(machine.describe())
    columns = ("precision", "load LM s", "clone s", "speech s", "speak s", "RTF", "peak after clone MB", "peak MB")
    print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for dtype in args.dtype:
        command = [sys.executable, "-m", "benchmarks.footprint", str(args.model), str(args.clip), "--one"]
        done = subprocess.run(
            [*command, "--dtype", dtype, "--device", args.device], capture_output=True, text=True, check=True
        )
        r = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {dtype} | {r['load']:.1f} | {r['clone']:.1f} | {r['speech']:.1f} | {r['speak']:.1f} | "
            f"{r['speak'] / r['speech']:.2f} | {r['peak_clone']:.0f} | {r['peak']:.0f} |"
        )


def measure(model: Path, clip: Path, dtype: str, device: str) -> dict[str, float]:
    """Seconds and megabytes (1e6 bytes) of one run in this process."""
    from sparktts import ReadingOptions, SparkTTS

    started = time.perf_counter()
    tts = SparkTTS.from_pretrained(model, engine="torch", device=device, dtype=dtype)
    tts.engine.language_model  # noqa: B018 (loads it)
    load = time.perf_counter() - started
    voice = tts.clone(clip)
    clone, peak_clone = time.perf_counter() - started - load, peak_megabytes()
    audio = tts.say(TEXT, voice=voice, seed=1, reading=ReadingOptions(checks=False))
    speak = time.perf_counter() - started - load - clone
    return {
        "load": load,
        "clone": clone,
        "speech": audio.duration,
        "speak": speak,
        "peak_clone": peak_clone,
        "peak": peak_megabytes(),
    }


def peak_megabytes() -> float:
    """Highest resident memory of this process so far, in 1e6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says on Linux includes the parent that started the process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    main()
