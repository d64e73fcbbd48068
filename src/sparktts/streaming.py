"""Speech while it is written: one thread runs the language model, a second one decodes, and the caller listens.

Tokens go from the first thread to the second through `_Relay`, sound from there to the caller. `_Pace` decides when a
window is decoded: at once for the first sample, then in growing windows, and no later than a listener needs it.
"""

from __future__ import annotations

import math
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from .audio.flow import Flow
from .errors import OptionError
from .longform import Growing, Heard, Source, Spoken, TakenBack
from .report import Report, UtteranceReport
from .turns import Ticket, Turns
from .windows import GrowingDecode, Piece

if TYPE_CHECKING:
    from .engine.base import Samples, Tokens
    from .pipeline import SparkTTS
    from .reading import Reading
    from .text import Utterance
    from .voice import Voice

Mode = Literal["low-latency", "exact"]
LOOK_AHEAD = 16  # tokens after a sample that are waited for in low-latency mode; chosen by benchmarks/streaming.py
LEAST_LEFT = 16
FIRST_WINDOW = 2  # tokens: as little as possible before the first sound
# Most speech begins with silence, which is left out: the very first window is to have some sound in it, if the model
# is so fast that so many more tokens come so soon.
SOUNDING, SOUNDING_WAIT = 20, 0.12  # tokens, seconds
GROWTH = 6  # times the last window is the next one
EARLY, EARLY_GROWTH = 0.15, 2  # until so many seconds of sound went out, and up to SOUNDING: the first may be short
LEAST_GROWTH = 1.6  # at least, if it has to come early
LATER_WINDOW = 16  # tokens of the first window of a later utterance: something is playing then
MOST_LOOK_AHEAD = 1000
LARGEST_WINDOW = 300  # tokens; the thread that decodes can be stopped only between windows
MARGIN = 0.15  # seconds of sound that should be left to a listener when the next window is decoded
HOLD = 1.0  # seconds of sound left to a listener below which an utterance begins before it is complete
MOST_AHEAD = 60.0  # seconds of speech that nobody has fetched, at which the model pauses between utterances
_TICK = 0.25  # seconds after which a waiting thread looks up, so that Ctrl-C comes through on every system


@dataclass(frozen=True, eq=False)
class Chunk:
    """A part of the speech, in order without gaps.

    samples: (N,) float32 in [-1, 1]; start: seconds from the beginning of the stream; utterance: its number from 0.
    """

    samples: Samples
    sample_rate: int
    start: float
    utterance: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True)
class StreamFigures:
    """How a stream went. first_sound: seconds from its beginning to the first chunk, None without one.

    look_ahead: tokens; windows: that were decoded; decoded_tokens: in them, with their context; emitted_tokens: whose
    samples were kept. late: seconds for which somebody who plays each chunk at once had nothing to hear.
    """

    mode: Mode
    look_ahead: int
    first_sound: float | None
    windows: int
    decoded_tokens: int
    emitted_tokens: int
    late: float

    @property
    def overhead(self) -> float:
        """Tokens decoded for each that was needed; 1 for a decode of everything at once."""
        return self.decoded_tokens / self.emitted_tokens if self.emitted_tokens else 1.0


class _Stopped(BaseException):
    """The listener has gone. Not an Exception: nothing on the way should take it for an error."""


@dataclass
class _Line:
    """One utterance on its way from tokens to sound.

    kept: tokens that cannot be taken back, as something of them went out; fixed: that number is not to change;
    attempt: grows when its tokens are replaced.
    """

    utterance: Utterance
    speaker: tuple[int, ...] = ()
    codes: list[int] = field(default_factory=list)
    finished: bool = False
    kept: int = 0
    fixed: bool = False
    attempt: int = 0


