"""One shard: an uncompressed tar of recordings with a manifest, as `sparktts prepare` reads it."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from plan import Line, Shard, Turn
from teacher import SAMPLE_RATE as TEACHER_RATE
from teacher import Teacher
from voices import Voice, heard_gender

from sparktts.audio.resample import resample
from sparktts.audio.samples import Samples
from sparktts.audio.write import encode_audio
from sparktts.data.attributes import pitch
from sparktts.errors import SparkTTSError
from sparktts.files import replacing
from sparktts.text.phonemes import phonemize

SAMPLE_RATE = 16000
MANIFEST = "manifest.jsonl"
# Beyond these the teacher itself becomes unclear.
_SLOWEST, _FASTEST = 0.7, 1.4


@dataclass(frozen=True)
class Utterance:
    """words: groups of phonemes; samples: (N,) at 16 kHz; f0: mean in Hz, None where nothing is voiced."""

    line: Line
    words: tuple[str, ...]
    samples: Samples
    f0: float | None


def write_shard(shard: Shard, path: Path, teacher: Teacher, format: str, check: Callable[[], None]) -> float:
    """Speaks a shard and writes it, whole or not at all.

    check: is called before each line, and may raise to stop. Returns seconds of speech. Raises SparkTTSError.
    """
    rows: list[dict[str, Any]] = []
    with replacing(path) as temporary, tarfile.open(temporary, "w") as archive:
        for turn in shard.turns:
            for utterance, gender in _spoken(turn, shard.language, teacher, check):
                name = f"{shard.name}_{len(rows):03d}"
                add_file(archive, f"{name}.{format}", encode_audio(utterance.samples, SAMPLE_RATE, format))
                rows.append(_row(name, f"{name}.{format}", utterance, turn.voice, gender, shard.language))
        add_manifest(archive, rows)
    return float(sum(row["duration"] for row in rows))


def shard_seconds(path: Path) -> float:
    """Seconds of speech in a shard that was written."""
    return float(sum(row["duration"] for row in read_manifest(path)))


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """The rows of a shard's manifest. Raises OSError, tarfile.TarError, KeyError, ValueError for what is no shard."""
    with tarfile.open(path) as archive:
        manifest = archive.extractfile(MANIFEST)
        assert manifest is not None
        return [json.loads(line) for line in manifest.read().decode().splitlines()]


def say(line: Line, voice: Voice, language: str, teacher: Teacher) -> Utterance:
    """One line. Played at another rate, all frequencies of a voice move, and its pace with them; the teacher's own
    pace makes up for that."""
    words = phonemize(line.text, "en" if language == "en" else "zh")
    speed = min(max(line.tempo / voice.shift, _SLOWEST), _FASTEST)
    samples = resample(teacher.say(words, voice, speed), round(TEACHER_RATE * voice.shift), SAMPLE_RATE)
    found = pitch(samples)
    return Utterance(line, words, samples, None if found is None else found.mean)


def _spoken(
    turn: Turn, language: str, teacher: Teacher, check: Callable[[], None]
) -> Iterator[tuple[Utterance, str | None]]:
    """The utterances of a voice, and the gender that all of them together sound like."""
    utterances = []
    for line in turn.lines:
        check()
        utterances.append(say(line, turn.voice, language, teacher))
    pitches = [utterance.f0 for utterance in utterances if utterance.f0 is not None]
    gender = heard_gender(turn.voice, median(pitches) if pitches else None)
    return ((utterance, gender) for utterance in utterances)


def _row(
    name: str, audio: str, utterance: Utterance, voice: Voice, gender: str | None, language: str
) -> dict[str, Any]:
    return {
        "id": name,
        "audio": audio,
        "text": utterance.line.text,
        "words": utterance.words,
        "language": language,
        "speaker": voice.name,
        "gender": gender,
        "duration": round(len(utterance.samples) / SAMPLE_RATE, 3),
        "tempo": utterance.line.tempo,
    }


def add_manifest(archive: tarfile.TarFile, rows: list[dict[str, Any]]) -> None:
    """A line of JSON for each recording: the last member of a shard."""
    add_file(archive, MANIFEST, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def add_file(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """One member of an archive that is being written."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def resumable(action: Callable[[], None]) -> int:
    """Exit code of a script that goes on where it was stopped; what it raises for people becomes a sentence."""
    try:
        action()
    except SparkTTSError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return 130
    return 0
