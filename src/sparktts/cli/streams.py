"""sparktts say --stream and --play: sound goes out while it is made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ..library import VoiceLibrary
from .console import Bar, note, progress_bar, result_json
from .speaking import Speaker, Wish, told
from .targets import STDOUT, AudioTarget, VoiceTarget

if TYPE_CHECKING:
    from ..audio.live import LiveFile, LiveWriter, Player
    from ..report import Report
    from ..streaming import Chunk, Mode, SpeechStream

DEFAULT = "speech.wav"


@dataclass
class Sinks:
    """Where chunks go: a file or stdout, a sound device, or both."""

    target: AudioTarget | None
    player: Player | None
    _file: LiveFile | None = field(default=None, init=False)
    _stdout: LiveWriter | None = field(default=None, init=False)

    @classmethod
    def parse(cls, output: str | None, format: str | None, stream: bool, play: bool) -> Sinks:
        """From the options, before any work. Raises OptionError, AudioError."""
        from ..audio.live import Player

        target = None
        if output is not None or stream:
            target = AudioTarget.parse(output or DEFAULT, format)
        return cls(target, Player() if play else None)

    @property
    def name(self) -> str:
        """For messages and reports."""
        return "Played" if self.target is None else self.target.name

    def write(self, chunk: Chunk, stream: SpeechStream) -> None:
        """The next chunk, to all of them. Raises AudioError, OptionError, BrokenPipeError."""
        if self.target is not None:
            self._save(self.target, chunk, stream)
        if self.player is not None:
            self.player.write(chunk.samples, chunk.sample_rate)

    def close(self, at_once: bool) -> None:
        """at_once: what was not played yet is dropped."""
        if self._file is not None:
            self._file.close()
        if self._stdout is not None and not at_once:
            self._stdout.close()
        if self.player is not None:
            self.player.close(at_once)

    def _save(self, target: AudioTarget, chunk: Chunk, stream: SpeechStream) -> None:
        from ..audio.live import LiveFile, LiveWriter
        from ..audio.write import format_of

        if target.path is not None:
            self._file = self._file or LiveFile(target.path, target.format or format_of(target.path))
            self._file.write(chunk.samples, chunk.sample_rate, stream.metadata)
            return
        if self._stdout is None:
            self._stdout = LiveWriter(
                sys.stdout.buffer, chunk.sample_rate, target.format or "wav", stream.metadata, seeks=False
            )
        self._stdout.write(chunk.samples)


def say_live(
    text: str | Iterable[str],
    wish: Wish,
    sinks: Sinks,
    keep: VoiceTarget | None,
    load: Callable[[], Speaker],
    mode: Mode,
    look_ahead: int | None,
    json: bool,
    quiet: bool,
) -> Report:
    """Says a text into the sinks, and reports on it. Raises SparkTTSError."""
    if keep is not None:
        keep.check(VoiceLibrary())
    with progress_bar(quiet) as bar:
        speaker = load()
        stream = speaker.stream(text, wish, mode, look_ahead, bar)
        _run(stream, sinks, bar)
    assert stream.report is not None
    kept = None
    if keep is not None and stream.voice is not None:
        kept = str(keep.save(speaker.tts.voices, stream.voice))
    if json:
        facts = {**stream.report.to_dict(), "output": sinks.name, "kept_voice": kept, "stream": _figures(stream)}
        result_json(facts, sys.stderr if sinks.name == STDOUT else None)
    elif not quiet:
        figures = stream.figures
        for line in told(stream.report, sinks.name):
            note(line)
        if figures.first_sound is not None:
            note(f"First sound after {figures.first_sound:.2f} s.")
        if keep is not None:
            note(f"Kept the voice: speak with it again by --voice {keep.text}")
    return stream.report


def _run(stream: SpeechStream, sinks: Sinks, bar: Bar) -> None:
    with ExitStack() as stack:
        stack.enter_context(stream)
        stack.push(lambda kind, error, trace: sinks.close(at_once=kind is not None))
        for chunk in stream:
            sinks.write(chunk, stream)
            bar.phase(f"Speaking, {chunk.start + chunk.duration:.0f} s")


def _figures(stream: SpeechStream) -> dict[str, Any]:
    figures = stream.figures
    return {**asdict(figures), "overhead": figures.overhead}
