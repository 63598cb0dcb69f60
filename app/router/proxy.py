"""The proxy: one request is sent on to the first of several replicas that takes it, and its answer back.

Bodies of requests are held, so that they can be sent again; answers stream through as they come. Knows
HTTP; knows nothing of why the replicas come in this order.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack

import anyio
import httpx
from asgi_correlation_id import correlation_id
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.layers import REQUEST_ID
from app.problems import GONE, OPENAI_ROUTES, Problem, openai_body
from app.replicas import Replica
from app.router.fleet import Fleet
from app.router.wanted import ANSWERS, CHAT

logger = logging.getLogger(__name__)

_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
        *("trailers", "transfer-encoding", "upgrade", "proxy-connection"),
    }
)
_NUMBERED = REQUEST_ID.lower()  # what is one request has one number, here and there
_NOT_SENT = _HOP_BY_HOP | {"content-length", "expect", "forwarded", _NUMBERED}
_NOT_RETURNED = _HOP_BY_HOP | {"date", "server", _NUMBERED}
_SAFE_AGAIN = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_ASKING = frozenset({ANSWERS, CHAT})  # these change nothing, so they may be asked again
_DELETED = ("/v1/documents/", "/v1/collections/")  # what a DELETE of removes
_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 600.0
_FREE_SECONDS = 2.0
TIMEOUT = httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS, pool=_FREE_SECONDS)
_MOST_BROKEN = 2  # replicas that may break off over one request


class Proxy:
    """Sends requests on over one client."""

    def __init__(self, client: httpx.AsyncClient, fleet: Fleet) -> None:
        self._client, self._fleet = client, fleet

    async def forward(self, request: Request, body: bytes, replicas: Sequence[Replica]) -> Response:
        """The answer of the first replica that takes the request.

        The next is tried when nothing was sent, or when what was sent may be asked again: once, since a
        request that ends its replica must not end them all. Raises a 503 problem when none can be reached
        or too much is under way, a 502 one when replicas broke off, a 504 one when nothing came for ten
        minutes, a 400 one for a path that is none.
        """
        again = request.method in _SAFE_AGAIN or request.url.path in _ASKING
        broken = 0
        for place, replica in enumerate(replicas):
            last = place == len(replicas) - 1
            with ExitStack() as held:
                held.enter_context(self._fleet.busy(replica.node))
                try:
                    onward = _onward(request, body, replica)
                    response = await self._begun(request, onward)
                    if response is None:
                        return Response(status_code=GONE)
                except (httpx.InvalidURL, UnicodeError) as error:
                    raise Problem(
                        400, "bad-path", "The path is none; check the address."
                    ) from error
                except httpx.PoolTimeout as error:
                    raise Problem(
                        503,
                        "overloaded",
                        "Too much is under way; try again.",
                        headers={"Retry-After": "2"},
                    ) from error
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    self._lose(replica, error)
                    continue
                except httpx.ReadTimeout as error:
                    raise Problem(504, "timeout", "The replica did not answer in time.") from error
                except httpx.TransportError as error:
                    self._lose(replica, error)
                    broken += 1
                    if again and broken < _MOST_BROKEN:
                        continue
                    raise Problem(
                        502,
                        "broken-off",
                        "The replica broke off, and whether it did what was asked is not known; "
                        + (
                            "send the request again with the same Idempotency-Key."
                            if "idempotency-key" in request.headers
                            and request.url.path in ("/v1/documents", "/v1/reports")
                            else "look before you send the request again (GET /v1/documents, /v1/reports)."
                        ),
                    ) from error
                if response.status_code == 503 and again and not last:
                    await response.aclose()  # it is stopping, or waits for something it needs
                    continue
                deleting = request.method == "DELETE" and request.url.path.startswith(_DELETED)
                if response.status_code == 404 and broken and deleting:
                    await response.aclose()
                    return Response(status_code=204)  # the one that broke off has done it
                return _Relayed(request, response, replica, held.pop_all())
        raise Problem(
            503,
            "unavailable",
            "No replica can be reached; check that they run with the router's Redis, and try again.",
            headers={"Retry-After": "2"},
        )

    async def _begun(self, request: Request, onward: httpx.Request) -> httpx.Response | None:
        """The answer as it begins; None where who asked a question has gone before that.

        Its connection is closed then, which tells the replica.
        """
        if request.url.path not in _ASKING:  # what changes something is waited for
            return await self._client.send(onward, stream=True)
        sending = asyncio.create_task(self._client.send(onward, stream=True))
        going = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait({sending, going}, return_when=asyncio.FIRST_COMPLETED)
            return await sending if sending.done() else None
        finally:
            going.cancel()
            sending.cancel()  # changes nothing where it has begun
            await asyncio.gather(sending, going, return_exceptions=True)

    def _lose(self, replica: Replica, error: Exception) -> None:
        logger.warning("Replica %s at %s is left out: %r", replica.node, replica.url, error)
        self._fleet.lost(replica.node)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _onward(request: Request, body: bytes, replica: Replica) -> httpx.Request:
    """The request as the replica gets it: its own words, and who sent it."""
    dropped = _NOT_SENT | _named(request.headers.get("connection", ""))
    headers = [
        (name, value)
        for name, value in request.headers.raw
        # The replica believes what this machine says of a client, so nobody else may say it.
        if (n := name.decode("latin-1").lower()) not in dropped and not n.startswith("x-forwarded-")
    ]
    if request.client is not None:
        headers.append((b"x-forwarded-for", request.client.host.encode()))
    if (number := correlation_id.get()) is not None:
        headers.append((_NUMBERED.encode(), number.encode()))
    target = request.scope.get("raw_path", request.url.path.encode()).split(b"?")[0]
    if query := request.scope.get("query_string"):
        target += b"?" + query
    url = httpx.URL(replica.url).copy_with(raw_path=target)
    return httpx.Request(
        request.method,
        url,
        headers=headers,
        content=body,
        extensions={"timeout": TIMEOUT.as_dict()},
    )


class _Relayed(StreamingResponse):
    """A replica's answer on its way; whatever becomes of it, its connection is given back."""

    def __init__(
        self, request: Request, answer: httpx.Response, replica: Replica, held: ExitStack
    ) -> None:
        super().__init__(_relayed(request.url.path, answer), answer.status_code)
        dropped = _NOT_RETURNED | _named(answer.headers.get("connection", ""))
        self.raw_headers = [
            (name.lower(), value)
            for name, value in answer.headers.raw
            if name.decode("latin-1").lower() not in dropped
        ]
        self.raw_headers.append((b"x-replica", replica.node.encode()))
        self._answer, self._held = answer, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._held.close()
            with anyio.CancelScope(shield=True):
                await self._answer.aclose()


async def _relayed(path: str, answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    except httpx.TransportError as error:
        logger.warning("An answer broke off on its way: %r", error)
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            raise  # the connection ends before the body does, so the client knows
        yield _broken_off(path)


def _broken_off(path: str) -> bytes:
    problem = Problem(502, "broken-off", "The replica broke off; ask again.")
    if path.startswith(OPENAI_ROUTES):
        return f"data: {json.dumps(openai_body(problem))}\n\n".encode()
    return f"event: error\r\ndata: {json.dumps(problem.body())}\r\n\r\n".encode()


def _named(connection: str) -> frozenset[str]:
    """Headers that a Connection header says are for this hop."""
    return frozenset(part.strip().lower() for part in connection.split(",") if part.strip())
