"""Clips from strangers: decoded in a process of their own, with a limit of memory and time."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys

import numpy as np

from ..audio.samples import Samples
from .errors import BAD, LARGE, ApiError
from .settings import MB, ServerSettings
from .worker import OK, REFUSED

_AT_ONCE = 2


class ClipDecoder:
    """Decodes clips, a few at a time."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def decode(self, data: bytes) -> tuple[Samples, int]:
        """(N,) float32 samples and their rate in Hz. Raises ApiError."""
        settings = self._settings
        if len(data) > settings.max_clip:
            raise ApiError(LARGE, f"The clip is larger than {settings.max_clip / MB:g} MB.", "reference_audio")
        if not data:
            raise ApiError(BAD, "The clip is empty.", "reference_audio")
        async with self._room:
            return await self._decoded(data)

    async def _decoded(self, data: bytes) -> tuple[Samples, int]:
        settings = self._settings
        arguments = (str(settings.max_clip_seconds), str(settings.decode_memory))
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sparktts.server.worker",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(settings.decode_seconds):
                answer, _ = await worker.communicate(data)
        except TimeoutError:
            raise ApiError(
                BAD, "The clip takes too long to decode: send a plain recording.", "reference_audio"
            ) from None
        finally:
            if worker.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    worker.kill()
                await worker.wait()
        if answer[:1] == OK and worker.returncode == 0:
            return np.frombuffer(answer, np.float32, offset=5), struct.unpack("<I", answer[1:5])[0]
        if answer[:1] == REFUSED and worker.returncode == 0:
            raise ApiError(BAD, answer[1:].decode("utf-8", "replace"), "reference_audio")
        raise ApiError(
            BAD, "The clip could not be decoded: it needs too much memory, or it is damaged.", "reference_audio"
        )