class _Pace:
    """When to decode how much, for somebody who plays every chunk as soon as it comes.

    A window is decoded when it is full, and the next one is several times as large: so little is decoded twice. It is
    decoded before it is full when the listener would run out of sound. While much is left to hear, a new utterance
    waits until it is complete: so long as nothing of it went out, it can be tried again.
    """

    def __init__(self, look_ahead: int, first: int, clock: Callable[[], float]) -> None:
        self._look_ahead, self._first, self._clock = look_ahead, first, clock
        self._until: float | None = None  # when the listener has heard everything
        self._heard = 0.0  # seconds of sound that went out
        self._cost = 0.0  # seconds that the last window took
        self.late = 0.0
        self.begin()

    def begin(self) -> None:
        """A new utterance, or another attempt at one."""
        self._last = 0  # tokens of its last window
        self._since = self._clock()

    @property
    def ahead(self) -> float:
        """Seconds of sound that the listener has not heard; negative when there was nothing to hear for so long."""
        return -math.inf if self._until is None else self._until - self._clock()

    def stop(self, start: int, known: int, finished: bool) -> int | None:
        """The token up to which to decode now, from token `start`; None: wait. known: tokens that there are."""
        if finished:
            return min(known, start + LARGEST_WINDOW) if known > start else None
        ready, ahead = known - self._look_ahead - start, self.ahead
        if ready < 1 or (not self._last and ahead > HOLD + self._cost):
            return None
        if ready < SOUNDING and self._hope(known) > 0:
            return None
        soon = 0.0 < ahead < self._reserve and ready >= self._least
        return start + min(ready, LARGEST_WINDOW) if ready >= self._size or soon else None

    def enough(self, start: int, known: int) -> int:
        """Tokens below which `stop` says None before `patience` is over, if no more than their number changes."""
        if not self._last and self.ahead > HOLD + self._cost:
            return sys.maxsize
        soon = 0.0 < self.ahead < self._reserve
        size = self._least if soon else self._size
        return start + self._look_ahead + max(1, size, SOUNDING if self._hope(known) > 0 else 0)

    def patience(self, known: int) -> float | None:
        """Seconds after which `stop` may answer otherwise although no token has come; None: it will not."""
        reserve = self._reserve if self._last else max(self._reserve, HOLD + self._cost)
        left = max(self.ahead - reserve, self._hope(known))
        return left + 0.001 if left > 0 else None

    def decoded(self, tokens: int, seconds: float) -> None:
        """A window was decoded."""
        self._last, self._cost = tokens, seconds

    def sent(self, seconds: float) -> None:
        """So much sound went out."""
        now = self._clock()
        if self._until is not None:
            self.late += max(0.0, now - self._until)
        self._until = max(now, self._until or now) + seconds
        self._heard += seconds

    @property
    def _size(self) -> int:
        """Tokens of a full window."""
        if not self._last:
            return self._first if self._until is None else max(self._first, LATER_WINDOW)
        if self._heard < EARLY:
            return min(EARLY_GROWTH * self._last, SOUNDING)
        return min(GROWTH * self._last, LARGEST_WINDOW)

    @property
    def _least(self) -> int:
        """Tokens of a window that has to come early."""
        if not self._last:
            return math.ceil(LEAST_GROWTH / GROWTH * self._size)
        return min(self._size, math.ceil(LEAST_GROWTH * self._last))

    def _hope(self, known: int) -> float:
        """Seconds for which the very first window waits for more tokens, as they have come quickly so far."""
        if self._until is not None or self._last:
            return 0.0
        return self._since + SOUNDING_WAIT * known / (SOUNDING - FIRST_WINDOW) - self._clock()

    @property
    def _reserve(self) -> float:
        return MARGIN + 1.5 * self._cost


