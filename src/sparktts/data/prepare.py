"""One batch of clips: table in, table out, nothing else touched, so that a cluster can map it as one process does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..errors import OptionError, TextError
from ..text.duration import count_syllables
from . import attributes
from .checks import Recording, Unfit, check_recording
from .manifest import Entry
from .schema import COLUMNS, pyarrow, schema

if TYPE_CHECKING:
    import pyarrow as pa

SPEED_RANGE = (0.7, 12.0)  # syllables a second: beyond it text and sound do not belong together


@dataclass(frozen=True)
class PrepareOptions:
    """How clips are prepared.

    min_seconds: of sound; max_seconds: of the file; speed_outliers: robust z-score of the pace beyond which a clip is
    left out, 0: never; guess_gender: from the speaker's pitch where the manifest says nothing; phonemes: adds `words`
    where the manifest has none.
    """

    min_seconds: float = 0.5
    max_seconds: float = 30.0
    speed_outliers: float = 5.0
    guess_gender: bool = False
    phonemes: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.min_seconds < self.max_seconds <= 600:
            raise OptionError(
                f"The clips cannot be {self.min_seconds:g} s or more and {self.max_seconds:g} s or less; "
                "use 0 < --min-seconds < --max-seconds <= 600."
            )
        if not (self.speed_outliers == 0 or 1 <= self.speed_outliers <= 1000):
            raise OptionError(
                f"--speed-outliers is {self.speed_outliers:g}; use a z-score from 1 to 1000, or 0 for none."
            )


def input_table(entries: Sequence[Entry]) -> pa.Table:
    """The table that `prepare_batch` takes: id, audio, text, language, speaker, gender, words."""
    module = pyarrow()
    rows = [asdict(entry) for entry in entries]
    for row in rows:
        del row["duration"]
    types = dict.fromkeys(("id", "audio", "text", "language", "speaker", "gender"), module.string())
    columns = module.schema([*types.items(), ("words", module.list_(module.string()))])
    table: pa.Table = module.Table.from_pylist(rows, columns)
    return table


def output_schema() -> pa.Schema:
    """What `prepare_batch` returns: the columns of shards, all of them nullable, and three more.

    rejected: the reason why a clip must be left out, or null; detail: the same in a sentence; flags: what is odd about
    a clip that stays.
    """
    pa = pyarrow()
    columns = [pa.field(field.name, field.type) for field in schema()]
    more = [pa.field("rejected", pa.string()), pa.field("detail", pa.string())]
    return pa.schema([*columns, *more, pa.field("flags", pa.list_(pa.string()))])


def prepare_batch(table: pa.Table, options: PrepareOptions, root: str) -> pa.Table:
    """Checks and measures clips.

    table: as `input_table` makes it; root: the folder that `audio` is relative to. Returns one row for each, in order,
    with the columns of `output_schema`. Raises OptionError when a library is missing; a bad clip raises nothing.
    """
    rows = [_row(row, options, root) for row in table.to_pylist()]
    result: pa.Table = pyarrow().Table.from_pylist(rows, output_schema())
    return result


def _row(given: dict[str, Any], options: PrepareOptions, root: str) -> dict[str, Any]:
    row: dict[str, Any] = {**dict.fromkeys(COLUMNS), **given, "rejected": None, "detail": None, "flags": []}
    try:
        recording = check_recording(root, row["audio"], options.min_seconds, options.max_seconds)
        row |= _measured(row, recording)
        if options.phonemes and row["words"] is None:
            row["words"] = _words(row["text"], row["language"])
    except Unfit as unfit:
        row |= {"rejected": unfit.reason, "detail": unfit.detail}
    return row


def _measured(row: dict[str, Any], recording: Recording) -> dict[str, Any]:
    syllables = count_syllables(row["text"])
    if syllables == 0:
        raise Unfit("no_syllables", f"The transcript '{row['text'][:60]}' holds nothing to speak.")
    rate = syllables / recording.sounding
    if not SPEED_RANGE[0] <= rate <= SPEED_RANGE[1]:
        raise Unfit(
            "speed_range",
            f"'{row['audio']}' has {rate:.1f} syllables a second ({syllables} in {recording.sounding:.1f} s); "
            "the transcript may be of another recording.",
        )
    found = attributes.recorded_pitch(recording)
    value = None if found is None else attributes.pitch_value(found.mean)
    return {
        "duration": recording.seconds,
        "f0_mean": None if found is None else found.mean,
        "f0_std": None if found is None else found.std,
        "loudness": attributes.loudness(recording.samples, recording.rate),
        "syllables_per_second": rate,
        "pitch_value": value,
        "speed_value": attributes.speed_value(rate),
        "pitch_level": None if value is None else attributes.pitch_level(value, row["gender"]),
        "speed_level": attributes.speed_level(rate, row["language"]),
        "flags": recording.flags,
    }


def _words(text: str, language: str) -> list[str]:
    from ..text.phonemes import phonemize

    if language not in ("zh", "en"):
        raise Unfit("no_phonemes", f"Phonemes are known for zh and en, not for {language}; put them into the manifest.")
    try:
        return list(phonemize(text, "zh" if language == "zh" else "en"))
    except TextError as error:
        raise Unfit("no_phonemes", str(error)) from None
