"""The guard at the door: security headers on every answer, and who may come without a key.

Where no key is needed, a page of another site must not make a browser on this machine ask or change
anything: requests that a browser sends from elsewhere, or to a name that is not this machine's, are
refused. Knows headers; knows no route.
"""

import ipaddress
from collections.abc import Callable, Collection, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import OPENAI_ROUTES, Problem

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """Wraps an ASGI app. `needs_key` says whether requests carry keys, which no other site has.

    Pages of the `origins` may ask all the same.
    """

    def __init__(
        self, app: ASGIApp, needs_key: Callable[[], bool], origins: Collection[str] = ()
    ) -> None:
        self._app = app
        self._needs_key = needs_key
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        problem = None
        if not self._needs_key():
            problem = _foreign(scope["method"], Headers(scope=scope), self._origins)
        if problem is not None:
            openai = scope["path"].startswith(OPENAI_ROUTES)
            await problem.response(openai=openai)(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)


def _foreign(method: str, headers: Mapping[str, str], origins: Collection[str]) -> Problem | None:
    """Why a request without a key is refused, or None."""
    host = headers.get("host", "")
    if not _is_this_machine(host):
        return Problem(
            403,
            "foreign-host",
            "Without API keys only requests to this machine's own address are answered; use "
            "127.0.0.1 or localhost, or make a key with 'cartridges keys create'.",
        )
    origin = headers.get("origin")
    if origin in origins:
        return None
    elsewhere = origin is not None and _place(origin) != host
    if method not in _HARMLESS and (elsewhere or headers.get("sec-fetch-site") == "cross-site"):
        return Problem(403, "cross-site", "Requests from pages of other sites are refused.")
    return None


def _place(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # nobody's page is there
        return None


def _is_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
