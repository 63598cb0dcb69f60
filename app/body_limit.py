"""The body limit: a request larger than it may be is refused while it arrives, not after.

Knows ASGI and how a document may be written in a body; knows nothing of what else it holds.
"""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Room for the framing of a form or of JSON around the largest document.
_FRAMING_BYTES = 64 * 1024
# JSON may write a byte of text as \u0000.
_ESCAPED = 6
_ASKING = ("/v1/answers", "/v1/chat/completions")
_QUESTION_BYTES = 1 << 20


class BodyLimit:
    """Wraps an ASGI app; a body in which no document of `document_bytes` could be raises HTTP 413 where
    it is read. A question is less than that."""

    def __init__(self, app: ASGIApp, document_bytes: int) -> None:
        self._app = app
        self._document_bytes = document_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0
        declared = _declared_length(scope)
        most = self._document_bytes + _FRAMING_BYTES
        if scope["path"].startswith(_ASKING):
            most = min(most, _QUESTION_BYTES)
        elif scope["path"] == "/v1/documents" and _is_json(scope):
            most = _ESCAPED * self._document_bytes + _FRAMING_BYTES

        async def limited() -> Message:
            nonlocal received
            if declared > most:
                raise _too_large(most)
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > most:
                    raise _too_large(most)
            return message

        await self._app(scope, limited, send)


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"The request is larger than {most} bytes; split it.")


def _declared_length(scope: Scope) -> int:
    value = _header(scope, b"content-length")
    return int(value) if value.isdigit() else 0


def _is_json(scope: Scope) -> bool:
    return _header(scope, b"content-type").partition(b";")[0].strip().lower() == b"application/json"


def _header(scope: Scope, name: bytes) -> bytes:
    return next((bytes(value) for key, value in scope["headers"] if key == name), b"")