class _Relay:
    """What the threads hand to each other, under one lock."""

    def __init__(self, token_seconds: float) -> None:
        lock = threading.RLock()
        self.changed = threading.Condition(lock)  # for the threads
        self.heard = threading.Condition(lock)  # for the listener, who need not wake with every token
        self.enough = 0  # tokens of the current utterance below which the thread that decodes sleeps on
        self._token_seconds = token_seconds
        self.lines: deque[_Line] = deque()  # what is not decoded to its end; only the last one may be unfinished
        self.chunks: deque[Chunk] = deque()
        self.reports: list[UtteranceReport] = []
        self.waiting = 0.0  # seconds of sound in chunks
        self.written = False  # the model will write nothing more
        self.over = False  # no chunk will come any more
        self.stopped = False  # nobody wants any more
        self.error: BaseException | None = None

    def check(self) -> None:
        """Raises _Stopped if nobody listens any more."""
        if self.stopped:
            raise _Stopped

    def stop(self) -> None:
        """Nobody listens any more."""
        with self.changed:
            self.stopped = True
            self.chunks.clear()
            self.changed.notify_all()
            self.heard.notify_all()

    def fail(self, error: BaseException) -> None:
        """What has been decoded is still handed out, then the error is raised."""
        with self.changed:
            self.error, self.stopped = self.error or error, True
            self.changed.notify_all()

    # For the thread that runs the language model.

    def hear(self, event: Heard) -> None:
        """More of the utterance whose turn it is. Raises _Stopped."""
        with self.changed:
            self.check()
            line = self._current(event.utterance)
            line.speaker = event.speaker or line.speaker
            if event.codes:
                line.codes += event.codes
                if len(line.codes) >= self.enough:
                    self.changed.notify_all()

    def kept(self) -> int:
        """Tokens of that utterance that cannot be taken back; their number stays until it is finished or taken back."""
        with self.changed:
            if not self.lines or self.lines[-1].finished:
                return 0
            self.lines[-1].fixed = True
            return self.lines[-1].kept

    def take_back(self) -> None:
        """Another attempt at that utterance begins; nothing of it was kept."""
        with self.changed:
            if self.lines and not self.lines[-1].finished:
                self._replace(self.lines[-1], ())

    def finish(self, spoken: Spoken, report: UtteranceReport) -> None:
        """The utterance as it is to be: with more tokens, or cut, but not before what was kept."""
        with self.changed:
            line = self._current(spoken.utterance)
            line.utterance, line.finished = spoken.utterance, True
            line.speaker = spoken.speaker or line.speaker
            if line.fixed:
                self._replace(line, spoken.semantic)
            line.codes = list(spoken.semantic)
            self.reports.append(report)
            self.changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """The model writes nothing more. error: why, if that is too early; the sound before it is handed out first."""
        with self.changed:
            self.error = self.error or error
            if self.lines and not (line := self.lines[-1]).finished:
                line.finished = True
                self._replace(line, tuple(line.codes[: line.kept]))
            self.written = True
            self.changed.notify_all()

    @property
    def full(self) -> bool:
        """Whether the model is so far ahead of the listener that it should pause."""
        with self.changed:
            tokens = sum(len(line.codes) - line.kept for line in self.lines)
            return self.waiting + tokens * self._token_seconds > MOST_AHEAD

    def wait_for_room(self) -> bool:
        """Returns when the listener is not too far behind; False if it was not. Raises _Stopped."""
        with self.changed:
            behind = self.full
            while self.full and not self.stopped:
                self.changed.wait()
            self.check()
            return behind

    def _current(self, utterance: Utterance) -> _Line:
        if not self.lines or self.lines[-1].finished:
            self.lines.append(_Line(utterance))
            self.enough = 0
        return self.lines[-1]

    def _replace(self, line: _Line, codes: tuple[int, ...]) -> None:
        line.codes, line.fixed, line.attempt = list(codes), False, line.attempt + 1
        self.changed.notify_all()

    # For the thread that decodes.

    def first_line(self) -> _Line | None:
        """The utterance to be decoded next, once it has begun; None after the last one. Raises _Stopped."""
        with self.changed:
            while not self.lines and not self.written and not self.stopped:
                self.changed.wait()
            self.check()
            return self.lines[0] if self.lines else None

    def close(self) -> None:
        """No chunk will come any more."""
        with self.changed:
            self.over = True
            self.heard.notify_all()

    # For the listener.

    def fetch(self) -> Chunk | None:
        """The next chunk; None after the last one. Raises what ended the stream too early."""
        with self.heard:
            while not self.chunks and not self.over:
                self.heard.wait(_TICK)
            if self.chunks:
                chunk = self.chunks.popleft()
                self.waiting -= chunk.duration
                self.changed.notify_all()
                return chunk
            if self.error is not None:
                raise self.error
            return None


class _Turn:
    """The right to use the language model, for a thread that gives up waiting for it when nobody listens any more."""

    def __init__(self, turns: Turns, relay: _Relay) -> None:
        self._turns, self._relay = turns, relay
        self._ticket: Ticket | None = None

    @property
    def wanted(self) -> bool:
        """Whether others wait for it."""
        return self._turns.waiting > 0

    def take(self) -> None:
        """Waits for it. Raises _Stopped."""
        self._ticket = self._ticket or self._turns.ticket()
        while not self._ticket.wait(_TICK):
            self._relay.check()

    def give(self) -> None:
        """Lets others have it."""
        if self._ticket is not None:
            self._ticket.release()
            self._ticket = None


class _Patient:
    """A source for one listener among others.

    Between two utterances whoever waits for the language model gets it first, and so long as this listener has more
    than enough to hear, nothing is written for him.
    """

    def __init__(self, source: Source, relay: _Relay, turn: _Turn) -> None:
        self._source, self._relay, self._turn = source, relay, turn
        self._begun = False  # whether something was said since the turn was taken
        self._polite = False  # whether the turn is to be given to others now

    @property
    def notes(self) -> tuple[str, ...]:
        return self._source.notes

    def next(self) -> Utterance | Growing | None:
        self._polite = self._begun and self._turn.wanted
        if self._polite or self._relay.full:
            return None
        given = self._source.next()
        self._begun = self._begun or given is not None
        return given

    def wait(self, idle: bool) -> None:
        if not idle:
            self._source.wait(idle)
            self._relay.check()
            return
        self._turn.give()
        if not self._relay.wait_for_room() and not self._polite:
            self._source.wait(idle)
        self._turn.take()
        self._begun = False

    def close(self) -> None:
        self._source.close()


