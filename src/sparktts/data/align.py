"""Another pass: shards of clips with phonemes get the time of each word; clips that do not say their words leave."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AudioError, OptionError
from . import passes
from .build import Watcher
from .hearing import FeatureSource
from .prepare import output_schema
from .schema import pyarrow, to_clips
from .shards import read_table, shard_rows

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

    def announced(paths: list[Path], missing: list[Path]) -> str:
        if missing and not any(_has_words(path) for path in paths):
            raise OptionError(f"No clip in '{directory}' has phonemes to find the times of; prepare with --phonemes.")
        clips = sum(map(shard_rows, missing))
        return f"{clips} clips in '{directory}' get word times from the aligner '{source.aligner}'."

    what = passes.Pass("aligner", _fingerprint(source), "Aligning", partial(_Aligning, source))
    passes.add(directory, what, announced, workers=workers, force=force, watcher=watcher)


@dataclass(frozen=True)
class _Aligning:
    source: AlignerSource
    root: str

    def load(self) -> None:
        _loaded(self)

    def __call__(self, table: pa.Table) -> pa.Table:
        return align_batch(table, *_loaded(self))


@lru_cache(maxsize=1)
def _loaded(job: _Aligning) -> tuple[Aligner, ClipFeatures]:
    from ..engine.torch.aligner import Aligner
    from ..engine.torch.devices import choose_device

    device = choose_device(job.source.device)
    heard = job.source.features.open(Path(job.root), device)
    return Aligner.load(Path(job.source.aligner), device).require(heard.encoder.fingerprints), heard


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
