"""ID3 tags, which carry any key in mp3 and wav files."""

from __future__ import annotations

from collections.abc import Mapping

_FRAMES = {
    "album": "TALB",
    "artist": "TPE1",
    "copyright": "TCOP",
    "date": "TDRC",
    "encoded_by": "TENC",
    "genre": "TCON",
    "language": "TLAN",
    "title": "TIT2",
}
_UTF8 = b"\x03"


def id3_tag(metadata: Mapping[str, str]) -> bytes:
    """One ID3v2.4 tag: known keys in their own frames, "comment" as a comment, others as named texts."""
    frames = b"".join(_frame(key, value.encode()) for key, value in metadata.items())
    return b"ID3\x04\x00\x00" + _syncsafe(len(frames)) + frames


def _frame(key: str, value: bytes) -> bytes:
    if key == "comment":
        name, body = "COMM", _UTF8 + b"und" + b"\x00" + value  # language undetermined, no description
    elif key in _FRAMES:
        name, body = _FRAMES[key], _UTF8 + value
    else:
        name, body = "TXXX", _UTF8 + key.encode() + b"\x00" + value
    return name.encode() + _syncsafe(len(body)) + b"\x00\x00" + body


def _syncsafe(size: int) -> bytes:
    """Four bytes of seven bits, so that no size looks like the start of an mp3 frame."""
    return bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
