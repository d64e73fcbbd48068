"""What only the whole corpus can tell: which pace is odd, which gender a speaker's pitch suggests."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import attributes, folder
from .manifest import Rejected
from .schema import pyarrow
from .shards import read_table, shard_metadata, shard_paths, write_shard

if TYPE_CHECKING:
    import pyarrow as pa

    from .build import Watcher
    from .prepare import PrepareOptions

_FEWEST = 20  # clips of a language from which its usual pace is known
_LEAST_SPREAD = 0.05  # no speaker is steadier than 5 %


def split_rejected(table: pa.Table) -> tuple[pa.Table, list[Rejected]]:
    """The rows of a table without a reason in `rejected`, and the others as such."""
    reasons = table["rejected"].to_pylist()
    bad = table.filter([reason is not None for reason in reasons])
    rows = bad.select(["id", "audio", "rejected", "detail"]).to_pylist()
    rejected = [Rejected(row["id"], row["audio"], row["rejected"], row["detail"]) for row in rows]
    return table.filter([reason is None for reason in reasons]), rejected


def finish(out: Path, options: PrepareOptions, watcher: Watcher) -> None:
    """Leaves out clips of odd pace and guesses genders, as the options say, in shards that were not looked at yet.

    What was decided is kept first, so that a pass that was stopped goes on as it began. Raises OptionError.
    """
    open_shards = [path for path in shard_paths(out) if not shard_metadata(path).get("final")]
    if not open_shards or not (options.speed_outliers or options.guess_gender):
        return
    state = folder.read_state(out) or {}
    decided = state.get("corpus")
    if decided is None:
        decided = _decide(out, options)
        folder.write_json(out / folder.STATE, {**state, "corpus": decided})
    for number, path in enumerate(open_shards, start=1):
        table, rejected = _apply(read_table(path), decided)
        metadata = shard_metadata(path)
        metadata["rejected"] = [*metadata["rejected"], *folder.rejected_rows(rejected)]
        write_shard(path, table, {**metadata, "final": True})
        watcher.progress("Comparing", number, len(open_shards), None)


def _decide(out: Path, options: PrepareOptions) -> dict[str, Any]:
    """speed: language -> the slowest and the fastest usual pace; genders: speaker -> guess."""
    paces: dict[str, list[float]] = defaultdict(list)
    pitches: dict[str, list[float]] = defaultdict(list)
    for path in shard_paths(out):
        for row in read_table(path, ["language", "speaker", "gender", "syllables_per_second", "f0_mean"]).to_pylist():
            paces[row["language"]].append(row["syllables_per_second"])
            if row["gender"] is None and row["f0_mean"] is not None:
                pitches[row["speaker"]].append(row["f0_mean"])
    bounds = {
        language: found
        for language, values in paces.items()
        if options.speed_outliers and (found := usual_range(values, options.speed_outliers))
    }
    genders = {name: attributes.guess_gender(float(np.median(values))) for name, values in pitches.items()}
    return {"speed": bounds, "genders": genders if options.guess_gender else {}}


def usual_range(values: list[float], z: float) -> tuple[float, float] | None:
    """Bounds at a robust z-score (median and median deviation of the logarithms), None if there are too few values."""
    logs = np.log(np.maximum(values, 1e-6))
    middle = float(np.median(logs))
    deviation = max(_LEAST_SPREAD, float(np.median(np.abs(logs - middle))) / 0.6745)
    if len(values) < _FEWEST:
        return None
    return float(np.exp(middle - z * deviation)), float(np.exp(middle + z * deviation))


def _apply(table: pa.Table, decided: dict[str, Any]) -> tuple[pa.Table, list[Rejected]]:
    kept, rejected = [], []
    for row in table.to_pylist():
        low, high = decided["speed"].get(row["language"], (0.0, np.inf))
        rate = row["syllables_per_second"]
        if not low <= rate <= high:
            detail = (
                f"'{row['audio']}' has {rate:.1f} syllables a second, where the corpus has {low:.1f} to {high:.1f}; "
                "the transcript may be wrong."
            )
            rejected.append(Rejected(row["id"], row["audio"], "speed_outlier", detail))
            continue
        if row["gender"] is None and row["speaker"] in decided["genders"]:
            row["gender"] = decided["genders"][row["speaker"]]
            if row["pitch_value"] is not None:
                row["pitch_level"] = attributes.pitch_level(row["pitch_value"], row["gender"])
        kept.append(row)
    result: pa.Table = pyarrow().Table.from_pylist(kept, table.schema)
    return result, rejected
