"""Writing sound: wav, flac, mp3, Opus in Ogg, raw PCM; equal input gives equal bytes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from ..errors import AudioError, OptionError
from ..files import write_atomically
from .id3 import id3_tag
from .read import MAX_RATE
from .resample import resample
from .samples import Samples, check_signal, to_pcm16
from .wav import wav_bytes

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame


@dataclass(frozen=True)
class _Encoder:
    """How PyAV writes one format; bit_rate in bits per second; rates in Hz, none: any."""

    container: str
    codec: str
    sample_format: str
    bit_rate: int | None = None
    rates: tuple[int, ...] = ()
    container_tags: bool = True


_OPUS = _Encoder("ogg", "libopus", "flt", 48_000, (8000, 12000, 16000, 24000, 48000))
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_ENCODERS = {
    "flac": _Encoder("flac", "flac", "s16"),
    "mp3": _Encoder("mp3", "libmp3lame", "fltp", 64_000, _MP3_RATES, container_tags=False),
    "opus": _OPUS,
    "ogg": _OPUS,
}
FORMATS: tuple[str, ...] = ("wav", "flac", "mp3", "opus", "ogg", "pcm")


def encode_audio(
    samples: npt.NDArray[Any], sample_rate: int, format: str, metadata: Mapping[str, str] | None = None
) -> bytes:
    """A whole file in memory.

    samples: (N,) floats, clipped to [-1, 1], at sample_rate Hz; format: one of FORMATS ("ogg" and "opus" are
    the same file, "pcm" is signed 16-bit little-endian without header or tags); metadata: any keys, such as
    "title", "artist", "comment". mp3 and Opus take fixed rates only: another rate is resampled to the next
    higher one. Raises AudioError, OptionError.
    """
    check_format(format)
    signal = np.clip(check_signal(np.asarray(samples), "The sound to write"), -1.0, 1.0)
    if not 1 <= sample_rate <= MAX_RATE:
        raise OptionError(f"A sampling rate of {sample_rate} Hz cannot be written; use 8000 to 48000 Hz.")
    tags = _clean(metadata or {})
    if format == "pcm":
        return to_pcm16(signal).tobytes()
    if format == "wav":
        return wav_bytes(signal, sample_rate, tags)
    return _encode(signal, sample_rate, _ENCODERS[format], tags)


def write_audio(
    target: str | os.PathLike[str] | BinaryIO,
    samples: npt.NDArray[Any],
    sample_rate: int,
    format: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a file, whole or not at all.

    target: path, or binary file object (need not seek; then format is required); format: None takes it from
    the path's suffix; the rest as for `encode_audio`. Raises AudioError for a missing folder or a target that
    cannot be written, OptionError for an unknown format.
    """
    if isinstance(target, (str, os.PathLike)):
        path = Path(target)
        check_target(path, format)  # before the work of encoding
        data = encode_audio(samples, sample_rate, format or format_of(path), metadata)
        _replace(path, data)
    elif format is None:
        raise OptionError(f"A stream has no suffix; say which format to write: {_choices()}.")
    else:
        data = encode_audio(samples, sample_rate, format, metadata)
        try:
            target.write(data)
        except (OSError, ValueError, TypeError) as error:  # closed, or open as text
            raise AudioError(f"The sound cannot be written to the stream ({error}).") from error


def format_of(path: str | os.PathLike[str]) -> str:
    """Format that a path's suffix asks for. Raises OptionError."""
    suffix = Path(path).suffix.lower().removeprefix(".")
    if not suffix:
        raise OptionError(f"'{Path(path).name}' has no suffix to tell its format; add one of {_choices('.')}.")
    if suffix not in FORMATS:
        raise OptionError(f"'.{suffix}' is no audio format that can be written; use one of {_choices('.')}.")
    return suffix


def check_format(format: str) -> None:
    """Raises OptionError for a format that is not one of FORMATS."""
    if format not in FORMATS:
        raise OptionError(f"'{format}' is no audio format that can be written; use one of {_choices()}.")


