"""16-bit wav files with metadata: small enough to write by hand, and the same bytes everywhere."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import BinaryIO

from ..errors import AudioError
from .id3 import id3_tag
from .samples import Samples, to_pcm16

_INFO = {
    "album": b"IPRD",
    "artist": b"IART",
    "comment": b"ICMT",
    "copyright": b"ICOP",
    "date": b"ICRD",
    "encoded_by": b"ITCH",
    "genre": b"IGNR",
    "language": b"ILNG",
    "title": b"INAM",
}
_LARGEST = 2**32 - 1
_UNKNOWN = 0x7FFF0000  # programs that write to a pipe leave a size from here on, or 0
_MOST_MISSING = 0.03


def wav_bytes(samples: Samples, sample_rate: int, metadata: Mapping[str, str]) -> bytes:
    """A whole file. samples: (N,) float32, clipped to [-1, 1]. Raises AudioError beyond the format's 4 GB."""
    sound = to_pcm16(samples).tobytes()
    layout = struct.pack("<HHIIHH", 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    body = b"WAVE" + _chunk(b"fmt ", layout) + _tags(metadata) + _chunk(b"data", sound)
    if len(body) > _LARGEST:
        raise AudioError("The sound is longer than a wav file can hold (4 GB); write flac or opus instead.")
    return b"RIFF" + struct.pack("<I", len(body)) + body


def wav_head(sample_rate: int, metadata: Mapping[str, str]) -> bytes:
    """What stands before the samples when nobody knows how many will come; its last four bytes are their size."""
    layout = struct.pack("<HHIIHH", 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    unknown = struct.pack("<I", _LARGEST)
    return b"RIFF" + unknown + b"WAVE" + _chunk(b"fmt ", layout) + _tags(metadata) + b"data" + unknown


def check_wav_length(file: BinaryIO, name: str) -> None:
    """Raises AudioError if a wav file ends clearly before its sound does. name: what to call it.

    Needed because FFmpeg takes the length from the end of the file.
    """
    end = file.seek(0, io.SEEK_END)
    position = 12
    while position + 8 <= end:
        file.seek(position)
        kind, size = struct.unpack("<4sI", file.read(8))
        position += 8
        if kind == b"data":
            if size < _UNKNOWN and end - position < (1.0 - _MOST_MISSING) * size:
                share = 100 * (end - position) / size
                raise AudioError(f"{name} is cut off: only {share:.0f} % of its sound is there; copy it again.")
            return
        position += size + size % 2


def _tags(metadata: Mapping[str, str]) -> bytes:
    """Known keys where players look, others in an ID3 chunk; before the sound, so that pipes see them."""
    info = b"".join(_chunk(_INFO[key], value.encode() + b"\x00") for key, value in metadata.items() if key in _INFO)
    other = {key: value for key, value in metadata.items() if key not in _INFO}
    tags = _chunk(b"LIST", b"INFO" + info) if info else b""
    return tags + _chunk(b"id3 ", id3_tag(other)) if other else tags


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) % 2)
