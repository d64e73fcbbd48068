"""Sound that the page plays while it is made: each speech has an address that nobody can guess."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from ..audio.audio import SYNTHETIC_NOTICE

PATH = "/page/listen"
KEPT = 32  # speeches whose sound is still to be had


class Channel:
    """One speech as mp3: whoever listens gets all of it from the beginning, as it comes."""

    def __init__(self) -> None:
        self.id = secrets.token_urlsafe(16)
        self._parts: list[bytes] = []
        self._ended = False
        self._changed = threading.Condition()

    def write(self, data: bytes) -> None:
        """The next part."""
        if data:
            with self._changed:
                self._parts.append(data)
                self._changed.notify_all()

    def end(self) -> None:
        """No more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        heard = 0
        while True:
            with self._changed:
                while heard == len(self._parts) and not self._ended:
                    self._changed.wait()
                if heard == len(self._parts):
                    return
                part = self._parts[heard]
            heard += 1
            yield part

    @property
    def player(self) -> str:
        """HTML that plays it."""
        return f'<audio controls autoplay style="width: 100%" src="{PATH.removeprefix("/")}/{self.id}"></audio>'


class Listening:
    """The speeches of a page."""

    def __init__(self) -> None:
        self._channels: OrderedDict[str, Channel] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self) -> Channel:
        """A new one; the oldest is forgotten."""
        channel = Channel()
        with self._lock:
            self._channels[channel.id] = channel
            while len(self._channels) > KEPT:
                self._channels.popitem(last=False)[1].end()
        return channel

    def router(self) -> APIRouter:
        """The route that gives the sound."""
        routes = APIRouter(include_in_schema=False)

        @routes.get(PATH + "/{name}")
        def listen(name: str) -> Response:
            channel = self._channels.get(name)
            if channel is None:
                return Response(status_code=404)
            headers = {"X-Synthetic-Speech": SYNTHETIC_NOTICE, "Cache-Control": "no-store"}
            return StreamingResponse(iter(channel), media_type="audio/mpeg", headers=headers)

        return routes
