"""Errors over HTTP: one table from error class to status, and bodies of OpenAI's shape.

``{"error": {"message", "type", "param", "code"}}``, plus ``suggestions``, ``candidates``, ``report`` and ``closest``
where the error carries them. openai's client then raises its own exceptions: 400 ``BadRequestError``, 404
``NotFoundError``, 409 ``ConflictError``, 5xx ``InternalServerError``.
"""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from featurehub.errors import (
    AmbiguousFeature,
    EmbedderMismatch,
    EmbedderUnavailable,
    EngineUnavailable,
    FeaturehubError,
    FeatureRetired,
    Forbidden,
    IncompatibleArtifact,
    InvalidInput,
    NotFound,
    OverheadExceeded,
    StaleFeature,
    SteeringUnsupported,
    StoreBusy,
    StoreUnavailable,
)

__all__ = ["DESCRIBED", "error_body", "error_response", "install", "install_own", "status_of"]

# The first class in an error's method resolution order that is listed here decides.
TABLE: dict[type[FeaturehubError], tuple[int, str]] = {
    InvalidInput: (400, "invalid_request_error"),
    IncompatibleArtifact: (400, "invalid_request_error"),
    Forbidden: (403, "permission_error"),
    NotFound: (404, "not_found_error"),
    FeatureRetired: (410, "gone_error"),
    AmbiguousFeature: (409, "conflict_error"),
    StaleFeature: (409, "conflict_error"),
    EmbedderMismatch: (409, "conflict_error"),
    SteeringUnsupported: (501, "not_implemented_error"),
    EngineUnavailable: (503, "service_unavailable_error"),
    EmbedderUnavailable: (503, "service_unavailable_error"),
    OverheadExceeded: (503, "service_unavailable_error"),
    StoreBusy: (503, "service_unavailable_error"),
    StoreUnavailable: (503, "service_unavailable_error"),
    FeaturehubError: (500, "server_error"),
}


class ErrorDetails(BaseModel):
    """What went wrong.

    Attributes:
        message: For people: it names the thing, the bound and the next step.
        type: OpenAI's type of error.
        param: The key of the request that is to blame; null where there is none.
        code: The kind of error; from vLLM's own routes, the status.
        suggestions: Names that are close to one that nothing has, or nothing any more.
        candidates: Ids of the features that share a name.
        report: Id of the drift report by which a feature is stale.
        closest: Label of a fresh feature like it.
    """

    message: str
    type: str
    param: str | None
    code: str | int
    suggestions: list[str] | None = None
    candidates: list[str] | None = None
    report: str | None = None
    closest: str | None = None


class ErrorAnswer(BaseModel):
    """The body of every answer with a status of 400 and above."""

    error: ErrorDetails


DESCRIBED: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "The request cannot be answered; the message says what to change."},
    "5XX": {"model": ErrorAnswer, "description": "The server cannot answer; `Retry-After` says whether to try again."},
}
"""What the OpenAPI document says of errors."""
CARRIED = ("suggestions", "candidates", "report", "closest")
RETRY_AFTER = "5"


def status_of(error: FeaturehubError) -> tuple[int, str]:
    """The HTTP status of an error, and OpenAI's error type."""
    return next(TABLE[ancestor] for ancestor in type(error).__mro__ if ancestor in TABLE)


def error_body(error: FeaturehubError) -> dict[str, object]:
    """The error as JSON types, in OpenAI's shape with the further fields that the error carries."""
    _, kind = status_of(error)
    body: dict[str, object] = {"message": error.message, "type": kind, "param": error.param, "code": error.code}
    carried = {name: getattr(error, name) for name in CARRIED if getattr(error, name, None) is not None}
    return {"error": body | carried}


def error_response(error: FeaturehubError) -> JSONResponse:
    """The HTTP response that reports an error, with headers that say whether to try again."""
    status, _ = status_of(error)
    return JSONResponse(error_body(error), status, headers=retry_headers(status))


def retry_headers(status: int) -> dict[str, str]:
    """Tells clients whether to retry. openai's client repeats 409 and 5xx; only a 503 is worth repeating."""
    return {"retry-after": RETRY_AFTER} if status == 503 else {"x-should-retry": "false"}


def plain(status: int, message: str, code: str, param: str | None = None) -> JSONResponse:
    """The response to an error of the framework, which has no class of ours."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return JSONResponse({"error": {"message": message, "type": kind, "param": param, "code": code}}, status)


async def on_featurehub_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FeaturehubError)
    return error_response(error)


async def on_invalid_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    return plain(400, f"{param or 'the request'}: {first['msg']}", "invalid_request", param)


async def on_http_exception(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    response = plain(error.status_code, str(error.detail), "http_error")
    response.headers.update(error.headers or {})  # such as which methods are allowed
    return response


async def on_bug(_: Request, error: Exception) -> JSONResponse:
    """Answers an unexpected error without its message, which only the server's log has."""
    return plain(500, "the server failed; its log says why", type(error).__name__)


def install(app: FastAPI) -> None:
    """Makes the app answer featurehub's errors. vLLM's server has handlers for all others."""
    app.add_exception_handler(FeaturehubError, on_featurehub_error)


def install_own(app: FastAPI) -> None:
    """Makes an app without vLLM answer every error in OpenAI's shape."""
    install(app)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(Exception, on_bug)
