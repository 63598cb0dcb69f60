"""Observing requests: one log line and one measurement for each, under its request id.

An audit line is written for what changes something and for what is refused. Knows requests and their
outcome; what was asked or answered is nobody's business here.
"""

import logging
import time

from asgi_correlation_id import correlation_id
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.metrics import Metrics
from app.problems import printable

requests_log = logging.getLogger("cartridges.requests")
audit_log = logging.getLogger("cartridges.audit")

_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = _HARMLESS | {"POST", "PUT", "PATCH", "DELETE"}
_ASKING = frozenset({"/v1/answers", "/v1/chat/completions"})
_REFUSED = frozenset({401, 403, 429})
_QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})


class Observing:
    """Wraps an ASGI app."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = _template(scope)
        # Anybody may invent methods, and each would be counted for ever.
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).observe(seconds)
        if scope["path"] in _QUIET and status not in _REFUSED:
            return
        access = scope.get("state", {}).get("access")
        line = {
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1e3, 1),
            "key": access.key_id if access is not None else None,
            "request_id": correlation_id.get(),
        }
        words = ("%s %s %s in %s ms, key %s", method, route, status, line["ms"], line["key"])
        requests_log.info(*words, extra=line)
        if status in _REFUSED or (method not in _HARMLESS and scope["path"] not in _ASKING):
            client = scope["client"][0] if scope.get("client") else None
            path = printable(scope["path"])
            words = ("%s %s: %s, key %s, from %s", method, path, status, line["key"], client)
            audit_log.info(*words, extra=line | {"path": path, "client": client})


def _template(scope: Scope) -> str:
    """The route's template, because paths with ids would be endless."""
    path = getattr(scope.get("route"), "path", "unknown")
    versioned = scope["path"].startswith("/v1/") and not path.startswith("/v1/")
    return f"/v1{path}" if versioned and path != "unknown" else path