def _write(reading: Reading, relay: _Relay, turn: _Turn) -> None:
    """The thread that runs the language model."""
    try:
        turn.take()
        with closing(reading.events(relay.kept)) as events:
            for event in events:
                if isinstance(event, Heard):
                    relay.hear(event)
                elif isinstance(event, TakenBack):
                    relay.take_back()
                else:
                    relay.finish(event, reading.report_of(event))
        relay.end()
    except _Stopped:
        relay.end()
    except BaseException as error:
        relay.end(error)
    finally:
        turn.give()


class _Decoding:
    """The thread that decodes, and what it counts."""

    def __init__(self, tts: SparkTTS, reading: Reading, relay: _Relay, pace: _Pace, left: int | None) -> None:
        self._tts, self._reading, self._relay, self.pace, self._left = tts, reading, relay, pace, left
        self._flow = Flow(tts.sample_rate)
        self.samples = self.utterances = self.windows = self.decoded = self.emitted = 0
        self.spans: list[tuple[float, float]] = []  # of each utterance in the sound, in seconds
        self.first_sound: float | None = None
        self.began = self.ended = time.perf_counter()

    def run(self) -> None:
        relay = self._relay
        try:
            relay.check()
            self._read_weights()
            while (line := relay.first_line()) is not None:
                self._speak(line)
        except _Stopped:
            pass
        except BaseException as error:
            relay.fail(error)
        finally:
            self.ended = time.perf_counter()
            relay.close()

    def _read_weights(self) -> None:
        """The codec's weights are read while the language model reads the text."""
        if not self._tts.has_decoded:
            self._decode(GrowingDecode(self._tts.engine.codec, np.zeros(32, np.int64)), np.zeros(1, np.int64), 1, True)

    def _speak(self, line: _Line) -> None:
        """One utterance, from its first token to its end. Raises _Stopped."""
        relay, attempt, decode, began_at = self._relay, -1, None, self.samples
        while True:
            with relay.changed:
                while True:
                    relay.check()
                    if attempt != line.attempt and not line.kept:
                        decode = None
                        self._flow.begin(line.utterance.pause)
                        self.pace.begin()
                    attempt = line.attempt
                    start = decode.start if decode else 0
                    stop = None if line.fixed else self.pace.stop(start, len(line.codes), line.finished)
                    if stop is not None or (line.finished and not line.fixed):
                        break
                    relay.enough = self.pace.enough(start, len(line.codes))
                    relay.changed.wait(self.pace.patience(len(line.codes)))
                finished, codes = line.finished, np.array(line.codes, np.int64)
            if stop is None:
                break
            decode = decode or GrowingDecode(self._tts.engine.codec, self._speaker(line), self._left)
            began = time.perf_counter()
            piece = self._decode(decode, codes, stop, finished)
            with relay.changed:
                relay.check()
                if line.fixed or line.attempt != attempt:
                    continue  # what it was decoded from has been replaced
                decode.accept(piece)
                self.pace.decoded(piece.stop - piece.start, time.perf_counter() - began)
                self.windows += 1
                self.decoded += piece.decoded
                self._send(self._flow.add(piece.samples, finished and piece.start == 0 and stop == len(codes)))
                line.kept = stop if self._flow.started else 0
        with relay.changed:
            self.emitted += len(line.codes)
            self._send(self._flow.end(line.utterance.pause))
            rate = self._tts.sample_rate
            self.spans.append((began_at / rate, (self.samples - self._flow.silence) / rate))
            self.utterances += 1
            relay.lines.popleft()
            relay.changed.notify_all()

    def _speaker(self, line: _Line) -> Tokens:
        """(32,) codes of who speaks."""
        voice = self._reading.voice
        return np.array(line.speaker or (voice.speaker if voice else ()), np.int64)

    def _decode(self, decode: GrowingDecode, codes: Tokens, stop: int, finished: bool) -> Piece:
        with self._tts.decoding:
            piece = decode.window(codes, stop, finished)
        self._tts.has_decoded = True
        return piece

    def _send(self, samples: Samples) -> None:
        if not samples.size:
            return
        relay, rate = self._relay, self._tts.sample_rate
        chunk = Chunk(samples, rate, self.samples / rate, self.utterances)
        if self.first_sound is None:
            self.first_sound = time.perf_counter() - self.began
        self.samples += samples.size
        self.pace.sent(chunk.duration)
        relay.chunks.append(chunk)
        relay.waiting += chunk.duration
        relay.heard.notify_all()


