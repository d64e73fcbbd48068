"""Another pass: shards of clips with phonemes get the time of each word; clips that do not say their words leave."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AudioError, OptionError
from . import folder, passes
from .build import Silent, Watcher
from .hearing import FeatureSource
from .prepare import output_schema
from .schema import pyarrow, to_clips
from .shards import read_table, shard_paths, shard_rows, source_folder

if TYPE_CHECKING:
    import pyarrow as pa

    from ..engine.torch.aligner import Aligner
    from ..train.features.cache import ClipFeatures


@dataclass(frozen=True)
class AlignerSource:
    """Which word recogniser, its directory or a checkpoint with one, and the features that it was trained with."""

    aligner: str
    features: FeatureSource
    device: str = "auto"


def align_batch(table: pa.Table, aligner: Aligner, heard_clips: ClipFeatures) -> pa.Table:
    """Fills the column word_times of clips that have words.

    table: rows of a shard. Returns the columns of `output_schema`; a clip in which its words are not heard has a reason
    in `rejected`.
    """
    rows: list[dict[str, Any]] = [{**row, "rejected": None, "detail": None, "flags": []} for row in table.to_pylist()]
    heard, features = [], []
    for row, clip in zip(rows, to_clips(table), strict=True):
        try:
            if clip.words:
                features.append(heard_clips.of(clip))
                heard.append(row)
        except (AudioError, OptionError) as error:
            row |= {"rejected": "unreadable", "detail": str(error)}
    alignments = aligner.align_batch(features, [row["words"] for row in heard]) if heard else []
    for row, alignment in zip(heard, alignments, strict=True):
        if alignment.good:
            row["word_times"] = [{"start": start, "end": end} for start, end in alignment.times]
        else:
            row |= {"rejected": "poor_alignment", "detail": f"'{row['audio']}': {alignment.reason}."}
    result: pa.Table = pyarrow().Table.from_pylist(rows, output_schema())
    return result


def add_word_times(
    directory: str | PathLike[str],
    source: AlignerSource,
    *,
    workers: int = 1,
    force: bool = False,
    watcher: Watcher | None = None,
) -> None:
    """Adds word times to every shard that lacks them; workers, force: as for `add_tokens`.

    Raises OptionError if no clip has phonemes or another aligner was here, CheckpointError for a bad aligner.
    """
    watcher, out = watcher or Silent(), Path(directory)
    if workers < 1:
        raise OptionError("--workers must be at least 1.")
    paths = shard_paths(out)
    name = _fingerprint(source)
    missing = passes.without(paths, "aligner", name, "aligner", force)
    if missing and not any(_has_words(path) for path in paths):
        raise OptionError(f"No clip in '{out}' has phonemes to find the times of; prepare it with --phonemes.")
    watcher.note(
        f"{sum(map(shard_rows, missing))} clips in '{out}' get word times from the aligner '{source.aligner}'."
    )
    root = str(source_folder(out))
    align = partial(_align, source=source, root=root)
    start = partial(_start, source=source, root=root, workers=workers)
    if missing:
        passes.rewrite(missing, align, {"aligner": name}, "Aligning", workers, start, watcher)
    folder.write_rejected(out)


def _has_words(path: Path) -> bool:
    table = read_table(path, ["words"])
    return bool(table["words"].null_count < len(table))


def _fingerprint(source: AlignerSource) -> str:
    """Of the aligner's weights. Raises CheckpointError, OptionError without torch."""
    try:
        from ..engine.torch.aligner import Aligner
    except ImportError:
        raise OptionError('Aligning needs PyTorch: pip install "sparktts[torch]".') from None
    digest = hashlib.sha256()
    for name, tensor in sorted(Aligner.load(Path(source.aligner)).network.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def _start(source: AlignerSource, root: str, workers: int) -> None:
    _loaded(source, root)
    passes.share_cores(workers)


def _align(part: passes.Part, source: AlignerSource, root: str) -> pa.Table:
    return align_batch(part.table, *_loaded(source, root))


@lru_cache(maxsize=1)
def _loaded(source: AlignerSource, root: str) -> tuple[Aligner, ClipFeatures]:
    from ..engine.torch.aligner import Aligner
    from ..engine.torch.devices import choose_device

    device = choose_device(source.device)
    return Aligner.load(Path(source.aligner), device), source.features.open(Path(root), device)
