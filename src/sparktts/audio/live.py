"""Sound that is written or played while it is made, when nobody knows yet how long it will be."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from ..errors import AudioError, OptionError
from .encoding import COMPRESSED, Encoding, head_of
from .resample import Resampler
from .samples import Samples, to_pcm16
from .wav import wav_head
from .write import check_format, clean_tags


class LiveEncoder:
    """Bytes of a file, part by part. rate: of the sound that comes out, in Hz."""

    def __init__(
        self,
        sample_rate: int,
        format: str = "wav",
        metadata: Mapping[str, str] | None = None,
        target_rate: int | None = None,
    ) -> None:
        """sample_rate: of what comes in; target_rate: None: the same, or the next one that the format takes.

        Raises OptionError, AudioError.
        """
        check_format(format)
        tags, compressed = clean_tags(metadata or {}), COMPRESSED.get(format)
        wanted = target_rate or sample_rate
        self.rate = compressed.fitting_rate(wanted) if compressed else wanted
        self._resample = None if self.rate == sample_rate else Resampler(sample_rate, self.rate)
        self._pipe, self._encoding = _Pipe(), None
        if compressed is not None:
            self._pipe.write(head_of(compressed, tags))
            self._encoding = Encoding(self._pipe, compressed, self.rate, tags, at_once=True)
        elif format == "wav":
            self._pipe.write(wav_head(self.rate, tags))

    def add(self, samples: Samples) -> bytes:
        """What the next (N,) float32 samples add to the file; perhaps nothing yet."""
        self._put(self._resample.add(samples) if self._resample else samples)
        return self._pipe.take()

    def end(self) -> bytes:
        """The end of the file."""
        if self._resample:
            self._put(self._resample.end())
        if self._encoding:
            self._encoding.end()
        return self._pipe.take()

    def _put(self, samples: Samples) -> None:
        clipped = np.clip(samples, -1.0, 1.0)
        if self._encoding:
            self._encoding.add(clipped)
        else:
            self._pipe.write(to_pcm16(clipped).tobytes())


class _Pipe:
    """Bytes that were written and not yet taken."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes, /) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        taken, self._data = bytes(self._data), bytearray()
        return taken


class LiveWriter:
    """Writes a file part by part.

    A wav's length is unknown when it begins: its header says so in the way that players of pipes know. At the end it
    is corrected where the file can be sought in, also when the sound ends too early.
    """

    def __init__(
        self,
        file: BinaryIO,
        sample_rate: int,
        format: str = "wav",
        metadata: Mapping[str, str] | None = None,
        seeks: bool = True,
    ) -> None:
        """metadata: tags; seeks False: like a pipe, even if it is a file. Raises OptionError, AudioError."""
        self._file, self._format, self._size = file, format, 0
        self._encoder = LiveEncoder(sample_rate, format, metadata)
        self._begin = file.tell() if seeks and file.seekable() else None
        self._head = self._write(self._encoder.add(np.zeros(0, np.float32)))

    def write(self, samples: Samples) -> None:
        """The next (N,) float32 samples; who reads the file gets them at once, as far as the format can."""
        self._size += self._write(self._encoder.add(samples))

    def close(self) -> None:
        """The end of the sound; the file stays open. A wav beyond 4 GB keeps its unknown length."""
        self._size += self._write(self._encoder.end())
        whole = self._head + self._size
        if self._format != "wav" or self._begin is None or whole >= 0xFFFFFFFF:
            return
        end = self._file.tell()
        for offset, size in ((4, whole - 8), (self._head - 4, self._size)):
            self._file.seek(self._begin + offset)
            self._file.write(struct.pack("<I", size))
        self._file.seek(end)
        self._file.flush()

    def _write(self, data: bytes) -> int:
        self._file.write(data)
        self._file.flush()
        return len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


class LiveFile:
    """A file that grows while the sound is made; it appears with the first samples."""

    def __init__(self, path: Path, format: str) -> None:
        self._path, self._format = path, format
        self._file: BinaryIO | None = None
        self._writer: LiveWriter | None = None

    def write(self, samples: Samples, sample_rate: int, metadata: Mapping[str, str]) -> None:
        """The next samples. Raises AudioError when the file cannot be written."""
        try:
            if self._writer is None:
                self._file = self._path.open("wb")
                self._writer = LiveWriter(self._file, sample_rate, self._format, metadata)
            self._writer.write(samples)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise AudioError(f"'{self._path}' cannot be written ({reason}); choose another file or folder.") from error

    def close(self) -> None:
        """The end of the sound."""
        if self._file is not None and self._writer is not None:
            with self._file:
                self._writer.close()


class Player:
    """The system's sound output. Raises OptionError where there is none; `close` waits for the sound to end."""

    def __init__(self) -> None:
        self._module = _sounddevice()
        self._stream: Any = None

    def write(self, samples: Samples, sample_rate: int) -> None:
        """Plays (N,) float32 samples after those before; waits until there is room for them. Raises OptionError."""
        try:
            if self._stream is None:
                self._stream = self._module.OutputStream(samplerate=sample_rate, channels=1, dtype="float32")
                self._stream.start()
            self._stream.write(samples.reshape(-1, 1))
        except self._module.PortAudioError as error:
            raise _unplayable(error) from error

    def close(self, at_once: bool = False) -> None:
        """at_once: what was not played yet is dropped."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            if at_once:
                stream.abort()
            else:
                stream.stop()
            stream.close()


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise OptionError(
            'Playing needs the package sounddevice: install it with `pip install "sparktts[play]"`, '
            "or write to a file with -o."
        ) from error
    except OSError as error:
        raise OptionError(
            "Playing needs the PortAudio library, which is not installed (on Debian: apt install libportaudio2): "
            "install it, or write to a file with -o."
        ) from error
    try:
        sounddevice.query_devices(kind="output")
    except (ValueError, sounddevice.PortAudioError) as error:
        raise _unplayable(error) from error
    return sounddevice


def _unplayable(error: Exception) -> OptionError:
    return OptionError(f"There is no sound device to play on ({error}): write to a file with -o.")
