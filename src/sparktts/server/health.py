"""What watches over a server, and which model it serves."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from .errors import NOT_FOUND, ApiError
from .speech import ALIASES
from .studio import Studio


def router(studio: Studio) -> APIRouter:
    routes = APIRouter(tags=["server"])

    @routes.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The model that is loaded, and the names under which clients of OpenAI's ask for it."""
        return {"object": "list", "data": [_model(studio, name) for name in _names(studio)]}

    @routes.get("/v1/models/{name}", responses={404: {"description": "There is no such model."}})
    async def model(name: str) -> dict[str, Any]:
        """One of them."""
        if name not in _names(studio):
            raise ApiError(NOT_FOUND, f"There is no model {name!r:.80} here.", "model", "model_not_found")
        return _model(studio, name)

    @routes.get("/healthz")
    async def alive() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @routes.get("/readyz", responses={503: {"description": "It is starting, or it is being stopped."}})
    async def ready(response: Response) -> dict[str, str]:
        """Whether requests should be sent here."""
        if studio.ready and not studio.draining:
            return {"status": "ready"}
        response.status_code = 503
        return {"status": "stopping" if studio.draining else "starting"}

    @routes.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(studio.scrape(), media_type=CONTENT_TYPE_LATEST)

    return routes


def _names(studio: Studio) -> tuple[str, ...]:
    return (studio.tts.checkpoint.name, *ALIASES)


def _model(studio: Studio, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "sparktts", "root": studio.tts.checkpoint.name}
