"""Listening: sockets, signals, the log."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from ..errors import OptionError
from .security import HEADER_WAIT, ImpatientProtocol
from .settings import MB, ServerSettings

_BACKLOG = 128
_LARGEST_MESSAGE = 1 * MB  # of a WebSocket


def run(app: FastAPI, host: str, port: int, settings: ServerSettings, tell: Callable[[str], None]) -> None:
    """Serves until it is told to stop; then finishes what it has begun. Raises OptionError for a port that is taken."""
    listener = _listen(host, port)
    address = f"[{host}]" if ":" in host else host
    model, chosen = app.state.studio.tts.checkpoint.name, listener.getsockname()[1]
    tell(f"Serving {model} at http://{address}:{chosen} (Ctrl-C stops).")
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("sparktts.server").setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").addFilter(_without_noise)
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="websockets-sansio",
        ws_max_size=_LARGEST_MESSAGE,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=round(HEADER_WAIT),
        timeout_graceful_shutdown=round(settings.deadline),
        h11_max_incomplete_event_size=64 << 10,
        server_header=False,
    )
    server = uvicorn.Server(config)
    previous = server.handle_exit

    def stopping(sig: int, frame: FrameType | None) -> None:
        app.state.studio.draining = True
        previous(sig, frame)

    server.handle_exit = stopping  # type: ignore[method-assign]
    server.run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise OptionError(
            f"The server cannot listen on {host}, port {port} ({reason}): choose another --port."
        ) from None
    return listener


def _without_noise(record: logging.LogRecord) -> bool:
    """Clients that leave early are nobody's fault."""
    return "ASGI callable returned without completing response" not in record.getMessage()
