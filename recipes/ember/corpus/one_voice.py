"""Recordings of one voice of the teacher, as somebody who fine-tunes would have them of a person.

    python recipes/ember/corpus/one_voice.py af_nova --minutes 10 -o recordings

writes recordings/0001.flac and so on at 16 kHz, and recordings/metadata.csv with the columns audio and text, for
`sparktts prepare recordings/metadata.csv`. The texts are the recipe's, none of them in its evaluation.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from plan import Line
from speech import SAMPLE_RATE, Utterance, resumable, say
from teacher import Teacher, install
from texts import FOLDER, read_texts
from voices import STOCK, Voice

from sparktts.audio.write import encode_audio
from sparktts.errors import OptionError
from sparktts.files import write_atomically

LANGUAGES = {"a": "en", "b": "en", "z": "zh"}  # the first letters of names


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    return resumable(lambda: record(options))


def record(options: argparse.Namespace) -> None:
    """Writes the recordings, and their list last. Raises SparkTTSError."""
    name: str = options.voice
    if name not in STOCK or name[0] not in LANGUAGES:
        known = " ".join(voice for voice in STOCK if voice[0] in LANGUAGES)
        raise OptionError(f"The teacher has no voice '{name}' of English or Mandarin. It has {known}.")
    if options.minutes <= 0:
        raise OptionError("--minutes must be more than 0.")
    out: Path = options.output
    if (out / "metadata.csv").exists():
        raise OptionError(f"'{out}' holds recordings already: name another folder.")
    folder: Path = options.teacher or out.parent / "teacher"
    install(folder)
    out.mkdir(parents=True, exist_ok=True)
    rows, seconds = [("audio", "text")], 0.0
    for number, utterance in enumerate(_utterances(name, Teacher(folder), options.seed), start=1):
        rows.append((f"{number:04d}.flac", utterance.line.text))
        write_atomically(out / rows[-1][0], encode_audio(utterance.samples, SAMPLE_RATE, "flac"))
        seconds += len(utterance.samples) / SAMPLE_RATE
        if seconds >= 60 * options.minutes:
            break
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    write_atomically(out / "metadata.csv", table.getvalue().encode())
    print(f"{len(rows) - 1} recordings, {seconds / 60:.1f} minutes.")


def _utterances(name: str, teacher: Teacher, seed: int) -> Iterator[Utterance]:
    """Sentences in random order, each once, at the voice's own pace."""
    language = LANGUAGES[name[0]]
    voice = Voice(((name, 1.0),), "female" if name[1] == "f" else "male")
    texts = list(read_texts(language, FOLDER))
    random.Random(seed).shuffle(texts)
    return (say(Line(text, 1.0), voice, language, teacher) for text in texts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("voice", help="of the teacher: af_nova, am_puck, bf_emma, bm_lewis, zf_xiaoyi, zm_yunxia are in no training")
    add("--minutes", type=float, default=10, help="of speech, in all (default: %(default)s)")
    add("--seed", type=int, default=1, help="which sentences (default: %(default)s)")
    add("-o", "--output", type=Path, required=True, metavar="DIR")
    add("--teacher", type=Path, metavar="DIR", help="where it is, or will be installed (default: beside OUTPUT)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
