"""The second pass: shards of clips get the tokens of a codec."""

from __future__ import annotations

from collections.abc import Callable
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
from . import passes
from .audio_source import open_audio
from .build import Watcher
from .hearing import FeatureSource
from .prepare import output_schema
from .schema import Clip, pyarrow, to_clips
from .shards import shard_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from ..engine.base import Codec, Tokens


@dataclass(frozen=True)
class CodecSource:
    """Which codec, computed where; a process loads it once. checkpoint: directory.

    features: what it hears through, null: its own model; for a codec that was trained with an encoder too large to be
    part of its checkpoint.
    """

    checkpoint: str
    engine: str = "auto"
    device: str = "auto"
    features: FeatureSource | None = None


@dataclass(frozen=True)
class Listener:
    """A codec and how it hears. semantic: tokens of a clip whose samples are given."""

    codec: Codec
    semantic: Callable[[Clip, Samples], Tokens]
    volume_normalize: bool = True


def token_batch(table: pa.Table, listener: Listener, root: str) -> pa.Table:
    """Adds the columns semantic, global_tokens and codec.

    table: rows of a shard; root: the folder that `audio` is relative to. The semantic tokens are those of the whole,
    untrimmed clip, so that word times stay valid; the voice's are those of the clip without its outer silence, repeated
    up to 6 s. Returns the columns of `output_schema`; a clip whose audio is gone has a reason in `rejected`.
    """
    rows = []
    for row, clip in zip(table.to_pylist(), to_clips(table), strict=True):
        row |= {"rejected": None, "detail": None, "flags": []}
        try:
            semantic, speaker = _tokens(clip, open_audio(root, clip.audio), listener)
            row |= {"semantic": semantic, "global_tokens": speaker, "codec": listener.codec.fingerprint}
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

    checkpoint = Checkpoint.open_codec(source.checkpoint)
    name = checkpoint.codec_fingerprint

    def announced(paths: list[Path], missing: list[Path]) -> str:
        done = f"; {len(paths) - len(missing)} of {len(paths)} shards have them" if len(missing) < len(paths) else ""
        total = sum(map(shard_rows, missing))
        return f"{total} clips in '{directory}' get the tokens of the codec {name} of '{source.checkpoint}'{done}."

    codebook = {"codebook": checkpoint.bicodec.quantizer.codebook_size}
    what = passes.Pass("codec", name, "Listening", partial(_Encoding, source), codebook)
    passes.add(directory, what, announced, workers=workers, force=force, watcher=watcher)


@dataclass(frozen=True)
class _Encoding:
    source: CodecSource
    root: str

    def load(self) -> None:
        _loaded(self)

    def __call__(self, table: pa.Table) -> pa.Table:
        return token_batch(table, _loaded(self), self.root)


@lru_cache(maxsize=1)
def _loaded(job: _Encoding) -> Listener:
    from ..checkpoint.layout import Checkpoint
    from ..engine import load_engine

    source = job.source
    checkpoint = Checkpoint.open_codec(source.checkpoint)
    normalize = checkpoint.options.volume_normalize
    if source.features is None:
        codec = load_engine(checkpoint, source.engine, source.device).codec
        return Listener(codec, lambda _, samples: codec.semantic_tokens(samples), normalize)
    from ..engine.torch.codec import TorchCodec
    from ..engine.torch.devices import choose_device

    hearing = TorchCodec(checkpoint, choose_device(source.device))
    heard = source.features.open(Path(job.root), hearing.device)
    if heard.dim != checkpoint.bicodec.encoder.input_channels:
        raise OptionError(
            f"The features of '{source.features.path}' have {heard.dim} values, but the codec '{source.checkpoint}' "
            f"hears {checkpoint.bicodec.encoder.input_channels}: name the encoder that it was trained with."
        )
    return Listener(hearing, lambda clip, _: hearing.quantize(heard.of(clip)), normalize)


def _tokens(clip: Clip, samples: Samples, listener: Listener) -> tuple[list[int], list[int]]:
    if listener.volume_normalize:
        samples = normalize_volume(samples)
    voice = reference_window(trim_silence(samples, listener.codec.sample_rate), "whole")
    return listener.semantic(clip, samples).tolist(), listener.codec.speaker_tokens(voice).tolist()
