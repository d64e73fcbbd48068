"""The second pass: shards of clips get the tokens of a codec."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ..audio.loudness import normalize_volume
from ..audio.reference import reference_window
from ..audio.samples import Samples
from ..audio.silence import trim_silence
from ..errors import AudioError, InvalidTokens, OptionError
from . import folder, passes
from .audio_source import open_audio
from .build import Silent, Watcher
from .prepare import output_schema
from .schema import pyarrow
from .shards import shard_paths, shard_rows, source_folder

if TYPE_CHECKING:
    import pyarrow as pa

    from ..engine.base import Codec


@dataclass(frozen=True)
class CodecSource:
    """Which codec, computed where; a process loads it once. checkpoint: directory."""

    checkpoint: str
    engine: str = "auto"
    device: str = "auto"


def token_batch(table: pa.Table, codec: Codec, root: str, volume_normalize: bool = True) -> pa.Table:
    """Adds the columns semantic, global_tokens and codec.

    table: rows of a shard; root: the folder that `audio` is relative to. The semantic tokens are those of the whole,
    untrimmed clip, so that word times stay valid; the voice's are those of the clip without its outer silence, repeated
    up to 6 s. Returns the columns of `output_schema`; a clip whose audio is gone has a reason in `rejected`.
    """
    rows = []
    for row in table.to_pylist():
        row |= {"rejected": None, "detail": None, "flags": []}
        try:
            semantic, speaker = _tokens(open_audio(root, row["audio"]), codec, volume_normalize)
            row |= {"semantic": semantic, "global_tokens": speaker, "codec": codec.fingerprint}
        except (AudioError, InvalidTokens, OptionError) as error:
            row |= {"rejected": "unreadable", "detail": str(error)}
        rows.append(row)
    result: pa.Table = pyarrow().Table.from_pylist(rows, output_schema())
    return result


def add_tokens(
    directory: str | PathLike[str],
    source: CodecSource,
    *,
    workers: int = 1,
    force: bool = False,
    watcher: Watcher | None = None,
) -> None:
    """Adds a codec's tokens to every shard that lacks them.

    workers: processes, each with a codec of its own; 1 is best with an accelerator. force: replaces the tokens of
    another codec. Raises OptionError if there are such and force is false, CheckpointError for a bad codec.
    """
    from ..checkpoint.layout import Checkpoint

    watcher, out = watcher or Silent(), Path(directory)
    if workers < 1:
        raise OptionError("--workers must be at least 1.")
    paths = shard_paths(out)
    checkpoint = Checkpoint.open_codec(source.checkpoint)
    name = checkpoint.codec_fingerprint
    missing = passes.without(paths, "codec", name, "codec", force)
    done = f"; {len(paths) - len(missing)} of {len(paths)} shards have them" if len(missing) < len(paths) else ""
    total = sum(map(shard_rows, missing))
    watcher.note(f"{total} clips in '{out}' get the tokens of the codec {name} of '{source.checkpoint}'{done}.")
    extra = {"codec": name, "codebook": checkpoint.bicodec.quantizer.codebook_size}
    encode = partial(_encode, source=source, root=str(source_folder(out)))
    start = partial(_start, source=source, workers=workers)
    if missing:
        passes.rewrite(missing, encode, extra, "Listening", workers, start, watcher)
    folder.write_rejected(out)


def _start(source: CodecSource, workers: int) -> None:
    _loaded(source)
    passes.share_cores(workers)


def _encode(part: passes.Part, source: CodecSource, root: str) -> pa.Table:
    codec, volume_normalize = _loaded(source)
    return token_batch(part.table, codec, root, volume_normalize)


@lru_cache(maxsize=1)
def _loaded(source: CodecSource) -> tuple[Codec, bool]:
    from ..checkpoint.layout import Checkpoint
    from ..engine import load_engine

    checkpoint = Checkpoint.open_codec(source.checkpoint)
    codec = load_engine(checkpoint, source.engine, source.device).codec
    return codec, checkpoint.options.volume_normalize


def _tokens(samples: Samples, codec: Codec, volume_normalize: bool) -> tuple[list[int], list[int]]:
    if volume_normalize:
        samples = normalize_volume(samples)
    voice = reference_window(trim_silence(samples, codec.sample_rate), "whole")
    return codec.semantic_tokens(samples).tolist(), codec.speaker_tokens(voice).tolist()
