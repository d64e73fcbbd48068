"""The application: routes, the door before them, and what happens at start and stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from .. import __version__
from . import errors, health, live, speech, voices
from .security import Door
from .settings import ServerSettings
from .studio import Studio
from .uploads import ClipDecoder

if TYPE_CHECKING:
    from ..pipeline import SparkTTS

ABOUT = (
    "Speech from text in Chinese and English. `POST /v1/audio/speech` is compatible with OpenAI's. "
    "Everything that it says is synthetic speech. The WebSocket `/v1/audio/speech/stream` takes text in pieces."
)
GUARDED = ("/v1/", "/metrics")


def create_app(tts: SparkTTS, settings: ServerSettings | None = None) -> FastAPI:
    """The server of a model. tts: made with `concurrency=settings.concurrency`."""
    settings = settings or ServerSettings(concurrency=1)
    studio = Studio(tts, settings)
    decoder = ClipDecoder(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await studio.warm_up()
        yield
        studio.draining = True
        studio.close()

    app = FastAPI(title="sparktts", version=__version__, description=ABOUT, lifespan=lifespan)
    app.state.studio = studio
    errors.install(app)
    for part in (speech.router(studio, decoder), voices.router(studio, decoder), health.router(studio)):
        app.include_router(part)
    app.include_router(live.router(studio, decoder))
    door: Any = Door
    app.add_middleware(door, settings=settings, guarded=GUARDED)
    if settings.cors:
        app.add_middleware(CORSMiddleware, allow_origins=list(settings.cors), allow_methods=["*"], allow_headers=["*"])
    return app
