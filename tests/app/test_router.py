"""The router alone: what it reads of a question, whom it tries in which order, what it passes on."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import redis
from fastapi.testclient import TestClient
from starlette.requests import Request
from starlette.types import Message

from app.keys import Access, KeyRing
from app.replicas import Replica
from app.router.aiming import Aim, aim_at
from app.router.fleet import Fleet
from app.router.main import create_router
from app.router.proxy import Proxy
from app.router.wanted import ANSWERS, CHAT, Asked, Seeker, Wanted, read_question
from app.settings import Settings
from app.storage import registry_prefix
from cartridge_store.registry import Registry, connect
from cartridge_store.routing import key_of
from tests.app.app_fakes import make_parts

Handler = Callable[[httpx.Request], httpx.Response]


def answers(**fields: Any) -> bytes:
    return json.dumps({"question": "Who?"} | fields).encode()


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (ANSWERS, answers(), Asked("Who?", "default", (), "auto", None)),
        (
            ANSWERS,
            answers(collection="house", documents=["a", "a", "b"], mode="cartridge", top_k=2),
            Asked("Who?", "house", ("a", "b"), "cartridge", 2),
        ),
        (
            CHAT,
            b'{"model": "cartridge-qa/house", "messages": [{"role": "user", "content": "Who?"}]}',
            Asked("Who?", "house", (), "auto", None),
        ),
        (
            CHAT,
            b'{"model": "cartridge-qa", "cartridges": ["a"], "messages": [{"role": "user", "content": '
            b'[{"type": "text", "text": "Wh"}, {"type": "text", "text": "o?"}]}]}',
            Asked("Wh\no?", "default", ("a",), "auto", None),
        ),
        ("/v1/documents", answers(), None),
        (ANSWERS, b"not JSON", None),
        (ANSWERS, b"[" * 100_000, None),
        (ANSWERS, b'"a string"', None),
        (ANSWERS, answers(question=7), None),
        (ANSWERS, answers(documents=[1]), None),
        (ANSWERS, answers(top_k=0), None),
        (ANSWERS, answers(documents=[f"d{number}" for number in range(101)]), None),
        (ANSWERS, answers(question=" "), None),
        (CHAT, b'{"model": "cartridge-qa", "messages": []}', None),
    ],
)
def test_what_is_read_of_a_question(path: str, body: bytes, expected: Asked | None) -> None:
    assert read_question(path, body) == expected


def test_nothing_is_sought_for_who_may_not_ask_or_needs_no_cartridge() -> None:
    house = Access("k", "read", frozenset({"house"}))
    seeker = Seeker(lambda authorization: house if authorization == "Bearer key" else None)
    named = answers(collection="house", documents=["boiler"])
    assert seeker.wanted(ANSWERS, "Bearer key", named) == Wanted("house", ("boiler",))
    assert seeker.wanted(ANSWERS, "Bearer key", answers(collection="house")) == Wanted("house", ())
    assert seeker.wanted(ANSWERS, "Bearer key", answers(collection="choir")) is None
    assert seeker.wanted(ANSWERS, "", named) is None
    # Whose key may do nothing is not read at all.
    assert seeker.wanted(ANSWERS, "", b"[" * 100) is None
    long = answers(collection="house", question="Who? " * 2000)
    assert seeker.wanted(ANSWERS, "Bearer key", long) is None
    for mode in ("rag", "icl", "none", "no such mode"):
        assert seeker.wanted(ANSWERS, "Bearer key", answers(mode=mode)) is None


def test_an_aim_counts_nodes_that_live_and_the_nearest_tier(settings: Settings) -> None:
    from tests.cartridge_store.store_samples import make_cartridge

    with connect(settings.redis_url or "") as client:
        registry = Registry(client, registry_prefix(settings))
        ids = []
        for name in ("boiler", "choir"):
            manifest = make_cartridge(name).manifest
            registry.promote(manifest, expected=None)
            ids.append(manifest.cartridge_id)
        registry.beat("near", [("disk", ids[0]), ("host", ids[0]), ("disk", ids[1])], 60)
        registry.beat("far", [("disk", ids[1])], 60)
        registry.beat("dead", [("host", ids[0])], 60)
        aim = aim_at(Wanted("house", ("boiler", "choir")), registry, lambda node: node != "dead")
        assert aim == Aim(key_of(["house/choir", "house/boiler"]), {"near": 1.75, "far": 0.75})
        assert aim_at(Wanted("house", ("NOT AN ID",)), registry).worth == {}
    with connect("redis://127.0.0.1:1/0") as nobody:
        blind = aim_at(Wanted("house", ()), Registry(nobody, "test:"))
    assert blind == Aim(key_of(["house"]))


A, B, C = (Replica(node, f"http://{node}:80") for node in "abc")


async def fleet_of(*replicas: Replica, bound: float = 1.25) -> Fleet:
    async def lives(replica: Replica) -> bool:
        return True

    fleet = Fleet(lambda: replicas, lives, bound)
    await fleet.look()
    return fleet


async def test_the_fleet_bounds_loads_and_remembers_while_redis_is_away() -> None:
    said: list[Any] = [[A, B, C]]
    living = {"a", "b"}

    def announced() -> Any:
        if isinstance(said[0], Exception):
            raise said[0]
        return said[0]

    async def lives(replica: Replica) -> bool:
        return replica.node in living

    fleet = Fleet(announced, lives, 1.0)
    assert fleet.order(None) == []
    await fleet.look()
    assert fleet.replicas == (A, B)
    aim = Aim(1, {"b": 1.0, "c": 9.0})
    assert fleet.order(aim) == [B, A]
    with fleet.busy("b"), fleet.busy("b"):
        assert fleet.order(aim)[0] == A  # b has two already, and a none
        assert fleet.order(None) == [A, B]
    assert fleet.order(aim)[0] == B
    said[0] = [Replica("a", A.url, 0), Replica("b", B.url, 5)]
    await fleet.look()
    assert fleet.order(aim)[0].node == "a"  # other routers' questions count
    said[0] = redis.ConnectionError()
    living.add("c")
    await fleet.look()
    assert [replica.node for replica in fleet.replicas] == ["a", "b"]
    said[0] = []  # it is back, and they have not told it yet that they are there
    for _ in range(10):
        await fleet.look()
        assert [replica.node for replica in fleet.replicas] == ["a", "b"]
    await fleet.look()
    assert fleet.replicas == ()  # nor will they
    said[0] = [A, B]
    await fleet.look()
    assert fleet.replicas == (A, B)
    fleet.lost("a")
    assert not fleet.has("a")
    await fleet.look()
    assert fleet.has("a")


async def test_a_replica_that_is_slow_to_answer_stays_and_a_silent_one_is_left_out() -> None:
    living = {"a", "b"}

    async def lives(replica: Replica) -> bool:
        return replica.node in living

    fleet = Fleet(lambda: [A, B], lives, 1.25)
    await fleet.look()
    living.remove("a")
    for _ in range(2):
        await fleet.look()
        assert fleet.has("a")
    await fleet.look()
    assert fleet.replicas == (B,)
    living.clear()
    fleet.lost("b")
    assert fleet.replicas == ()
    assert fleet.order(Aim(1)) == [A, B]  # better asked than not
    await fleet.look()
    assert fleet.replicas == ()  # one that was lost must answer first


@contextlib.contextmanager
def proxied(handler: Handler, *replicas: Replica) -> Iterator[tuple[TestClient, Fleet]]:
    """A client of a proxy that tries the replicas in order; `handler` plays them all."""
    from fastapi import FastAPI, Request

    from app.problems import install_problems

    app = FastAPI()
    install_problems(app, lambda path: [])
    fleet = asyncio.run(fleet_of(*replicas))
    proxy = Proxy(httpx.AsyncClient(transport=httpx.MockTransport(handler)), fleet)

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
    async def route(request: Request) -> Any:
        return await proxy.forward(request, await request.body(), replicas)

    with TestClient(app, raise_server_exceptions=False) as client:
        yield client, fleet


def test_what_cannot_be_reached_is_asked_of_the_next(settings: Settings) -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host == "a":
            raise httpx.ConnectError("refused")
        return httpx.Response(200, stream=httpx.ByteStream(request.content))

    with proxied(handler, A, B) as (client, fleet):
        sent = client.post("/v1/documents", content=b"a text")  # nothing was sent to the first
        assert (sent.content, sent.headers["x-replica"], asked) == (b"a text", "b", ["a", "b"])
        assert not fleet.has("a")


@pytest.mark.parametrize(
    ("method", "path", "again"),
    [
        ("GET", "/v1/documents", True),
        ("PUT", "/v1/collections/x", True),
        ("POST", ANSWERS, True),
        ("POST", CHAT, True),
        ("POST", "/v1/documents", False),
    ],
)
def test_what_broke_off_is_sent_again_only_where_that_changes_nothing(
    method: str, path: str, again: bool
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "a":
            raise httpx.RemoteProtocolError("broke off")
        return httpx.Response(200, stream=httpx.ByteStream(b"done"))

    with proxied(handler, A, B) as (client, _):
        response = client.request(method, path)
        if again:
            assert (response.status_code, response.text) == (200, "done")
        else:
            assert (response.status_code, response.json()["code"]) == (502, "broken-off")
            assert "look before" in response.json()["detail"]
            keyed = client.request(method, path, headers={"Idempotency-Key": "one"}).json()
            assert "the same Idempotency-Key" in keyed["detail"]


@pytest.mark.parametrize(("breaks", "status"), [(True, 204), (False, 404)])
def test_what_a_replica_has_deleted_before_it_broke_off_is_deleted(
    breaks: bool, status: int
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if breaks and request.url.host == "a":
            raise httpx.RemoteProtocolError("broke off")
        return httpx.Response(404, stream=httpx.ByteStream(b"{}"))

    with proxied(handler, A, B) as (client, _):
        assert client.delete("/v1/documents/boiler").status_code == status


@pytest.mark.parametrize("path", [ANSWERS, "/v1/documents"])
async def test_a_question_whose_client_has_gone_is_given_up(path: str) -> None:
    """And so the replica learns of it; what changes something is waited for."""
    ended: list[str] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        try:
            await asyncio.sleep(0.2 if path != ANSWERS else 60)
        except asyncio.CancelledError:
            ended.append("given up")
            raise
        return httpx.Response(200, stream=httpx.ByteStream(b"done"))

    async def receive() -> Message:
        await asyncio.sleep(0.05)
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
    proxy = Proxy(httpx.AsyncClient(transport=httpx.MockTransport(handler)), await fleet_of(A))
    answer = await proxy.forward(Request(scope, receive), b"{}", [A])
    assert (answer.status_code, ended) == ((499, ["given up"]) if path == ANSWERS else (200, []))


def test_a_question_to_a_replica_that_is_stopping_goes_to_the_next_one() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503 if request.url.host == "a" else 200)

    with proxied(handler, A, B) as (client, _):
        assert client.post(ANSWERS).status_code == 200
        assert client.post("/v1/documents").status_code == 503  # as the replica says
    with proxied(handler, A) as (client, _):
        assert client.post(ANSWERS).status_code == 503


def test_when_nobody_can_be_reached_it_says_so_in_the_form_of_the_route() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("nobody")

    with proxied(handler, A, B) as (client, _):
        answer = client.post(ANSWERS)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "2"
        assert client.post(CHAT).json()["error"]["code"] == "unavailable"


def test_headers_pass_but_those_of_the_hop_and_who_sent_it_is_the_routers_word() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        headers = {
            "Location": "/v1/jobs/x",
            "Connection": "close, X-Private",
            "X-Private": "1",
            "Server": "uvicorn",
            "Content-Encoding": "gzip",
        }
        return httpx.Response(202, headers=headers, stream=httpx.ByteStream(b"not really gzip"))

    with (
        proxied(handler, A) as (client, _),
        client.stream(
            "POST",
            "/v1/documents/a%2Fb?limit=1&x=%20",
            content=b"body",
            headers={
                "Authorization": "Bearer key",
                "Host": "localhost:9",
                "X-Forwarded-For": "10.0.0.1",
                "X-Forwarded-Proto": "https",
                "Forwarded": "for=10.0.0.1",
                "Connection": "keep-alive, X-Hop",
                "X-Hop": "1",
                "Idempotency-Key": "once",
            },
        ) as response,
    ):
        raw = b"".join(response.iter_raw())
    (sent,) = seen
    assert str(sent.url) == "http://a/v1/documents/a%2Fb?limit=1&x=%20"
    assert sent.content == b"body"
    assert sent.headers["authorization"] == "Bearer key"
    assert sent.headers["idempotency-key"] == "once"
    assert sent.headers["host"] == "localhost:9"
    assert sent.headers["x-forwarded-for"] == "testclient"
    assert not {"x-hop", "forwarded", "x-forwarded-proto", "connection"} & set(sent.headers)
    assert raw == b"not really gzip"  # as it came
    assert response.status_code == 202
    assert response.headers["location"] == "/v1/jobs/x"
    assert not {"server", "x-private", "connection"} & set(response.headers)


def test_a_stream_that_breaks_off_ends_with_an_error_event() -> None:
    class Breaking(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield b"event: token\r\ndata: {}\r\n\r\n"
            raise httpx.ReadError("gone")

    def handler(request: httpx.Request) -> httpx.Response:
        headers = {"Content-Type": "text/event-stream; charset=utf-8"}
        return httpx.Response(200, headers=headers, stream=Breaking())

    with proxied(handler, A) as (client, fleet):
        lines = client.post(ANSWERS).text.splitlines()
        assert lines[:2] == ["event: token", "data: {}"]
        assert lines[3] == "event: error"
        assert json.loads(lines[4].removeprefix("data: "))["code"] == "broken-off"
        assert "broken-off" in client.post(CHAT).text
        assert fleet.order(None) == [A]
        assert fleet._mine["a"] == 0


def test_a_router_without_replicas_lives_but_is_not_ready(settings: Settings) -> None:
    settings.data.mkdir()
    with TestClient(
        create_router(settings, make_parts(), search=False), base_url="http://127.0.0.1"
    ) as client:
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 503
        nobody = client.post(ANSWERS, json={"question": "Who?"})
        assert (nobody.status_code, nobody.json()["code"]) == (503, "unavailable")


def test_what_somebody_without_a_key_sends_is_not_read(settings: Settings) -> None:
    settings.data.mkdir()
    KeyRing(settings.data).create("front desk", "read")
    app = create_router(settings, search=False)
    sent: list[Message] = []

    async def asked() -> None:
        async def receive() -> Message:
            raise AssertionError("The body was read.")

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/documents",
            "headers": [],
            "query_string": b"",
        }
        await app(
            scope | {"http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80)},
            receive,
            send,
        )

    asyncio.run(asked())
    assert sent[0]["status"] == 401


def test_where_keys_are_needed_nothing_is_sought_for_who_has_none(settings: Settings) -> None:
    settings.data.mkdir()
    _, key = KeyRing(settings.data).create("front desk", "read")
    encoded: list[str] = []

    class Counting:
        dimension, name = 4, "counting"

        def encode(self, texts: list[str]) -> Any:
            encoded.extend(texts)
            raise OSError("not asked for")

    (settings.data / "indexes" / "default").mkdir(parents=True)
    app = create_router(settings, make_parts(encoder=Counting))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        client.post(ANSWERS, json={"question": "Who?"})
        assert encoded == []
        headers = {"Authorization": f"Bearer {key}"}
        # The search fails, and the question is routed all the same: here, to nobody.
        sent = client.post(ANSWERS, json={"question": "Who?"}, headers=headers)
        assert (sent.status_code, encoded) == (503, ["Who?"])


def test_a_page_of_a_named_origin_may_ask_before_it_brings_its_key(settings: Settings) -> None:
    settings.data.mkdir()
    KeyRing(settings.data).create("front desk", "read")
    named = settings.model_copy(update={"cors_origins": ("https://desk.example",)})
    app = create_router(named, make_parts(), search=False)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        headers = {"Origin": "https://desk.example", "Access-Control-Request-Method": "POST"}
        first = client.options(ANSWERS, headers=headers)
        assert first.status_code == 200
        assert first.headers["access-control-allow-origin"] == "https://desk.example"
        refused = client.post(ANSWERS, json={"question": "Who?"}, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://desk.example"


def test_a_router_tells_who_was_refused_and_counts_what_came(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.data.mkdir()
    ring = KeyRing(settings.data)
    record, key = ring.create("front desk", "read")
    _, admin = ring.create("operator", "admin")
    app = create_router(settings, make_parts(), search=False)
    with (
        caplog.at_level(logging.INFO, logger="cartridges"),
        TestClient(app, base_url="http://127.0.0.1") as client,
    ):
        wrong = client.post(ANSWERS, headers={"Authorization": "Bearer wrong"})
        client.get("/metrics", headers={"Authorization": f"Bearer {key}"})
        found = client.get("/metrics", headers={"Authorization": f"Bearer {admin}"}).text
    assert wrong.headers["x-request-id"]
    audits = [each for each in caplog.records if each.name == "cartridges.audit"]
    assert [(a.method, a.status, a.key) for a in audits] == [  # type: ignore[attr-defined]
        ("POST", 401, None),
        ("GET", 403, record.id),
    ]
    assert (
        'cartridges_request_seconds_count{method="POST",route="unknown",status="401"} 1.0' in found
    )
