"""Problems: every error as `application/problem+json` (RFC 9457), and which error is which.

The one place that knows both the rooms' errors and HTTP statuses. No message names a file, a
traceback or a secret.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import redis
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.schemas import PATTERNS
from cartridge_store.errors import CartridgeNotFound, InvalidId, RegistryUnavailable, StoreError
from cartridge_store.errors import StorageFull as BlobsFull
from inference.engine import EngineClosed, RequestRefused
from inference.requests import EngineUnavailable, GenerationFailed, ServerStumbled
from retrieval.errors import (
    DocumentCorrupt,
    DocumentNotFound,
    DocumentRefused,
    EncoderUnavailable,
    QuestionRefused,
    StorageFull,
)

logger = logging.getLogger(__name__)

OPENAI_ROUTES = ("/v1/chat/", "/v1/models")
MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
GONE = 499
_MOST_ERRORS = 20  # that one answer names
"""Nobody reads it: who asked has gone."""

_REFUSED_DOCUMENT = {"too_large": 413, "unsupported_type": 415}

_NO_OBJECT = frozenset({"model_type", "model_attributes_type", "dict_type"})


class Problem(Exception):
    """An error with its HTTP status; `more` is added to the body, `headers` to the response."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def body(self) -> dict[str, Any]:
        """The JSON of the problem."""
        return {
            "type": f"urn:cartridges:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.more,
        }

    def response(self, *, openai: bool = False) -> JSONResponse:
        """As RFC 9457 has it, or in OpenAI's shape."""
        if openai:
            return JSONResponse(openai_body(self), self.status, self.headers)
        return JSONResponse(self.body(), self.status, self.headers, media_type=MEDIA_TYPE)


def openai_body(problem: Problem) -> dict[str, Any]:
    """The problem as OpenAI's clients expect one."""
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(
        problem.status, "invalid_request_error" if problem.status < 500 else "server_error"
    )
    errors = problem.more.get("errors") or [{}]
    param = errors[0].get("field", "").removeprefix("body.") or None
    return {
        "error": {"message": problem.detail, "type": kind, "param": param, "code": problem.code}
    }


def not_found(what: str) -> Problem:
    """A 404 that names what is missing."""
    return Problem(404, "not-found", f"There is no {what}.")


def unavailable(detail: str) -> Problem:
    """A 503 that says when to come back."""
    return Problem(503, "unavailable", detail, headers={"Retry-After": str(RETRY_SECONDS)})


def problem_of(error: Exception) -> Problem:
    """The problem that an error of any room is to a client."""
    match error:
        case Problem():
            return error
        case DocumentRefused(code=code, reason=reason):
            return Problem(_REFUSED_DOCUMENT.get(code, 422), code.replace("_", "-"), reason)
        case DocumentNotFound() | CartridgeNotFound():
            return Problem(404, "not-found", str(error))
        case DocumentCorrupt():
            return Problem(500, "document-damaged", str(error))
        case QuestionRefused():
            return Problem(422, "question-refused", str(error))
        case RequestRefused():
            return Problem(422, "prompt-too-long", str(error))
        case InvalidId():
            return Problem(422, "bad-id", str(error))
        case StorageFull() | BlobsFull():
            return Problem(507, "storage-full", "The disk is full; free some space and try again.")
        case RegistryUnavailable() | redis.RedisError():
            return unavailable("Redis does not answer; try again in a moment.")
        case StoreError():
            # Without its words, which may name hosts.
            return unavailable("The store of cartridges does not answer; try again in a moment.")
        case EngineUnavailable():
            # So may these name the server, and in its address a key.
            return unavailable("The server that answers cannot be reached; try again in a moment.")
        case ServerStumbled():  # without what that server said of itself
            return unavailable("The server that answers failed at this; try again in a moment.")
        case GenerationFailed():
            return Problem(500, "generation-failed", str(error))
        case EncoderUnavailable() | EngineClosed():
            return unavailable(str(error))
        case RequestValidationError() | ValidationError():
            return _invalid(error)
        case HTTPException():
            return _from_http(error)
        case _:
            return Problem(
                500, "internal", "Something went wrong here; the server's log says what."
            )


