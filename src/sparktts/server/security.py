"""At the door: keys, and limits of what a client may send and how slowly."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .errors import BAD, LARGE, SLOW, UNAUTHORIZED, ApiError
from .settings import MB, ServerSettings

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# For whoever watches over the server; nothing can be learned or done there.
OPEN_PATHS = ("/healthz", "/readyz")
HEADER_WAIT = 15.0  # seconds for a request's head


def hashed(key: str) -> str:
    """What is kept of an API key."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_key(given: str, settings: ServerSettings) -> bool:
    """Whether that is one of the keys. All are compared, so that the time tells nothing."""
    return sum(hmac.compare_digest(hashed(given), known) for known in settings.keys) > 0


class Door:
    """Middleware: answers what must not come in, and cuts bodies off that are too large or too slow."""

    def __init__(self, app: App, settings: ServerSettings, guarded: tuple[str, ...] = ("/",)) -> None:
        """guarded: beginnings of the paths that need a key."""
        self._app, self._settings, self._guarded = app, settings, guarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            if self._refused(scope):
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": "The API key is missing or wrong."})
                return
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        error = self._refused(scope) or self._too_large(scope)
        if error is None:
            await self._limited(scope, receive, send)
        else:
            await error.response()(scope, receive, send)

    def _refused(self, scope: Scope) -> ApiError | None:
        path = scope["path"]
        if not self._settings.keys or path in OPEN_PATHS or not path.startswith(self._guarded):
            return None
        given = _key(scope)
        if given is not None and is_key(given, self._settings):
            return None
        return ApiError(
            UNAUTHORIZED,
            "The API key is missing or wrong: send it as `Authorization: Bearer KEY`.",
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _too_large(self, scope: Scope) -> ApiError | None:
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit():
            return ApiError(BAD, "Content-Length is no number.")
        return _too_large(self._settings.max_body) if int(declared) > self._settings.max_body else None

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        settings, got, complete, begun = self._settings, 0, False, False

        async def limited_receive() -> Message:
            nonlocal got, complete
            if complete:
                return await receive()  # for the client's leaving, which may take long
            try:
                async with asyncio.timeout(settings.body_wait):
                    message = await receive()
            except TimeoutError:
                raise ApiError(SLOW, f"The request's body did not come within {settings.body_wait:g} s.") from None
            if message["type"] != "http.request":
                complete = True
                return message
            got += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if got > settings.max_body:
                raise _too_large(settings.max_body)
            return message

        async def noted_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, limited_receive, noted_send)
        except ApiError as error:
            if begun:
                raise
            await error.response()(scope, receive, send)


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 that hangs up on whoever does not get his request's head out in time."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch = asyncio.get_running_loop().call_later(HEADER_WAIT, self._hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        if self.cycle is None and self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()


def _key(scope: Scope) -> str | None:
    headers = dict(scope["headers"])
    scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer" and key:
        return str(key.strip())
    return None


def _too_large(most: int) -> ApiError:
    return ApiError(LARGE, f"The request is larger than the {most / MB:g} MB that this server takes.")
