"""sparktts say --batch: many texts and voices, a line of JSON each."""

from __future__ import annotations

import json as jsonlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AudioError, OptionError, SparkTTSError, TextError
from .console import note, progress_bar, result, result_json, shown
from .run import fail, one_sentence
from .speaking import Speaker, Wish, record
from .targets import check_name
from .texts import checked, decoded, read_bytes

if TYPE_CHECKING:
    from ..audio.audio import Audio

KEYS = ("text", "voice", "transcript", "gender", "pitch", "speed", "seed", "id", "output")


@dataclass(frozen=True)
class Line:
    """One text to be said. number: its place in the list, from 1."""

    number: int
    text: str
    wish: Wish
    path: Path
    id: str | None


def say_all(
    source: str,
    folder: str,
    format: str | None,
    defaults: Wish,
    load: Callable[[], Speaker],
    *,
    json: bool,
    quiet: bool,
) -> None:
    """Says every line whose file is not there yet, and reports each. A bad line does not stop the others.

    defaults: what lines leave out. load: called when the first line is to be spoken.
    Raises TextError for an unreadable list, OptionError when the folder is missing or lines failed.
    """
    from ..audio.write import check_format

    suffix = (format or "wav").lower().removeprefix(".")
    check_format(suffix)
    directory = Path(folder)
    if not directory.is_dir():
        raise OptionError(f"There is no folder {folder} for the files: create it first.")
    lines = _split(read_bytes(source), source)
    batch = _Batch(directory, suffix if format else None, defaults, load, json)
    with progress_bar(quiet) as bar:
        for done, (number, data) in enumerate(lines):
            bar.speaking(done, len(lines))
            batch.take(number, data)
    if batch.failed:
        raise OptionError(f"{batch.failed} of {len(lines)} lines failed: mend them and run the same command again.")
    if not quiet:
        note(f"{shown(directory)}: {batch.said} said, {batch.skipped} skipped because they were there.")


class _Batch:
    def __init__(
        self, directory: Path, format: str | None, defaults: Wish, load: Callable[[], Speaker], json: bool
    ) -> None:
        self.directory, self.format = directory, format
        self.defaults, self.load, self.json = defaults, load, json
        self.speaker: Speaker | None = None
        self.taken: dict[str, int] = {}
        self.said = self.skipped = self.failed = 0

    def take(self, number: int, data: bytes) -> None:
        """Says one line, or reports why not. Raises what concerns all lines: no model, no memory, a bug."""
        try:
            line = self._parsed(number, data)
        except SparkTTSError as error:
            self._fail(number, error)
            return
        if line.path.exists():
            self.skipped += 1
            self._report(line, {"skipped": True}, "skipped, its file is there")
            return
        self.speaker = self.speaker or self.load()
        try:
            audio = self._spoken(self.speaker, line)
        except (SparkTTSError, OSError) as error:
            self._fail(number, error)
            return
        self.said += 1
        self._report(line, record(audio), _told(audio))

    def _spoken(self, speaker: Speaker, line: Line) -> Audio:
        audio = speaker.say(line.text, line.wish)
        audio.save(line.path, self.format)
        return audio

    def _fail(self, number: int, error: Exception) -> None:
        self.failed += 1
        message = one_sentence(str(error))
        fail(f"Line {number}: {message}")
        if self.json:
            result_json({"line": number, "error": message})

    def _report(self, line: Line, facts: dict[str, Any], told: str) -> None:
        if self.json:
            result_json({"line": line.number, "id": line.id, "output": shown(line.path), **facts})
        else:
            result(f"{line.number:>5}  {shown(line.path.relative_to(self.directory))}  {told}")

    def _parsed(self, number: int, data: bytes) -> Line:
        entry = _object(decoded(data, "It"))
        text = entry.get("text")
        if not isinstance(text, str):
            raise TextError('It has no "text".')
        id = _id(entry.get("id"))
        path = self._path(entry.get("output"), id, number)
        first = self.taken.setdefault(os.path.normcase(path.resolve()), number)
        if first != number:
            raise OptionError(f"It writes the same file as line {first}, {path.name}: give it another id or output.")
        wish = _wish(entry, self.defaults)
        wish.check()
        return Line(number, checked(text, "Its text"), wish, path, id)

    def _path(self, output: Any, id: str | None, number: int) -> Path:
        """The file of a line, inside the folder. Raises OptionError."""
        from ..audio.write import check_target

        if output is not None and (not isinstance(output, str) or not output):
            raise OptionError('Its "output" is not a file name.')
        name = output or f"{id or f'{number:04d}'}.{self.format or 'wav'}"
        path = self.directory / name
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or ":" in parts[0] or Path(name).is_absolute() or not name.isprintable():
            raise OptionError(f"{name!r} leaves the folder {self.directory}: use a plain file name.")
        check_target(path, self.format)
        check_name(path, AudioError)
        if not path.resolve().is_relative_to(self.directory.resolve()):
            raise OptionError(f"{name!r} leaves the folder {self.directory}: use a plain file name.")
        return path


def _told(audio: Audio) -> str:
    report = audio.report
    assert report is not None
    speed = f"RTF {report.real_time_factor:.2f}" if report.seconds else "no sound"
    retries = sum(utterance.retries for utterance in report.utterances)
    return f"{report.seconds:6.1f} s  {speed}  voice {report.voice}  seed {report.seed}  retries {retries}"


def _split(data: bytes, source: str) -> list[tuple[int, bytes]]:
    """Numbered lines that hold something. Raises TextError if there are none."""
    lines = [(n, line) for n, line in enumerate(data.splitlines(), start=1) if line.strip()]
    if not lines:
        raise TextError(f'{source} holds no lines: write a JSON object a line, such as {{"text": "Hello."}}.')
    return lines


def _object(text: str) -> dict[str, Any]:
    try:
        entry = jsonlib.loads(text)
    except (ValueError, RecursionError):
        raise TextError('It is not JSON: write an object such as {"text": "Hello."}.') from None
    if not isinstance(entry, dict):
        raise TextError('It is not a JSON object: write one such as {"text": "Hello."}.')
    unknown = [key for key in entry if key not in KEYS]
    if unknown:
        raise OptionError(f"It has the unknown key {unknown[0]!r}: known are {', '.join(KEYS)}.")
    return entry


def _id(value: Any) -> str | None:
    if value is None or type(value) is int:
        return None if value is None else str(value)
    if not isinstance(value, str) or not value.strip() or set(value) & set("/\\"):
        raise OptionError('Its "id" is not a number or a name without slashes.')
    return value


def _wish(entry: dict[str, Any], defaults: Wish) -> Wish:
    """What a line says over what the command says; its own voice leaves the command's transcript behind."""
    given = {key: entry[key] for key in ("voice", "transcript", "gender") if entry.get(key) is not None}
    for key, value in given.items():
        if not isinstance(value, str):
            raise OptionError(f'Its "{key}" is not a text.')
    for key in ("pitch", "speed"):
        if (value := entry.get(key)) is not None:
            if type(value) not in (str, int, float):
                raise OptionError(f'Its "{key}" is neither a level nor a number.')
            given[key] = str(value)
    if (seed := entry.get("seed")) is not None:
        if type(seed) is not int:
            raise OptionError('Its "seed" is not a whole number.')
        given["seed"] = seed
    if "voice" in given:
        given.setdefault("transcript", None)
    return replace(defaults, **given)
