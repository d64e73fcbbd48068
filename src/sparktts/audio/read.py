"""Reading sound from anything that PyAV can open: audio files, video files, bytes, streams, arrays."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from ..errors import AudioError
from .resample import resample
from .samples import Samples, check_signal, to_float
from .wav import check_wav_length

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

AudioSource: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO | tuple[npt.NDArray[Any], int]

MIN_RATE, MAX_RATE = 4000, 1_000_000
_MOST_DAMAGED = 0.1  # share of packets that may fail, as players allow
# A network address or another file inside a playlist must never be opened: no protocol is allowed at all.
_OPTIONS = {"protocol_whitelist": "none"}
# Only these state their length exactly; elsewhere it may be an estimate. (wav: see wav.py.)
_EXACT_LENGTH = {"flac", "mov,mp4,m4a,3gp,3g2,mj2"}


def read_audio(source: AudioSource, sample_rate: int = 16000, max_seconds: float | None = None) -> Samples:
    """First channel of a file at the given rate.

    source: path, bytes of a file, binary file object, or (samples, rate) with samples (N,); max_seconds stops
    reading early. Returns (N,) float32, full scale 1. Raises AudioError.
    """
    samples, rate = decode_audio(source, max_seconds)
    return resample(samples, rate, sample_rate)


def decode_audio(source: AudioSource, max_seconds: float | None = None) -> tuple[Samples, int]:
    """First channel of a file at its own rate.

    source, max_seconds, errors: as for `read_audio`. Returns ((N,) float32, rate in Hz).
    """
    if isinstance(source, tuple):
        return _from_array(source, max_seconds)
    name = source_name(source)
    with open_source(source) as file:
        return _decode(file, name, max_seconds)


def source_name(source: AudioSource) -> str:
    """What to call a source in a message: the file's name without its folder."""
    if isinstance(source, tuple):
        return "The array"
    if isinstance(source, bytes):
        return "The audio data"
    path = source if isinstance(source, (str, os.PathLike)) else getattr(source, "name", "")
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        return "The audio stream"
    return f"'{_printable(Path(path).name or str(path))}'"


@contextmanager
def open_source(source: str | os.PathLike[str] | bytes | BinaryIO) -> Iterator[BinaryIO]:
    """Seekable binary file of a source; closes it if it was opened here. Raises AudioError."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source)
    elif isinstance(source, (str, os.PathLike)):
        file = _open_path(source)
        with file:
            yield _seekable(file, source_name(source))
    elif isinstance(source, io.TextIOBase):
        raise AudioError(f"{source_name(source)} is open as text; open it in binary mode ('rb').")
    elif hasattr(source, "read"):
        yield _seekable(source, source_name(source))
    else:
        kind = type(source).__name__
        raise AudioError(f"An object of type {kind} is no audio source; give a path, bytes, a file or (samples, rate).")


def _open_path(path: str | os.PathLike[str]) -> BinaryIO:
    name = source_name(path)
    if not str(path):
        raise AudioError("The path of the audio file is empty; give the path of a recording.")
    if "://" in str(path):
        raise AudioError(f"'{_printable(str(path))}' is an address, not a file; download it first.")
    try:
        if Path(path).is_dir():
            raise AudioError(f"{name} is a folder; give the audio file in it.")
        return Path(path).open("rb")
    except FileNotFoundError as error:
        raise AudioError(f"There is no file {name} in {_folder(path)}; check the path.") from error
    except PermissionError as error:
        raise AudioError(f"{name} may not be read by this user; change the file's permissions.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise AudioError(f"{name} cannot be opened ({_reason(error)}); check the path.") from error


def _folder(path: str | os.PathLike[str]) -> str:
    folder = Path(path).parent
    return "this folder" if str(folder) == "." else f"'{_printable(str(folder))}'"


def _printable(text: str) -> str:
    """A name that cannot disturb a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _seekable(file: BinaryIO, name: str) -> BinaryIO:
    """The file itself, or a pipe's whole content: containers such as mp4 have their index at the end."""
    try:
        if file.seekable():
            return file
        data = file.read()
    except (OSError, ValueError) as error:
        raise AudioError(f"{name} cannot be read ({_reason(error)}); check the source.") from error
    return io.BytesIO(data)


