"""From the page's fields to speech: the same pipeline, errors as sentences."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar

import gradio as gr

from ..audio.audio import Audio
from ..errors import OptionError, SparkTTSError
from ..report import Report
from ..sampling import SamplingOptions

if TYPE_CHECKING:
    from ..pipeline import SparkTTS
    from ..style import Style
    from ..voice import Voice

P = ParamSpec("P")
T = TypeVar("T")


class Spoken(NamedTuple):
    """A speech, its file for the browser, and what to know of it."""

    audio: Audio
    file: str
    summary: str


def told(function: Callable[P, T]) -> Callable[P, T]:
    """Errors of the pipeline become messages on the page."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except SparkTTSError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return guarded


def told_each(function: Callable[P, Iterator[T]]) -> Callable[P, Iterator[T]]:
    """The same for handlers that give several answers."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        try:
            yield from function(*args, **kwargs)
        except SparkTTSError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return guarded


def seed_of(value: str) -> SamplingOptions | None:
    """From the field: a whole number, or nothing. Raises OptionError."""
    if not value.strip():
        return None
    if not value.strip().isdecimal():
        raise OptionError("The seed is a whole number, or empty.")
    return SamplingOptions(seed=int(value))


def speak(tts: SparkTTS, text: str, voice: Voice | None, style: Style | None, seed: str) -> Spoken:
    """A short speech, for the fields of a tab. Raises SparkTTSError."""
    audio = tts.say(text, voice=voice, style=style, sampling=seed_of(seed))
    assert audio.report is not None
    return Spoken(audio, kept_file(audio.to_bytes("mp3"), "speech.mp3"), summary(audio.report))


def list_on_opening(tab: gr.Tab, voice: gr.Dropdown, tts: SparkTTS) -> None:
    """A list of voices has those that there are when its tab is opened."""
    # Not when the list gets the focus: an answer that comes late would undo what was chosen meanwhile. And not through
    # the queue: an event that joins it in the moment in which the one before ends is never answered (Gradio 6.31).
    tab.select(lambda: gr.Dropdown(choices=tts.voices.names()), None, voice, show_progress="hidden", queue=False)


def kept_file(data: bytes | str, name: str) -> str:
    """A file for the browser to fetch."""
    path = Path(tempfile.mkdtemp(prefix="sparktts-")) / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


def summary(report: Report) -> str:
    """What to know of a speech, in lines."""
    facts = (f"{report.seconds:.1f} s", f"RTF {report.real_time_factor:.2f}", f"seed {report.seed}", report.style)
    return "\n\n".join([", ".join(filter(None, facts)), *report.notes])
