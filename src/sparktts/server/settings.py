"""What a server is told: who may use it, how much at once, and how large things may be."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from ..errors import OptionError

LOCAL_NAMES = ("localhost",)
MB = 1 << 20


@dataclass(frozen=True)
class ServerSettings:
    """Sizes in bytes, durations in seconds.

    keys: SHA-256 of each API key in hexadecimal; none: nobody is asked. concurrency: requests that speak at once;
    queue: that may wait besides; deadline: for a whole request; body_wait: for the next piece of a request's body.
    cors: origins whose pages may use the server. log_texts: whether texts may stand in the log.
    """

    keys: tuple[str, ...] = ()
    concurrency: int = 8
    queue: int = 32
    deadline: float = 600.0
    body_wait: float = 20.0
    max_body: int = 32 * MB
    max_text: int = 50_000
    max_clip: int = 24 * MB
    max_clip_seconds: float = 60.0
    decode_seconds: float = 20.0
    decode_memory: int = 1024 * MB
    cors: tuple[str, ...] = ()
    log_texts: bool = False

    def __post_init__(self) -> None:
        for name in ("concurrency", "max_body", "max_text", "max_clip", "decode_memory"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        if self.queue < 0:
            raise OptionError(f"queue must be 0 or more, not {self.queue}.")
        for name in ("deadline", "body_wait", "max_clip_seconds", "decode_seconds"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} must be above 0, not {getattr(self, name)}.")


def check_exposure(host: str, settings: ServerSettings, insecure: bool) -> None:
    """Raises OptionError for a server that strangers could use without a key."""
    if settings.keys or insecure or is_local(host):
        return
    raise OptionError(
        f"Listening on {host} lets others in: give --api-key or --api-key-file, or say --insecure if that is meant."
    )


def is_local(host: str) -> bool:
    """Whether only this machine can reach a server on that address."""
    if host.lower() in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