def install_problems(app: FastAPI, allowed: Callable[[str], Sequence[str]]) -> None:
    """Answer every error of the app with its problem; `allowed` are the methods that a path takes."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        problem = problem_of(error)
        # None are known of pages that no document describes: what the router said stays.
        if problem.status == 405 and (methods := allowed(request.url.path)):
            problem.headers = {"Allow": ", ".join(methods)}
        if problem.status >= 500:
            logger.error("%s %s: %s", request.method, printable(request.url.path), error)
        return problem.response(openai=request.url.path.startswith(OPENAI_ROUTES))

    for kind in (
        Problem,
        DocumentRefused,
        DocumentNotFound,
        DocumentCorrupt,
        CartridgeNotFound,
        QuestionRefused,
        RequestRefused,
        InvalidId,
        StorageFull,
        BlobsFull,
        RegistryUnavailable,
        StoreError,
        redis.RedisError,
        EncoderUnavailable,
        EngineClosed,
        RequestValidationError,
        ValidationError,
        HTTPException,
    ):
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(ClientDisconnect, _gone)


async def _gone(_request: Request, _error: Exception) -> Response:
    """Who sends something may leave before it is sent: nobody reads this, and nothing went wrong here."""
    return Response(status_code=GONE)


class LastResort:
    """Wraps an ASGI app: what nobody has caught is a problem, inside everything that adds headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def noted(message: Message) -> None:
            nonlocal began
            began = began or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            if scope["type"] != "http" or began:
                raise
            problem = problem_of(error)
            if problem.status >= 500:
                logger.exception("%s %s", scope["method"], printable(scope["path"]))
            openai = scope["path"].startswith(OPENAI_ROUTES)
            await problem.response(openai=openai)(scope, receive, send)


def _invalid(error: RequestValidationError | ValidationError) -> Problem:
    # Without "input" and "ctx": what was sent may be large or secret.
    found_all = error.errors()
    if any(found["type"] == "json_invalid" or _is_no_object(found) for found in found_all):
        return no_json()
    # What is validated by hand is a body.
    whole = () if isinstance(error, RequestValidationError) else ("body",)
    errors = [
        {"field": _field((*whole, *found["loc"])), "message": _said(found)}
        for found in found_all[:_MOST_ERRORS]
    ]
    first = errors[0] if errors else {"field": "body", "message": "not valid"}
    detail = f"The request is not valid: {first['field']}: {first['message']}."
    return Problem(422, "invalid-request", detail, more={"errors": errors})


def printable(path: str) -> str:
    """A request's path as one line of a log: what was decoded could hold a line's end, or move a cursor."""
    return path[:300].encode("unicode_escape").decode("ascii")


def no_json() -> Problem:
    """The body is no JSON at all, or none of an object."""
    return Problem(
        422, "invalid-request", "The body is not JSON; send a JSON object as application/json."
    )


def _is_no_object(found: Mapping[str, Any]) -> bool:
    return found["loc"] in ((), ("body",)) and found["type"] in _NO_OBJECT


def _field(place: Sequence[str | int]) -> str:
    """Where it is; without what says which of several forms was tried."""
    first, *rest = place or ("body",)
    kept = [str(part) for part in rest if first == "header" or re.fullmatch(r"\w+", str(part))]
    return ".".join([str(first), *kept])


def _said(found: Mapping[str, Any]) -> str:
    words: str = found["msg"]
    if found["type"] == "string_pattern_mismatch":
        return PATTERNS.get(found["ctx"]["pattern"], words)
    return words


def _from_http(error: HTTPException) -> Problem:
    if error.status_code == 400 and error.detail == "There was an error parsing the body":
        return no_json()  # no UTF-8, or nested without end
    details = {
        404: "There is nothing at this address.",
        405: "This address does not take that method.",
    }
    codes = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}
    status = error.status_code
    detail = details.get(status) or error.detail or HTTPStatus(status).phrase
    return Problem(status, codes.get(status, "refused"), detail, headers=dict(error.headers or {}))