def check_target(path: str | os.PathLike[str], format: str | None = None) -> None:
    """Raises AudioError or OptionError if `write_audio` could not write there; call it before long work."""
    path = Path(path)
    try:
        if path.is_dir():
            raise AudioError(f"'{path}' is a folder; give a file name in it.")
        if not path.parent.is_dir():
            raise AudioError(f"There is no folder '{path.parent}' to write '{path.name}' into; create it first.")
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error
    if format is None:
        format_of(path)
    else:
        check_format(format)


def _replace(path: Path, data: bytes) -> None:
    try:
        path = path.resolve()  # a link stays a link
        if path.exists() and not path.is_file():
            path.write_bytes(data)  # a device or pipe, which a rename would destroy
        else:
            write_atomically(path, data)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: Exception) -> AudioError:
    reason = (getattr(error, "strerror", None) or str(error)).lower()
    return AudioError(f"'{path}' cannot be written ({reason}); choose another file or folder.")


def _choices(prefix: str = "") -> str:
    return ", ".join(prefix + name for name in FORMATS)


def _clean(metadata: Mapping[str, str]) -> dict[str, str]:
    """Tags that every container can hold: one line each, no NUL, no "=" in keys, no empty values."""
    tags = {}
    for key, value in metadata.items():
        # "encoder" is a key that some containers keep for themselves.
        name = "encoded_by" if key == "encoder" else " ".join(str(key).replace("\x00", " ").split())
        text = " ".join(str(value).replace("\x00", " ").split())
        if name and text:
            tags[name.replace("=", "-")] = text.encode(errors="replace").decode()
    return tags


def _encode(samples: Samples, rate: int, encoder: _Encoder, tags: Mapping[str, str]) -> bytes:
    import av

    target_rate = _fitting_rate(rate, encoder.rates)
    signal = np.clip(resample(samples, rate, target_rate), -1.0, 1.0)
    try:
        return _mux(signal, target_rate, encoder, tags)
    except (av.FFmpegError, OSError, ValueError, LookupError, RuntimeError) as error:
        raise AudioError(f"{encoder.codec} could not encode the sound ({error}); write wav instead.") from error


def _fitting_rate(rate: int, rates: tuple[int, ...]) -> int:
    """The rate itself if the codec takes it, else the next higher one, else the highest."""
    return min((r for r in rates if r >= rate), default=max(rates)) if rates else rate


def _mux(samples: Samples, rate: int, encoder: _Encoder, tags: Mapping[str, str]) -> bytes:
    import av
    from av.audio.stream import AudioStream
    from av.codec.context import Flags

    output = io.BytesIO()
    options = {"fflags": "+bitexact"}  # no dates, no random serial numbers
    if not encoder.container_tags:
        output.write(id3_tag(tags))
        options["id3v2_version"] = "0"
    body = io.BytesIO()
    with av.open(body, "w", format=encoder.container, options=options) as container:
        stream = cast(AudioStream, container.add_stream(encoder.codec, rate=rate))
        context = stream.codec_context
        context.layout, context.format = "mono", encoder.sample_format
        context.flags |= int(Flags.bitexact)
        if encoder.bit_rate is not None:
            context.bit_rate = encoder.bit_rate
        if encoder.container_tags:
            container.metadata.update(tags)
        for frame in _frames(samples, rate, encoder.sample_format):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    output.write(body.getvalue())
    return output.getvalue()


def _frames(samples: Samples, rate: int, sample_format: str) -> Iterator[AudioFrame]:
    """Frames of a second each, in the format that the encoder takes."""
    import av

    convert: Callable[[Samples], npt.NDArray[Any]] = to_pcm16 if sample_format == "s16" else np.ascontiguousarray
    for start in range(0, samples.size, rate):
        block = convert(samples[start : start + rate])
        frame = av.AudioFrame.from_ndarray(block[None], sample_format, "mono")
        frame.sample_rate, frame.pts = rate, start
        yield frame
