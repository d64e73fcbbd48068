"""Batches of segments: a pure function of seed, step and rank, read ahead by threads."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...audio.loudness import normalize_volume
from ...audio.pitch import F0_RANGE
from ...audio.reference import reference_window
from ...audio.samples import Samples
from ...data.attributes import pitch_detector
from ...data.audio_source import open_audio
from ...data.schema import Clip
from ...data.shards import read_shards, source_folder
from ...errors import OptionError
from ..features.cache import ClipFeatures, clip_file, keep
from ..run import Run
from .degrade import degraded, shortened
from .options import DataOptions

ORDER, PLACES = 11, 12  # purposes of random numbers


@dataclass(frozen=True)
class Batch:
    """Segments of B clips, S tokens each. What a training does not need is None."""

    audio: Tensor  # (B, hop * S)
    reference: Tensor | None  # (B, N), the target segment masked to zero, or another clip of the speaker
    features: Tensor | None  # (B, dim, S)
    semantic: Tensor | None  # (B, S)
    global_tokens: Tensor | None  # (B, token_num)
    log_f0: Tensor | None  # (B, S), natural logarithm of Hz, interpolated where unvoiced
    voiced: Tensor | None  # (B, S), 0 or 1
    first: Tensor  # (B,) int64, number of the first sample within its clip

    def to(self, device: torch.device) -> Batch:
        moved: dict[str, Any] = {k: None if v is None else v.to(device) for k, v in vars(self).items()}
        return Batch(**moved)


@dataclass(frozen=True)
class Needs:
    """What a batch must hold."""

    reference: bool = True
    features: bool = True
    tokens: bool = False
    pitch: bool = False


class Recordings:
    """Clips by index: volume-normalised samples, as many kept in memory as there is room for, and pitch.

    pitch_folder: where the pitch is kept for other processes and runs, None: nowhere.
    """

    def __init__(
        self, clips: Sequence[Clip], root: Path, hop: int, cache_mb: int, pitch_folder: Path | None = None
    ) -> None:
        self.clips, self.root, self.hop = list(clips), root, hop
        self._pitch_folder = pitch_folder
        self._room = cache_mb << 20
        self._audio: dict[int, npt.NDArray[np.int16]] = {}
        self._pitch: dict[int, tuple[Samples, Samples]] = {}
        self._lock = threading.Lock()

    def samples(self, index: int) -> Samples:
        """(N,) float32. Raises AudioError."""
        if (kept := self._audio.get(index)) is not None:
            return kept.astype(np.float32) / np.float32(32767)
        audio = normalize_volume(open_audio(self.root, self.clips[index].audio))
        # Rounded to 16 bits even if not kept: what a step sees must not depend on the cache.
        short = np.round(np.clip(audio, -1, 1) * 32767).astype(np.int16)
        with self._lock:
            if index not in self._audio and self._room >= short.nbytes:
                self._audio[index] = short
                self._room -= short.nbytes
        return short.astype(np.float32) / np.float32(32767)

    def pitch(self, index: int) -> tuple[Samples, Samples]:
        """Natural logarithm of F0 in Hz, and voicing, of every token's centre. Raises CheckpointError, AudioError."""
        if index not in self._pitch:
            self._pitch[index] = self._read_pitch(index)
        return self._pitch[index]

    def _read_pitch(self, index: int) -> tuple[Samples, Samples]:
        path = None if self._pitch_folder is None else clip_file(self._pitch_folder, self.clips[index])
        if path is not None and path.exists():
            log_f0, voiced = np.load(path)
            return log_f0, voiced
        track = pitch_track(self.samples(index), self.hop)
        if path is not None:
            keep(path, np.stack(track))
        return track

    def tokens(self, index: int) -> int:
        """Tokens of a clip, by its duration."""
        return int(self.clips[index].duration * 16000) // self.hop


