"""Listening: whom a request is from, where a proxy stands in between."""

import threading

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from app.listening import listen, served, url_of
from app.settings import Settings


async def _who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.client.host if request.client else "nobody")


@pytest.mark.parametrize(
    ("trusted", "believed"),
    [((), False), (("10.0.0.0/8",), False), (("127.0.0.1",), True), (("127.0.0.0/8",), True)],
)
def test_only_a_trusted_proxy_says_whom_a_request_is_from(
    trusted: tuple[str, ...], believed: bool
) -> None:
    with listen("127.0.0.1", 0) as listening:
        app = Starlette(routes=[Route("/", _who)])
        with served(app, listening, threading.Event(), trusted):
            said = httpx.get(url_of(listening), headers={"X-Forwarded-For": "203.0.113.7"}).text
    assert said == ("203.0.113.7" if believed else "127.0.0.1")


def test_proxies_are_named_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().trusted_proxies == ("127.0.0.1", "::1")
    monkeypatch.setenv("CARTRIDGES_TRUSTED_PROXIES", "10.0.0.1, 172.16.0.0/12")
    assert Settings().trusted_proxies == ("10.0.0.1", "172.16.0.0/12")
