"""Errors as clients see them: a status, and one sentence in OpenAI's form."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ..errors import CheckpointError, GenerationError, SparkTTSError, TextError, VoiceError

BAD, UNAUTHORIZED, NOT_FOUND, SLOW, CONFLICT, LARGE, UNUSABLE, BUSY, BUG, LATE = (
    400,
    401,
    404,
    408,
    409,
    413,
    422,
    429,
    500,
    504,
)
_KINDS = {BUSY: "rate_limit_error", UNAUTHORIZED: "authentication_error", BUG: "server_error", LATE: "server_error"}


class ApiError(HTTPException):
    """What ends a request: the status, a sentence, and the field that it is about.

    An HTTPException, as the framework takes any other error while it reads a body for a malformed body.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers)
        self.status, self.message, self.param, self.code = status, message, param, code

    @property
    def body(self) -> dict[str, Any]:
        """As OpenAI's API words it."""
        kind = _KINDS.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, None if self.headers is None else dict(self.headers))


def api_error(error: BaseException) -> ApiError:
    """What an error of the pipeline is to a client. Messages of unexpected ones stay here."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, GenerationError):
        return ApiError(UNUSABLE, str(error), "input", "generation_failed")
    if isinstance(error, TextError):
        return ApiError(BAD, str(error), "input")
    if isinstance(error, VoiceError):
        return ApiError(BAD, str(error), "voice", "voice_not_found")
    if isinstance(error, CheckpointError):
        return ApiError(BUG, str(error))
    if isinstance(error, SparkTTSError):
        return ApiError(BAD, str(error))
    return ApiError(BUG, f"The server failed unexpectedly ({type(error).__name__}); its log tells more.")


def install(app: FastAPI) -> None:
    """Every error of a route becomes such an answer."""

    @app.exception_handler(ApiError)
    async def _api(_: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(SparkTTSError)
    async def _pipeline(_: Request, error: SparkTTSError) -> JSONResponse:
        return api_error(error).response()

    @app.exception_handler(Exception)  # it is logged as well
    async def _unexpected(_: Request, error: Exception) -> JSONResponse:
        return api_error(error).response()

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return invalid(error.errors()).response()

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        headers = None if error.headers is None else dict(error.headers)
        return ApiError(error.status_code, str(error.detail), headers=headers).response()


def invalid(problems: Any) -> ApiError:
    """One sentence about the first field that is wrong. problems: as pydantic lists them."""
    first = problems[0]
    field = ".".join(str(part) for part in first["loc"] if part != "body") or None
    what = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    more = f" ({len(problems) - 1} more fields are wrong)" if len(problems) > 1 else ""
    return ApiError(BAD, f"{field or 'The request'}: {what}{more}.", field)
