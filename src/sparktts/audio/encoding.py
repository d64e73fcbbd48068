"""Compressed sound by FFmpeg: how each format is written, whole or part by part."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from ..errors import AudioError
from .id3 import id3_tag
from .samples import Samples, to_pcm16

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame


@dataclass(frozen=True)
class Format:
    """How PyAV writes one format; bit_rate in bits per second; rates in Hz, none: any; options: of the container."""

    container: str
    codec: str
    sample_format: str
    bit_rate: int | None = None
    rates: tuple[int, ...] = ()
    container_tags: bool = True
    options: tuple[tuple[str, str], ...] = ()

    def fitting_rate(self, rate: int) -> int:
        """The rate itself if the codec takes it, else the next higher one, else the highest."""
        return min((r for r in self.rates if r >= rate), default=max(self.rates)) if self.rates else rate


_OPUS = Format("ogg", "libopus", "flt", 48_000, (8000, 12000, 16000, 24000, 48000))
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_NO_ID3 = (("id3v2_version", "0"),)  # the project writes its own tag
COMPRESSED = {
    "flac": Format("flac", "flac", "s16"),
    "mp3": Format("mp3", "libmp3lame", "fltp", 64_000, _MP3_RATES, container_tags=False, options=_NO_ID3),
    "opus": _OPUS,
    "ogg": _OPUS,
    "aac": Format("adts", "aac", "fltp", 64_000, _MP3_RATES, container_tags=False),
}
# Without these a part would stay in the container until a second of sound has come.
_AT_ONCE = {"ogg": {"page_duration": "100000"}, "mp3": {"write_xing": "0"}}


class Sink(Protocol):
    """Where the bytes go. Containers correct their head at the end where it can be sought in."""

    def write(self, data: bytes, /) -> int: ...


class Encoding:
    """One compressed sound in the making. Raises AudioError when the encoder does."""

    def __init__(self, sink: Sink, format: Format, rate: int, tags: Mapping[str, str], at_once: bool = False) -> None:
        """rate: one that the format takes; tags: of its container; at_once: the bytes of a part come with it."""
        import av
        from av.audio.stream import AudioStream
        from av.codec.context import Flags

        self._format, self._rate, self._written = format, rate, 0
        options = {"fflags": "+bitexact", **dict(format.options)}  # no dates, no random serial numbers
        if at_once:
            options |= _AT_ONCE.get(format.container, {}) | {"flush_packets": "1"}
        with self._errors():
            self._container = av.open(cast(Any, sink), "w", format=format.container, options=options)
            self._stream = cast(AudioStream, self._container.add_stream(format.codec, rate=rate))
            context = self._stream.codec_context
            context.layout, context.format = "mono", format.sample_format
            context.flags |= int(Flags.bitexact)
            if format.bit_rate is not None:
                context.bit_rate = format.bit_rate
            if format.container_tags:
                self._container.metadata.update(tags)
            if at_once:
                self._container.start_encoding()

    def add(self, samples: Samples) -> None:
        """The next (N,) samples in [-1, 1]."""
        with self._errors():
            for frame in self._frames(samples):
                self._container.mux(self._stream.encode(frame))

    def end(self) -> None:
        """No more will come."""
        with self._errors():
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def _frames(self, samples: Samples) -> Iterator[AudioFrame]:
        """Frames of a second at most, in the format that the encoder takes."""
        import av

        layout = self._format.sample_format
        convert: Callable[[Samples], npt.NDArray[Any]] = to_pcm16 if layout == "s16" else np.ascontiguousarray
        for start in range(0, samples.size, self._rate):
            block = convert(samples[start : start + self._rate])
            frame = av.AudioFrame.from_ndarray(block[None], layout, "mono")
            frame.sample_rate, frame.pts = self._rate, self._written
            self._written += block.size
            yield frame

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import av

        try:
            yield
        except (av.FFmpegError, OSError, ValueError, LookupError, RuntimeError) as error:
            raise AudioError(
                f"{self._format.codec} could not encode the sound ({error}); write wav instead."
            ) from error


def encode_whole(samples: Samples, rate: int, format: Format, tags: Mapping[str, str]) -> bytes:
    """A whole file. samples: (N,) in [-1, 1], at a rate that the format takes. Raises AudioError."""
    body = io.BytesIO()
    encoding = Encoding(body, format, rate, tags)
    encoding.add(samples)
    encoding.end()
    return head_of(format, tags) + body.getvalue()


def head_of(format: Format, tags: Mapping[str, str]) -> bytes:
    """What stands before the container's own bytes: tags, where it has no place for them."""
    return b"" if format.container_tags else id3_tag(tags)
