"""Load on a server with OpenAI's speech API: requests at once or at a rate, and how it bore them."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

PCM_BYTES = 2 * 24000  # a second of `pcm`
PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True)
class Load:
    """requests in all; concurrency: at once; rate: requests a second that arrive at random times instead.

    cancel: share of the requests that are given up at a random time. extra: more fields of each request.
    """

    url: str
    texts: Sequence[str]
    requests: int = 20
    concurrency: int = 1
    rate: float | None = None
    voice: str = "default"
    model: str = "tts-1"
    key: str | None = None
    cancel: float = 0.0
    seed: int = 0
    timeout: float = 600.0
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """One request, in seconds: start since the beginning, first sound and end since the start; speech: that came.

    error: "" if it was answered, else a status or the kind of a failure.
    """

    start: float
    first: float | None
    total: float
    speech: float
    error: str = ""


@dataclass(frozen=True)
class Figures:
    """What a load showed; elapsed: seconds from the first request to the last answer."""

    outcomes: tuple[Outcome, ...]
    elapsed: float

    @property
    def answered(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.error]

    @property
    def errors(self) -> dict[str, int]:
        return dict(Counter(outcome.error for outcome in self.outcomes if outcome.error))

    @property
    def speech(self) -> float:
        """Seconds of speech that came."""
        return sum(outcome.speech for outcome in self.outcomes)

    @property
    def throughput(self) -> float:
        """Seconds of speech for each second."""
        return self.speech / self.elapsed if self.elapsed else 0.0

    def percentiles(self, what: str) -> dict[int, float]:
        """Of `first` or `total` seconds, or of `rtf`: seconds waited for a second of speech."""
        values = [value for outcome in self.answered if (value := _value(outcome, what)) is not None]
        return {p: float(np.percentile(values, p)) for p in PERCENTILES} if values else {}

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "requests": len(self.outcomes),
            "answered": len(self.answered),
            "errors": self.errors,
            "elapsed": self.elapsed,
            "speech_seconds": self.speech,
            "throughput": self.throughput,
            **{what: self.percentiles(what) for what in ("first", "total", "rtf")},
        }


async def run(load: Load, progress: Callable[[int, int], None] = lambda done, total: None) -> Figures:
    """Sends all requests. progress is called with (done, in all)."""
    chosen = random.Random(load.seed)
    texts = [chosen.choice(load.texts) for _ in range(load.requests)]
    headers = {} if load.key is None else {"Authorization": f"Bearer {load.key}"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    room = asyncio.Semaphore(load.concurrency)
    done: list[Outcome] = []
    began = time.perf_counter()

    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=load.timeout) as client:

        async def one(text: str, patience: float | None) -> None:
            outcome = await _ask(client, load, text, patience, began)
            done.append(outcome)
            progress(len(done), load.requests)

        async def in_turn(text: str, patience: float | None) -> None:
            async with room:
                await one(text, patience)

        tasks = []
        for text in texts:
            patience = chosen.uniform(0.0, 2.0) if chosen.random() < load.cancel else None
            if load.rate is not None:
                await asyncio.sleep(chosen.expovariate(load.rate))
                tasks.append(asyncio.create_task(one(text, patience)))
            else:
                tasks.append(asyncio.create_task(in_turn(text, patience)))
        await asyncio.gather(*tasks)
    return Figures(tuple(sorted(done, key=lambda outcome: outcome.start)), time.perf_counter() - began)


async def _ask(client: httpx.AsyncClient, load: Load, text: str, patience: float | None, began: float) -> Outcome:
    body = {"model": load.model, "input": text, "voice": load.voice, "response_format": "pcm", **load.extra}
    start, first, size, error = time.perf_counter(), None, 0, ""
    try:
        async with (
            asyncio.timeout(patience),
            client.stream("POST", f"{load.url.rstrip('/')}/v1/audio/speech", json=body) as response,
        ):
            if response.status_code != 200:
                error = str(response.status_code)
            else:
                async for data in response.aiter_raw():
                    first = first if first is not None or not data else time.perf_counter() - start
                    size += len(data)
    except TimeoutError:
        error = "cancelled"
    except httpx.HTTPError as failure:
        error = type(failure).__name__
    return Outcome(start - began, first, time.perf_counter() - start, size / PCM_BYTES, error)


def _value(outcome: Outcome, what: str) -> float | None:
    if what == "rtf":
        return outcome.total / outcome.speech if outcome.speech else None
    value: float | None = getattr(outcome, what)
    return value
