"""Text from the command line, a file or standard input."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import TextError

STDIN, STDIN_NAME = "-", "Standard input"
PIECE = 1 << 16  # bytes
MAX_BYTES = 8 << 20  # far more than a book; a device file such as /dev/zero never ends


def given_text(text: str | None, file: Path | None) -> str:
    """The text to be spoken, from exactly one of its two places. Raises TextError."""
    if text is not None and file is not None:
        raise TextError("There is a text and a --file: give one of them.")
    if file is not None:
        return decoded(read_bytes(str(file)), str(file))
    if text is None:
        raise TextError('There is nothing to say: give a text in quotes, "-" for standard input, or --file FILE.')
    if text == STDIN:
        return decoded(read_bytes(STDIN), STDIN_NAME)
    return checked(text, "The text")


def lines_of(file: Path) -> list[str]:
    """Lines of a text file, without outer spaces and empty ones. Raises TextError."""
    lines = decoded(read_bytes(str(file)), str(file)).splitlines()
    return [stripped for line in lines if (stripped := line.strip())]


def arriving_text() -> Iterator[str]:
    """Standard input, piece by piece as it comes. Raises TextError for what is not UTF-8."""
    decoder, done = codecs.getincrementaldecoder("utf-8-sig")(), 0
    while True:
        data = _stdin_piece()
        try:
            piece = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise TextError(
                f"{STDIN_NAME} is not UTF-8 text (after byte {done + error.start}): save it as UTF-8."
            ) from None
        done += len(data)
        if piece:
            yield piece
        if not data:
            return


def _stdin_piece() -> bytes:
    """What has come; empty at the end. Not through Python's buffer, whose lock would keep the program from ending."""
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError):
        return bytes(sys.stdin.buffer.read1(PIECE))  # type: ignore[union-attr]
    return os.read(descriptor, PIECE)


def read_bytes(source: str) -> bytes:
    """Content of a file, or of standard input for "-". Raises TextError."""
    try:
        if source == STDIN:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero character in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise TextError(f"{source} cannot be read: {reason}.") from None
    if len(data) > MAX_BYTES:
        raise TextError(f"{STDIN_NAME if source == STDIN else source} is larger than {MAX_BYTES >> 20} MB: split it.")
    return data


def decoded(data: bytes, source: str) -> str:
    """UTF-8 text, with or without a byte order mark. Raises TextError."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(f"{source} is not UTF-8 text (byte {error.start + 1}): save it as UTF-8.") from None


def checked(text: str, source: str) -> str:
    """The text itself. Raises TextError where the shell passed bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TextError(f"{source} is not UTF-8 text: check the terminal's encoding, or use --file.") from None
    return text