class SpeechStream:
    """Speech in chunks, made while you take them: iterate over it, once. Made by `SparkTTS.stream`.

    Work begins with the first chunk that is asked for, and stops with `close`, at the end of a `with` block, on an
    exception while waiting for a chunk (such as Ctrl-C), and when nobody holds the stream any more.
    """

    def __init__(self, tts: SparkTTS, reading: Reading, mode: Mode, look_ahead: int | None) -> None:
        """Raises OptionError."""
        context = tts.engine.codec.context
        self.mode: Mode = mode
        self.look_ahead = _look_ahead(mode, look_ahead, context)
        self.sample_rate = tts.sample_rate
        self._reading, self._relay = reading, _Relay(tts.engine.codec.hop / tts.sample_rate)
        exact = mode == "exact"
        pace = _Pace(self.look_ahead, first_window(self.look_ahead, exact), time.perf_counter)
        self._decoding = _Decoding(tts, reading, self._relay, pace, left_context(self.look_ahead, exact))
        turn = _Turn(tts.turn, self._relay)
        self._source = reading.source
        reading.source = _Patient(reading.source, self._relay, turn)
        writing = Thread(target=_write, args=(reading, self._relay, turn), name="sparktts-write", daemon=True)
        decoding = Thread(target=self._decoding.run, name="sparktts-decode", daemon=True)
        self._threads = (writing, decoding)
        self._state: Literal["new", "running", "closed"] = "new"
        self._report: Report | None = None
        self._finalizer = weakref.finalize(self, _abandon, self._relay, self._source)

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        """The next chunk. Raises GenerationError, TextError and what else ends the speech too early."""
        if self._state == "closed":
            raise StopIteration
        try:
            if self._state == "new":
                self._start()
            chunk = self._relay.fetch()
        except BaseException:
            self.close()
            raise
        if chunk is None:
            left = self._relay.stopped  # another thread has closed it meanwhile
            self.close()
            self._report = None if left else self._summary()
            raise StopIteration
        return chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stops at once what still runs, and returns when both threads have ended."""
        running, self._state = self._state == "running", "closed"
        self._finalizer()
        for thread in self._threads if running else ():
            with suppress(RuntimeError):  # Ctrl-C came before it was started: then it ends by itself
                thread.join()

    @property
    def voice(self) -> Voice | None:
        """Who speaks; None until a new voice is known."""
        return self._reading.voice

    @property
    def report(self) -> Report | None:
        """What happened to each utterance; None before the end."""
        return self._report

    @property
    def figures(self) -> StreamFigures:
        """How it went so far."""
        d = self._decoding
        return StreamFigures(self.mode, self.look_ahead, d.first_sound, d.windows, d.decoded, d.emitted, d.pace.late)

    @property
    def metadata(self) -> dict[str, str]:
        """Tags for a file, as far as they are known: synthetic speech, model, voice, seed."""
        return self._reading.metadata

    def _start(self) -> None:
        self._decoding.began = time.perf_counter()
        self._state = "running"
        for thread in self._threads:
            thread.start()

    def _summary(self) -> Report:
        d = self._decoding
        reports = [report.placed(*span) for report, span in zip(self._relay.reports, d.spans, strict=True)]
        return self._reading.summary(d.samples, d.ended - d.began, reports)


def first_window(look_ahead: int, exact: bool) -> int:
    """Tokens of a stream's first window: few; more where much has to be waited for anyway, as that costs less."""
    return max(FIRST_WINDOW, look_ahead // 2) if exact else FIRST_WINDOW


def left_context(look_ahead: int, exact: bool) -> int | None:
    """Tokens before a window that are decoded with it: as many as behind it, as the networks look both ways alike."""
    return None if exact else max(LEAST_LEFT, look_ahead)


def _look_ahead(mode: str, tokens: int | None, context: int) -> int:
    if mode not in ("low-latency", "exact"):
        raise OptionError(f"{mode!r} is not a way to stream: use low-latency or exact.")
    if mode == "exact":
        if tokens is not None:
            raise OptionError("Exact streaming takes the look-ahead that it needs: leave the look-ahead out.")
        return context
    if tokens is None:
        return min(LOOK_AHEAD, context)
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 <= tokens <= MOST_LOOK_AHEAD:
        raise OptionError(f"The look-ahead is a number of tokens from 0 to {MOST_LOOK_AHEAD}, not {tokens!r}.")
    return min(tokens, context)


def _abandon(relay: _Relay, source: Source) -> None:
    relay.stop()
    source.close()
