"""Writing sound: wav, flac, mp3, Opus in Ogg, AAC, raw PCM; equal input gives equal bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import AudioError, OptionError
from ..files import write_atomically
from .encoding import COMPRESSED, encode_whole
from .read import MAX_RATE
from .resample import resample
from .samples import check_signal, to_pcm16
from .wav import wav_bytes

FORMATS: tuple[str, ...] = ("wav", "flac", "mp3", "opus", "ogg", "aac", "pcm")


def encode_audio(
    samples: npt.NDArray[Any], sample_rate: int, format: str, metadata: Mapping[str, str] | None = None
) -> bytes:
    """A whole file in memory.

    samples: (N,) floats, clipped to [-1, 1], at sample_rate Hz; format: one of FORMATS ("ogg" and "opus" are
    the same file, "pcm" is signed 16-bit little-endian without header or tags); metadata: any keys, such as
    "title", "artist", "comment". mp3, aac and Opus take fixed rates only: another rate is resampled to the next
    higher one. Raises AudioError, OptionError.
    """
    check_format(format)
    signal = np.clip(check_signal(np.asarray(samples), "The sound to write"), -1.0, 1.0)
    if not 1 <= sample_rate <= MAX_RATE:
        raise OptionError(f"A sampling rate of {sample_rate} Hz cannot be written; use 8000 to 48000 Hz.")
    tags = clean_tags(metadata or {})
    if format == "pcm":
        return to_pcm16(signal).tobytes()
    if format == "wav":
        return wav_bytes(signal, sample_rate, tags)
    wanted = COMPRESSED[format]
    rate = wanted.fitting_rate(sample_rate)
    return encode_whole(np.clip(resample(signal, sample_rate, rate), -1.0, 1.0), rate, wanted, tags)


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


def clean_tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """Tags that every container can hold: one line each, no NUL, no "=" in keys, no empty values."""
    tags = {}
    for key, value in metadata.items():
        # "encoder" is a key that some containers keep for themselves.
        name = "encoded_by" if key == "encoder" else " ".join(str(key).replace("\x00", " ").split())
        text = " ".join(str(value).replace("\x00", " ").split())
        if name and text:
            tags[name.replace("=", "-")] = text.encode(errors="replace").decode()
    return tags
