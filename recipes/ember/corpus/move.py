"""More speakers from speech that is there: copies in which each voice is moved up or down as a whole.

    python recipes/ember/corpus/move.py SPEECH -o MOVED --seed 1

reads SPEECH/*.tar and writes as many tars, for `sparktts prepare MOVED`. What is there is kept. Moved down, speech at
16 kHz loses its highest frequencies: where the teacher is at hand, generate.py moves its 24 kHz instead.
"""

from __future__ import annotations

import argparse
import random
import sys
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from speech import MANIFEST, SAMPLE_RATE, add_file, add_manifest, read_manifest, resumable
from voices import Voice, heard_gender

from sparktts.audio.resample import resample
from sparktts.audio.samples import Samples
from sparktts.audio.write import encode_audio
from sparktts.data.attributes import pitch
from sparktts.data.audio_source import MEMBER, open_audio
from sparktts.errors import OptionError
from sparktts.files import replacing

DOWN, UP = (0.88, 0.95), (1.05, 1.18)
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)

    def move() -> None:
        for path in move_folder(options.speech, options.output, options.seed):
            print(path, flush=True)

    return resumable(move)


def move_folder(speech: Path, out: Path, seed: int) -> Iterator[Path]:
    """Writes what is not there, one tar at a time. Raises SparkTTSError."""
    sources = sorted(speech.glob("*.tar"))
    if not sources:
        raise OptionError(f"There is no .tar in '{speech}'.")
    out.mkdir(parents=True, exist_ok=True)
    for source in sources:
        target = out / f"{source.stem}_moved{seed}.tar"
        if not target.is_file():
            move_tar(source, target, seed)
            yield target


def move_tar(source: Path, target: Path, seed: int) -> None:
    """One tar, whole or not at all."""
    rows = []
    with replacing(target) as temporary, tarfile.open(temporary, "w") as archive:
        for speaker, group in _speakers(source).items():
            shift = choose_shift(f"{seed} {speaker}")
            for row, samples in _moved(source, group, speaker, shift):
                name = f"{row['id']}.ogg"
                add_file(archive, name, encode_audio(samples, SAMPLE_RATE, "ogg"))
                rows.append({**row, "audio": name})
        add_manifest(archive, rows)


def choose_shift(seed: str) -> float:
    """By which all frequencies of a speaker are multiplied: clearly somebody else's, and still a person's."""
    rng = random.Random(seed)
    return round(rng.uniform(*rng.choice((DOWN, UP))), 2)


def _moved(source: Path, group: Sequence[Row], speaker: str, shift: float) -> Iterator[tuple[Row, Samples]]:
    """The clips of one speaker, and what to call the gender of them all."""
    clips = [open_audio(source.parent, f"{source.name}{MEMBER}{row['audio']}") for row in group]
    clips = [resample(clip, round(SAMPLE_RATE * shift), SAMPLE_RATE) for clip in clips]
    found = [measured.mean for measured in map(pitch, clips) if measured is not None]
    own = {"f": "female", "m": "male"}.get(str(group[0].get("gender") or "")[:1], "")
    gender = heard_gender(Voice((), own, shift), median(found) if found else None) or None
    for row, clip in zip(group, clips, strict=True):
        kept = {key: value for key, value in row.items() if key not in ("voice", "speed")}
        changed = {
            "id": f"{row['id']}@{shift:.2f}",
            "speaker": f"{speaker}@{shift:.2f}",
            "gender": gender,
            "duration": round(len(clip) / SAMPLE_RATE, 3),
        }
        yield {**kept, **changed}, clip


def _speakers(source: Path) -> dict[str, list[Row]]:
    """The rows of a tar's manifest by speaker, in their order. Raises OptionError."""
    groups: dict[str, list[Row]] = defaultdict(list)
    try:
        for row in read_manifest(source):
            groups[row.get("speaker") or row["voice"]].append(row)
    except (tarfile.TarError, KeyError, ValueError, OSError) as error:
        raise OptionError(f"'{source}' is no tar of speech with a '{MANIFEST}' ({error}).") from None
    return groups


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path, help="folder of tars with manifests")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seed", type=int, default=1, help="other factors (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