def pitch_track(samples: Samples, hop: int) -> tuple[Samples, Samples]:
    """log F0 and voicing (0 or 1) at the centre of each hop; log F0 is interpolated where there is none.

    samples: (N,) at 16 kHz. Raises OptionError without the library.
    """
    found = pitch_detector().detect(samples, 16000, fmin=F0_RANGE[0], fmax=F0_RANGE[1])
    times, hertz = np.asarray(found.timestamps), np.asarray(found.pitch_hz)
    sure = (np.asarray(found.confidence) >= 0.5) & (hertz > 0)
    centres = (np.arange(len(samples) // hop) + 0.5) * hop / 16000
    voiced = np.interp(centres, times, sure.astype(np.float64)) >= 0.5
    logs = np.interp(centres, times[sure], np.log(hertz[sure])) if sure.any() else np.full(len(centres), np.log(120.0))
    return logs.astype(np.float32), voiced.astype(np.float32)


def load_clips(options: DataOptions) -> tuple[list[Clip], list[Clip], Path, Path]:
    """Clips to train on, clips to validate on, and where the audio of each is. Raises OptionError."""
    clips = list(read_shards(options.shards))
    root = options.root or source_folder(options.shards)
    if options.validation is not None:
        held_root = options.root or source_folder(options.validation)
        return clips, list(read_shards(options.validation))[: options.validation_clips or None], root, held_root
    count = min(options.validation_clips, len(clips) // 2)
    chosen = set(np.random.default_rng(0).permutation(len(clips))[:count].tolist())
    held = [clip for index, clip in enumerate(clips) if index in chosen]
    return [clip for index, clip in enumerate(clips) if index not in chosen], held, root, root


class Segments:
    """What the training reads."""

    def __init__(
        self,
        run: Run,
        recordings: Recordings,
        options: DataOptions,
        needs: Needs,
        heard: ClipFeatures | None = None,
    ) -> None:
        """Raises OptionError if the clips lack what is needed."""
        self.run, self.recordings, self.options, self.needs = run, recordings, options, needs
        self.heard = heard
        self.hop = recordings.hop
        self.size = max(1, round(options.segment_seconds * 16000 / self.hop))
        # One token more: feature models give one frame less than there are tokens.
        self.usable = [i for i in range(len(recordings.clips)) if recordings.tokens(i) > self.size]
        if not self.usable:
            raise OptionError(
                f"No clip of {options.shards} is longer than `data.segment_seconds: {options.segment_seconds:g}`: "
                "make it shorter."
            )
        if needs.tokens and any(recordings.clips[i].semantic is None for i in self.usable):
            raise OptionError(
                f"The clips of {options.shards} have no tokens, which `stage: decoder` trains on: "
                "run `sparktts prepare` with --codec first."
            )
        self._of_speaker: dict[str, list[int]] = defaultdict(list)
        for i in self.usable:
            self._of_speaker[recordings.clips[i].speaker].append(i)
        self._pool = ThreadPoolExecutor(options.loaders, thread_name_prefix="segments")
        self._ahead: dict[int, Future[Batch]] = {}
        self._permutation = lru_cache(maxsize=4)(self._make_permutation)

    @property
    def hours(self) -> float:
        """Of speech that is used."""
        return sum(self.recordings.clips[i].duration for i in self.usable) / 3600

    def batch(self, step: int) -> Batch:
        """The batch of a step; those of the next ones are being read when this returns. Raises AudioError."""
        for ahead in range(step, min(step + self.options.loaders, self.run.options.steps) + 1):
            if ahead not in self._ahead:
                self._ahead[ahead] = self._pool.submit(self.read, ahead)
        return self._ahead.pop(step).result()

    def read(self, step: int) -> Batch:
        """The same, read now."""
        generator = self.run.generator(step, PLACES)
        return _stack([self._segment(index, generator) for index in self._indices(step)])

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _indices(self, step: int) -> list[int]:
        """Every clip once, in an order of each epoch's own, dealt out over processes and steps."""
        each, ranks = self.options.batch, self.run.world_size
        first = ((step - 1) * ranks + self.run.rank) * each
        chosen = []
        for place in range(first, first + each):
            epoch, within = divmod(place, len(self.usable))
            chosen.append(self.usable[int(self._permutation(epoch)[within])])
        return chosen

    def _make_permutation(self, epoch: int) -> npt.NDArray[np.int64]:
        return self.run.generator(epoch, ORDER, shared=True).permutation(len(self.usable))

    def _segment(self, index: int, generator: np.random.Generator) -> dict[str, Any]:
        recordings, hop, size = self.recordings, self.hop, self.size
        clip, audio = recordings.clips[index], recordings.samples(index)
        wanted: dict[str, Any] = {}
        length = len(audio) // hop
        features = None
        if self.heard is not None:
            features = self.heard.of(clip)
            length = min(length, len(features))
        if self.needs.tokens:
            length = min(length, len(clip.semantic or ()))
        start = int(generator.integers(0, max(1, length - size + 1)))
        stop = start + size
        wanted["audio"] = _exactly(audio[start * hop : stop * hop], size * hop)
        wanted["first"] = np.int64(start * hop)
        if features is not None:
            wanted["features"] = _exactly(np.asarray(features[start:stop], np.float32), size).T
        if self.needs.reference:
            wanted["reference"] = self._reference(index, audio, start * hop, stop * hop, generator)
        if self.needs.tokens:
            wanted["semantic"] = np.array(clip.semantic[start:stop], np.int64)  # type: ignore[index]
            wanted["global_tokens"] = np.array(clip.global_tokens, np.int64)
        if self.needs.pitch:
            log_f0, voiced = recordings.pitch(index)
            wanted["log_f0"], wanted["voiced"] = _exactly(log_f0[start:stop], size), _exactly(voiced[start:stop], size)
        return wanted

    def _reference(self, index: int, audio: Samples, start: int, stop: int, generator: np.random.Generator) -> Samples:
        """A window of speech in which the target is not heard, so that content cannot leak through the voice."""
        mates = self._of_speaker[self.recordings.clips[index].speaker]
        if self.options.reference == "speaker" and len(mates) > 1:
            chosen = mates[int(generator.integers(len(mates) - 1))]
            heard = self.recordings.samples(chosen if chosen != index else mates[-1])
            if self.options.reference_augment:
                heard = shortened(heard, generator)
        else:
            heard = audio.copy()
            heard[start:stop] = 0.0
        wanted = round(self.options.reference_seconds * 16000)
        if len(heard) > wanted:
            place = int(generator.integers(0, len(heard) - wanted + 1))
            heard = heard[place : place + wanted]
        if self.options.reference_augment and generator.random() < self.options.reference_augment:
            heard = degraded(heard, generator)
        return reference_window(heard, "first-6s", self.options.reference_seconds)


def _exactly(values: npt.NDArray[Any], length: int) -> npt.NDArray[Any]:
    """Cut to a length, or padded with zeros at the end."""
    if len(values) >= length:
        return values[:length]
    return np.concatenate([values, np.zeros((length - len(values), *values.shape[1:]), values.dtype)])


def _stack(items: list[dict[str, Any]]) -> Batch:
    fields = Batch.__dataclass_fields__
    arrays = {name: np.stack([item[name] for item in items]) for name in fields if name in items[0]}
    return Batch(**{name: torch.from_numpy(arrays[name]) if name in arrays else None for name in fields})  # type: ignore[arg-type]
