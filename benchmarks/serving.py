"""How the server bears load: streams at once against one at a time, and how soon an interruption is silent.

    python -m benchmarks.serving [MODEL] [--concurrency 8] [--requests 24] [--rounds 5]

Starts `sparktts serve` and asks it for speech in English and Chinese. "at once": that many streams that come at
the same moment; "half": requests that come at random times, half as many as it can bear; "one": each after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.server.process import Server

from benchmarks.machine import describe
from sparktts.cli.bench import TEXTS
from sparktts.load import Figures, Load, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="ember")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--requests", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of loads, and interruptions; medians count")
    args = parser.parse_args()
    with serving(args.model, args.concurrency) as url:
        warm = Load(url, TEXTS, requests=4)
        asyncio.run(run(warm))
        pairs = [
            (
                asyncio.run(run(Load(url, TEXTS, requests=args.requests))),
                asyncio.run(run(Load(url, TEXTS, requests=args.requests, concurrency=args.concurrency))),
            )
            for _ in range(args.rounds)
        ]
        # Machines are noisy: the pair whose ratio is the median.
        one, together = sorted(pairs, key=_ratio)[len(pairs) // 2]
        burst = Load(url, TEXTS, requests=args.concurrency, concurrency=args.concurrency)
        at_once = _typical([asyncio.run(run(burst)) for _ in range(args.rounds)])
        rate = 0.5 * len(together.answered) / together.elapsed
        half = _typical([asyncio.run(run(Load(url, TEXTS, requests=args.requests, rate=rate))) for _ in range(3)])
        silent = [interrupted(url) for _ in range(args.rounds)]
    print(describe())
    rows = {"one": one, f"{args.concurrency} at once": at_once, f"{args.concurrency} always": together, "half": half}
    print("| load | answered | first audio: median, p95 (s) | whole: median, p95 (s) | speech a second |")
    print("|---|---|---|---|---|")
    for name, figures in rows.items():
        print(f"| {name} | {len(figures.answered)} | {_two(figures, 'first')} | {_two(figures, 'total')} ", end="")
        print(f"| {figures.throughput:.2f} |")
    alone = one.percentiles("first")[50]
    print(f"p95 of the first audio, all at once: {at_once.percentiles('first')[95] / alone:.1f} x that of one stream")
    print(f"the same at half the rate that it bears: {half.percentiles('first')[95] / alone:.1f} x")
    ratios = ", ".join(f"{_ratio(pair):.2f}" for pair in sorted(pairs, key=_ratio))
    print(f"speech a second, {args.concurrency} always: {ratios} x one after the other")
    print(f"an interruption is confirmed after {1000 * statistics.median(silent):.0f} ms (median of {args.rounds})")


@contextmanager
def serving(model: str, concurrency: int) -> Iterator[str]:
    """A server of its own; yields its address."""
    with tempfile.TemporaryDirectory() as voices:
        server = Server.start(model, Path(voices), "--concurrency", str(concurrency), one_thread=False)
        try:
            yield server.url
        finally:
            server.stop(signal.SIGTERM, 60)


def interrupted(url: str) -> float:
    """Seconds from an interruption to its confirmation, after which there is no sound."""
    from websockets.sync.client import connect

    with connect(f"{url.replace('http', 'ws')}/v1/audio/speech/stream", max_size=None) as socket:
        socket.send(json.dumps({"type": "start"}))
        socket.send(json.dumps({"type": "text", "text": " ".join(TEXTS[:3] * 5)}))
        socket.send(json.dumps({"type": "end"}))
        while not isinstance(socket.recv(timeout=60), bytes):
            pass
        asked = time.perf_counter()
        socket.send(json.dumps({"type": "interrupt"}))
        while isinstance(message := socket.recv(timeout=10), bytes) or json.loads(message)["type"] != "interrupted":
            pass
        return time.perf_counter() - asked


def _ratio(pair: tuple[Figures, Figures]) -> float:
    one, together = pair
    return together.throughput / one.throughput


def _typical(loads: Sequence[Figures]) -> Figures:
    """The one whose 95th percentile of the first audio is the median."""
    return sorted(loads, key=lambda figures: figures.percentiles("first")[95])[len(loads) // 2]


def _two(figures: Figures, what: str) -> str:
    found = figures.percentiles(what)
    return f"{found[50]:.2f}, {found[95]:.2f}"


if __name__ == "__main__":
    main()