def _from_array(source: tuple[npt.NDArray[Any], int], max_seconds: float | None) -> tuple[Samples, int]:
    try:
        array, rate = source
        samples, rate = check_signal(np.asarray(array), "The array"), int(rate)
    except (TypeError, ValueError) as error:
        raise AudioError("An array is given as (samples, sample_rate), samples of shape (N,).") from error
    _check_rate(rate, "The array")
    return (samples if max_seconds is None else samples[: _limit(max_seconds, rate)]), rate


def _check_rate(rate: int, name: str) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(
            f"{name} has a sampling rate of {rate} Hz, where no speech is left or the header is damaged; "
            "give a recording at 8000 Hz or more."
        )


def _limit(max_seconds: float, rate: int) -> int:
    if not max_seconds > 0:
        raise AudioError(f"max_seconds is {max_seconds}; give a number of seconds above 0.")
    return sys.maxsize if max_seconds * rate >= sys.maxsize else max(1, round(max_seconds * rate))


def _decode(file: BinaryIO, name: str, max_seconds: float | None) -> tuple[Samples, int]:
    import av

    if file.seek(0, io.SEEK_END) == 0:
        raise AudioError(f"{name} is empty; give a recording.")
    file.seek(0)
    try:
        with av.open(file, "r", options=_OPTIONS, metadata_errors="replace") as container:
            if not container.streams.audio:
                raise AudioError(f"{name} holds no sound; give an audio file or a video with sound.")
            stream = container.streams.audio[0]
            samples, rate = _first_channel(container, stream, name, max_seconds)
            if max_seconds is None or len(samples) < _limit(max_seconds, rate):
                _check_complete(file, container, stream, name, len(samples) / rate)
            return samples, rate
    except AudioError:
        raise
    except (av.FFmpegError, OSError, ValueError, LookupError, RuntimeError, NotImplementedError) as error:
        raise AudioError(
            f"{name} is not audio that can be read ({_reason(error)}); it may be damaged, cut off or another "
            "kind of file, so convert it to wav, flac or mp3 first."
        ) from error


def _first_channel(
    container: InputContainer, stream: AudioStream, name: str, max_seconds: float | None
) -> tuple[Samples, int]:
    blocks: list[Samples] = []
    rate = count = 0
    limit: int | None = None
    for frame in _frames(container, stream, name):
        if not rate:
            # The frame knows better than the header: with some codecs the header states half the rate.
            rate = frame.sample_rate
            _check_rate(rate, name)
            limit = None if max_seconds is None else _limit(max_seconds, rate)
        elif frame.sample_rate != rate:
            raise AudioError(f"{name} changes its sampling rate midway; convert it to one rate first.")
        blocks.append(_channel(frame))
        count += len(blocks[-1])
        if limit is not None and count >= limit:
            break
    if count == 0:
        raise AudioError(f"{name} holds no samples; give a recording that is not empty.")
    return check_signal(np.concatenate(blocks)[:limit], name), rate


def _frames(container: InputContainer, stream: AudioStream, name: str) -> Iterator[AudioFrame]:
    """Decoded frames; a few damaged packets are passed over, as players do. Raises AudioError if many are."""
    import av

    packets = failed = 0
    for packet in container.demux(stream):
        packets += 1
        try:
            yield from packet.decode()
        except av.EOFError:
            return
        except av.FFmpegError:
            failed += 1
    if failed > max(1.0, _MOST_DAMAGED * packets):
        raise AudioError(f"{name} is damaged in {failed} of {packets} places; copy or record it again.")


def _channel(frame: AudioFrame) -> Samples:
    """(N,) float32 of the first channel of a planar or packed frame."""
    array = frame.to_ndarray()
    return to_float(array[0] if frame.format.is_planar else array[0, :: frame.layout.nb_channels])


def _check_complete(file: BinaryIO, container: InputContainer, stream: AudioStream, name: str, seconds: float) -> None:
    """Raises AudioError if clearly less was decoded than the file states."""
    if container.format.name == "wav":
        check_wav_length(file, name)
    if container.format.name not in _EXACT_LENGTH or not stream.duration or stream.time_base is None:
        return
    stated = float(stream.duration * stream.time_base)
    if seconds < 0.97 * stated - 0.1:
        raise AudioError(
            f"{name} is cut off: it ends after {seconds:.1f} s where its header states {stated:.1f} s; copy it again."
        )


def _reason(error: BaseException) -> str:
    """Short reason in words, without the library's codes and the path."""
    text = cast(str, getattr(error, "strerror", None) or str(error) or type(error).__name__)
    return text.split("\n")[0].split(":")[0].strip().rstrip(".").lower()
