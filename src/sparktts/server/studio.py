"""Where requests are spoken: so many at once, a bounded queue, a deadline, and no thread left behind."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from ..errors import GenerationError, SparkTTSError
from ..report import Report
from ..streaming import SpeechStream
from ..voice import Voice
from .cast import Cast
from .errors import BUSY, LATE, ApiError
from .metrics import Metrics
from .outgoing import Outgoing
from .requests import Manner
from .settings import ServerSettings

if TYPE_CHECKING:
    from ..pipeline import SparkTTS

Result = TypeVar("Result")
log = logging.getLogger("sparktts.server")
_REMEMBERED = 20  # durations of requests from which the wait of a refused one is estimated


class Studio:
    """Everything that one server shares. Made for a model with the settings' concurrency."""

    def __init__(self, tts: SparkTTS, settings: ServerSettings) -> None:
        self.tts, self.settings, self.metrics = tts, settings, Metrics()
        self.cast = Cast(tts)
        self.ready = self.draining = False
        self._most = settings.concurrency + settings.queue
        self._admitted = 0
        # A thread waits for each request's sound; some more for voices, clips, and streams that end.
        self._threads = ThreadPoolExecutor(2 * self._most + 4, thread_name_prefix="request")
        self._durations: deque[float] = deque(maxlen=_REMEMBERED)
        self._counted = (0, 0)

    async def run(self, action: Callable[[], Result]) -> Result:
        """Runs what blocks in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, action)

    async def warm_up(self) -> None:
        """Reads the weights, so that the first request need not wait for them."""

        def load() -> None:
            engine = self.tts.engine
            _ = engine.codec, engine.language_model, self.tts.tokenizer, self.tts.frontend

        await self.run(load)
        self.ready = True

    async def begin(self, text: str | Iterable[str], manner: Manner, voice: Voice | None) -> Speech:
        """A request that has been let in. voice: who speaks; None: as `manner` says. Raises ApiError, SparkTTSError."""
        began = time.monotonic()
        self._admit()
        try:
            stream = await self.run(lambda: self._stream(text, manner, voice))
            return Speech(self, stream, manner, began)
        except BaseException as error:
            self._leave(_outcome(error), began)
            raise

    def scrape(self) -> bytes:
        """The metrics as they are now."""
        self.metrics.waiting.set(self.tts.turn.waiting)
        self.metrics.running.set(self._admitted)
        if (shared := self.tts.shared) is not None:
            tokens, steps = shared.tokens, shared.steps
            self.metrics.tokens.inc(tokens - self._counted[0])
            self.metrics.steps.inc(steps - self._counted[1])
            self._counted = tokens, steps
        return self.metrics.text()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _stream(self, text: str | Iterable[str], manner: Manner, voice: Voice | None) -> SpeechStream:
        style = manner.style()
        if voice is None and (style is None or style.gender is None):
            voice = self.cast.get(manner.voice_name)
        return self.tts.stream(
            text,
            voice=voice,
            style=style,
            mode="exact" if manner.exact else "low-latency",
            sampling=manner.sampling(),
            text_options=manner.text_options(),
            reading=manner.reading(),
        )

    def _admit(self) -> None:
        if self._admitted >= self._most:
            self.metrics.requests.labels("refused").inc()
            usual = sum(self._durations) / len(self._durations) if self._durations else 5.0
            wait = max(1, round(usual * self.settings.queue / self.settings.concurrency))
            raise ApiError(
                BUSY,
                f"The server is busy with {self._admitted} requests: try again in {wait} s.",
                code="queue_full",
                headers={"Retry-After": str(wait)},
            )
        self._admitted += 1

    def _leave(self, outcome: str, began: float, report: Report | None = None) -> None:
        log.info("%s", _line(outcome, time.monotonic() - began, report, self.settings.log_texts))
        self._admitted -= 1
        self._durations.append(time.monotonic() - began)
        self.metrics.requests.labels(outcome).inc()


class Speech:
    """One request while it is spoken; whoever holds it closes it."""

    def __init__(self, studio: Studio, stream: SpeechStream, manner: Manner, began: float) -> None:
        self.stream = stream
        self._studio, self._began = studio, began
        self._deadline = began + studio.settings.deadline
        self._outgoing = Outgoing(stream, manner.response_format, manner.speed)
        self._pending: bytes | None = None
        self._outcome = "cancelled"
        self._closed = False

    async def first(self) -> None:
        """Returns when the first sound is there: what fails before it can still be told by a status."""
        while not self._pending:
            data = await self._next()
            if data is None:
                break
            self._pending = data
        self._studio.metrics.first_audio.observe(time.monotonic() - self._began)

    async def parts(self) -> AsyncIterator[bytes]:
        """The encoded sound, part by part. Raises SparkTTSError, ApiError after the deadline."""
        data = self._pending if self._pending is not None else await self._next()
        while data is not None:
            if data:
                yield data
            data = await self._next()

    @property
    def report(self) -> Report | None:
        """What happened to each utterance; None before the end."""
        return self.stream.report

    @property
    def sample_rate(self) -> int:
        """Hz, of the sound that leaves."""
        return self._outgoing.sample_rate

    async def close(self) -> None:
        """Stops what still runs, and waits for its threads."""
        if not self._closed:
            self._closed = True
            try:
                await asyncio.shield(self._studio.run(self.stream.close))
            finally:
                self._studio._leave(self._outcome, self._began, self.report)

    async def _next(self) -> bytes | None:
        left = self._deadline - time.monotonic()
        try:
            # Not `wait_for`: in Python 3.11 it loses a cancellation that comes together with the result.
            async with asyncio.timeout(max(0.0, left)):
                data = await self._studio.run(self._outgoing.next)
        except TimeoutError:
            self._outcome = "late"
            raise ApiError(
                LATE, f"The speech was not complete within {self._studio.settings.deadline:g} s.", code="deadline"
            ) from None
        except Exception as error:
            self._outcome = _outcome(error)
            raise
        if data is None and self.report is not None:
            self._outcome = "done"
            self._studio.metrics.finished(self.report)
            self._studio.metrics.total.observe(time.monotonic() - self._began)
        return data


def _line(outcome: str, seconds: float, report: Report | None, texts: bool) -> str:
    """What the log says of a request; texts only where that was asked for."""
    if report is None:
        return f"{outcome} after {seconds:.2f} s"
    said = f": {' '.join(utterance.source for utterance in report.utterances)!r}" if texts else ""
    return f"{outcome} after {seconds:.2f} s, {report.seconds:.2f} s of speech, voice {report.voice}{said}"


def _outcome(error: BaseException) -> str:
    """The label under which an error is counted."""
    if isinstance(error, GenerationError):
        return "failed"
    if isinstance(error, (SparkTTSError, ApiError)):
        return "invalid"
    return "broken" if isinstance(error, Exception) else "cancelled"
