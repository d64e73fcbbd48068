"""What a clip is, and the columns that hold clips in Parquet shards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ..errors import OptionError

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = "sparktts.clips/1"


@dataclass(frozen=True)
class Clip:
    """One utterance. Fields and columns are the same, in the same order.

    audio: path relative to the manifest's folder, "en_00.tar::en_0001.opus" for a member of a tar; duration: seconds of
    the file; f0_mean, f0_std: Hz, over voiced frames; loudness: dBFS of active speech; syllables_per_second: over the
    trimmed clip; pitch_value, speed_value and the levels (0 very_low to 4 very_high): numbers of the style tokens;
    words: phoneme groups with their punctuation; word_times: (start, end) in seconds of each word; semantic: (T,) codes
    at 50 Hz of the untrimmed clip; global_tokens: the voice; codec: fingerprint of the codec of both.
    """

    id: str
    audio: str
    text: str
    language: str
    speaker: str
    duration: float
    loudness: float
    syllables_per_second: float
    speed_value: int
    gender: str | None = None
    f0_mean: float | None = None
    f0_std: float | None = None
    pitch_value: int | None = None
    pitch_level: int | None = None
    speed_level: int | None = None
    words: tuple[str, ...] | None = None
    word_times: tuple[tuple[float, float], ...] | None = None
    semantic: tuple[int, ...] | None = None
    global_tokens: tuple[int, ...] | None = None
    codec: str | None = None


COLUMNS = tuple(field.name for field in fields(Clip))


def pyarrow() -> Any:
    """The module `pyarrow`, with `pyarrow.parquet`. Raises OptionError when it is not installed."""
    try:
        import pyarrow as module
        import pyarrow.parquet
    except ImportError:
        raise OptionError('Preparing and reading training data needs pyarrow: pip install "sparktts[train]".') from None
    return module


def schema() -> pa.Schema:
    """The columns, with the version in the metadata. Raises OptionError without pyarrow."""
    pa = pyarrow()
    text, number = pa.string(), pa.float32()
    times = pa.struct([pa.field("start", number, nullable=False), pa.field("end", number, nullable=False)])
    codes = pa.list_(pa.uint16())
    types = {
        **dict.fromkeys(("id", "audio", "text", "language", "speaker", "gender", "codec"), text),
        **dict.fromkeys(("duration", "loudness", "syllables_per_second", "f0_mean", "f0_std"), number),
        **dict.fromkeys(("speed_value", "pitch_value"), pa.int16()),
        **dict.fromkeys(("pitch_level", "speed_level"), pa.int8()),
        **dict.fromkeys(("semantic", "global_tokens"), codes),
        "words": pa.list_(text),
        "word_times": pa.list_(times),
    }
    optional = {field.name for field in fields(Clip) if field.default is None}
    columns = [pa.field(name, types[name], nullable=name in optional) for name in COLUMNS]
    return pa.schema(columns, {"schema": VERSION})


def to_table(clips: Iterable[Clip]) -> pa.Table:
    """A table of clips, columns as in `schema`."""
    rows = [{name: getattr(clip, name) for name in COLUMNS} for clip in clips]
    for row in rows:
        if row["word_times"] is not None:
            row["word_times"] = [{"start": start, "end": end} for start, end in row["word_times"]]
    result: pa.Table = pyarrow().Table.from_pylist(rows, schema())
    return result


def to_clips(table: pa.Table) -> list[Clip]:
    """The clips of a table, other columns left aside."""
    present: Sequence[str] = [name for name in COLUMNS if name in table.column_names]
    return [_clip(row) for row in table.select(present).to_pylist()]


def _clip(row: dict[str, Any]) -> Clip:
    for name in ("words", "semantic", "global_tokens"):
        if row.get(name) is not None:
            row[name] = tuple(row[name])
    if row.get("word_times") is not None:
        row["word_times"] = tuple((time["start"], time["end"]) for time in row["word_times"])
    return Clip(**row)
