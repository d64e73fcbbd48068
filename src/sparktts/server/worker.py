"""The process that decodes a clip: `python -m sparktts.server.worker SECONDS BYTES`, from stdin to stdout.

It may be killed at any time; nothing else is lost with it.
"""

from __future__ import annotations

import contextlib
import struct
import sys
from pathlib import Path

import numpy as np

from ..audio.read import decode_audio
from ..errors import AudioError

OK, REFUSED = b"+", b"-"


def main(seconds: float, memory: int) -> None:
    """Writes `+`, the rate and the samples, or `-` and a sentence. memory: bytes that it may take for that."""
    _limit_memory(memory)
    try:
        samples, rate = decode_audio(sys.stdin.buffer.read(), seconds + 0.1)
    except AudioError as error:
        sys.stdout.buffer.write(REFUSED + str(error).encode())
        return
    sys.stdout.buffer.write(OK + struct.pack("<I", rate) + np.ascontiguousarray(samples, np.float32).tobytes())


def _limit_memory(more: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has such limits
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
