"""Replicas as processes over one Redis and one data folder, and the router in front of them."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import s3fs

from app.replicas import Announcing, Replica, Replicas
from app.router.serving import routed
from app.service import Service
from app.settings import Settings
from app.wiring import open_worker
from app.worker import working
from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.errors import FolderBusy
from cartridge_store.registry import connect
from tests.app.app_fakes import make_parts, make_settings

ROOT = Path(__file__).parents[2]
BOILER = "# The garden flat\n\nThe boiler of the garden flat was serviced by Franz Huber."
CHOIR = "# The choir\n\nThe choir rehearses on Tuesdays in the old mill. Mira Tolen leads it."
ABOUT_BOILER = "Who serviced the boiler of the garden flat?"
ABOUT_CHOIR = "When does the choir rehearse in the old mill?"


@dataclass
class Process:
    node: str
    url: str
    process: "subprocess.Popen[str]"


def start(settings: Settings, node: str) -> Process:
    own = settings.model_copy(update={"node": node, "port": 0, "workers": 0})
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.app.service_with_fakes"],
        env=os.environ | own.environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    return Process(node, "", process)


def started(process: Process) -> Process:
    assert process.process.stdout is not None
    process.url = json.loads(process.process.stdout.readline())["url"]
    return process


def ended(process: Process) -> None:
    try:
        process.process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.process.kill()
        process.process.communicate()


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: EmbeddedRedis,
    prefixes: Iterator[str],
    s3_options: dict[str, object],
) -> Settings:
    data = tmp_path_factory.mktemp("replicas") / "data"
    data.mkdir()
    bucket = f"b-{secrets.token_hex(6)}"
    s3fs.S3FileSystem(**s3_options, skip_instance_cache=True).mkdir(
        bucket, region_name="eu-central-1"
    )
    # An object store, as several hosts have: then each replica has copies of its own, too.
    return make_settings(
        data,
        redis_url=redis_server.url,
        redis_prefix=next(prefixes),
        blobs_url=f"s3://{bucket}/cartridges",
        blobs_options=s3_options,
        requests_per_minute=0,
    )


@pytest.fixture(scope="module")
def replicas(shared: Settings) -> Iterator[dict[str, Process]]:
    """Two of them, and a worker."""
    made = [start(shared, "a"), start(shared, "b")]
    try:
        by_node = {process.node: started(process) for process in made}
        with working(open_worker(shared, make_parts())):
            yield by_node
    finally:
        for process in made:
            process.process.terminate()
        for process in made:
            ended(process)


@pytest.fixture(scope="module")
def router(shared: Settings, replicas: dict[str, Process]) -> Iterator[httpx.Client]:
    with (
        routed(shared.model_copy(update={"port": 0}), make_parts()) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client


@pytest.fixture
def clients(replicas: dict[str, Process]) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    with (
        httpx.Client(base_url=replicas["a"].url, timeout=30) as a,
        httpx.Client(base_url=replicas["b"].url, timeout=30) as b,
    ):
        yield a, b


def until(true: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ready(client: httpx.Client, id: str) -> bool:
    return bool(client.get(f"/v1/documents/{id}").json().get("status") == "ready")


def ask(client: httpx.Client, question: str, **more: Any) -> httpx.Response:
    response = client.post("/v1/answers", json={"question": question, **more})
    assert response.status_code == 200, response.text
    return response


def announced(settings: Settings) -> list[Replica]:
    with connect(settings.redis_url or "") as client:
        return Replicas(client, settings.redis_prefix).live()


def places(client: httpx.Client, id: str) -> set[str]:
    cartridge = client.get(f"/v1/documents/{id}").json()["cartridge"]
    return {location["node"] for location in cartridge["locations"]}


def test_what_one_takes_in_the_other_answers_and_what_it_deletes_is_gone(
    clients: tuple[httpx.Client, httpx.Client],
) -> None:
    a, b = clients
    for client, id, text in ((a, "boiler", BOILER), (b, "choir", CHOIR)):
        sent = client.post("/v1/documents", json={"id": id, "text": text})
        assert sent.status_code == 202
    # At once and from its text, before anything is trained.
    for client, id, question in ((b, "boiler", ABOUT_BOILER), (a, "choir", ABOUT_CHOIR)):
        answer = ask(client, question, mode="rag").json()
        assert answer["sources"][0]["document_id"] == id
    for client in clients:
        for id in ("boiler", "choir"):
            until(lambda client=client, id=id: ready(client, id))
    for client in clients:
        answer = ask(client, ABOUT_BOILER).json()
        assert [source["via"] for source in answer["sources"]] == ["cartridge"]
    assert places(a, "boiler") == {"a", "b"}
    # A job is everybody's to follow.
    again = a.post("/v1/documents", json={"id": "passing", "text": "A SLOW text that passes."})
    job = again.json()["job"]["id"]
    assert b.get(f"/v1/jobs/{job}").status_code == 200
    assert ask(b, "Which text passes?", mode="rag").json()["sources"][0]["document_id"] == "passing"
    assert b.delete("/v1/documents/passing").status_code == 204
    assert a.get("/v1/documents/passing").status_code == 404
    found = ask(a, "Which text passes?", mode="rag").json()["sources"]
    assert "passing" not in {source["document_id"] for source in found}


def test_what_was_deleted_through_one_leaves_the_others_disk_within_a_second(
    clients: tuple[httpx.Client, httpx.Client], shared: Settings
) -> None:
    a, b = clients
    a.post("/v1/documents", json={"id": "mill", "text": "The old mill grinds rye and barley."})
    until(lambda: ready(b, "mill"))
    assert ask(b, "What does the old mill grind?").json()["sources"][0]["via"] == "cartridge"
    copies = shared.data / "copies" / "b"
    name = b.get("/v1/documents/mill").json()["cartridge"]["id"] + ".safetensors"
    assert (copies / name).exists()
    a.delete("/v1/documents/mill")
    until(lambda: not (copies / name).exists(), 1.0)


def test_the_router_sends_a_question_where_its_cartridge_is(
    clients: tuple[httpx.Client, httpx.Client], router: httpx.Client
) -> None:
    a, b = clients
    texts = {"lamp": "The lamp of the pier is green.", "gate": "The gate of the park is blue."}
    for id, text in texts.items():
        a.post("/v1/documents", json={"id": id, "text": text})
        until(lambda id=id: ready(a, id))
    ask(a, "Which colour has the lamp of the pier?")
    ask(b, "Which colour has the gate of the park?")
    assert (places(a, "lamp"), places(a, "gate")) == ({"a"}, {"b"})
    for _ in range(4):
        lamp = ask(router, "What colour is the lamp of the pier?")
        gate = ask(router, "What colour is the gate of the park?")
        assert (lamp.headers["x-replica"], gate.headers["x-replica"]) == ("a", "b")
    assert (places(a, "lamp"), places(a, "gate")) == ({"a"}, {"b"})
    chat = router.post(
        "/v1/chat/completions",
        json={
            "model": "cartridge-qa",
            "messages": [{"role": "user", "content": "Is the gate blue?"}],
        },
    )
    assert (chat.status_code, chat.headers["x-replica"]) == (200, "b")


def test_all_other_requests_go_through_too(router: httpx.Client) -> None:
    assert router.get("/health/ready").json() == {"status": "ready", "replicas": ["a", "b"]}
    assert router.get("/").headers["content-type"].startswith("text/html")
    assert router.get("/v1/documents", params={"limit": 1}).json()["next_cursor"]
    assert router.head("/health/live").status_code == 200
    assert router.head("/health/ready").status_code == 200
    assert router.head("/v1/documents").status_code == 405  # as a replica says
    missing = router.get("/v1/documents/nothing-of-the-kind")
    assert (missing.status_code, missing.json()["code"]) == (404, "not-found")
    sent = router.post("/v1/documents", json={"id": "sent", "text": "Sent through the router."})
    assert sent.status_code == 202
    assert sent.headers["location"].startswith("/v1/jobs/")
    assert router.delete("/v1/documents/sent").status_code == 204
    assert "cartridges_request_seconds_count" in router.get("/metrics").text
    # What is one request has one number, wherever it is logged.
    number = {"X-Request-ID": "8d1fd4e6-9e64-4c6e-8d6d-4f0b0f4b5c11"}
    assert router.get("/v1/documents", headers=number).headers.get_list("x-request-id") == [
        *number.values()
    ]


def test_an_answer_streams_through_and_ends_when_nobody_reads(
    shared: Settings, router: httpx.Client
) -> None:
    body = {"question": "Talk for ever.", "mode": "none", "stream": True}
    with router.stream("POST", "/v1/answers", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        began = time.monotonic()
        lines = response.iter_lines()
        assert next(line for line in lines if line == "event: token")
        assert time.monotonic() - began < 5  # of ten thousand words, a hundred a second
        until(lambda: any(replica.load > 0 for replica in announced(shared)))
    # The replica stops, too: nobody would be left to ask it for the rest.
    until(lambda: [replica.load for replica in announced(shared)] == [0, 0])


def test_what_is_too_large_or_from_elsewhere_is_refused(router: httpx.Client) -> None:
    large = router.post("/v1/documents", content=b"x" * 5_000_000)
    assert large.status_code == 413
    foreign = router.get("/v1/documents", headers={"Host": "evil.example"})
    assert (foreign.status_code, foreign.json()["code"]) == (403, "foreign-host")


def test_a_second_replica_of_a_name_is_refused_and_so_is_one_with_its_own_redis(
    shared: Settings, replicas: dict[str, Process]
) -> None:
    for changes in ({"node": "a"}, {"node": "d", "redis_url": None}):
        with (
            pytest.raises(FolderBusy, match="in use by process"),
            Service(shared.model_copy(update=changes | {"port": 0}), make_parts()),
        ):
            pass


def test_kill_one_and_the_router_goes_on(
    shared: Settings, replicas: dict[str, Process], router: httpx.Client
) -> None:
    # A document that only this one holds: questions about it go there.
    router.post("/v1/documents", json={"id": "tower", "text": "The tower was built by Ada Brok."})
    until(lambda: ready(router, "tower"))
    killed = replicas["b"]
    with httpx.Client(base_url=killed.url, timeout=30) as direct:
        ask(direct, "Who built the tower?")
    assert ask(router, "Who built the tower?").headers["x-replica"] == "b"
    killed.process.send_signal(signal.SIGKILL)
    killed.process.communicate()
    for _ in range(20):
        answer = ask(router, "Who built the tower?")
        assert answer.headers["x-replica"] == "a"
        assert answer.json()["sources"][0]["via"] == "cartridge"
    until(lambda: [replica.node for replica in announced(shared)] == ["a"], 8.0)


def test_announcements_and_who_is_gone(
    redis_server: EmbeddedRedis, prefixes: Iterator[str], caplog: pytest.LogCaptureFixture
) -> None:
    client, prefix = connect(redis_server.url), next(prefixes)
    with contextlib.closing(client):
        known = Replicas(client, prefix)
        assert known.live() == []
        one = Announcing(known, "one", "http://one:8000", lambda: 7)
        assert known.live() == [Replica("one", "http://one:8000", 7)]
        again = Announcing(known, "one", "http://elsewhere:8000", lambda: 0)
        assert "CARTRIDGES_NODE of its own" in caplog.text
        again.close()
        one.close()
        assert known.live() == []
        client.sadd(f"{prefix}replicas", "dead")
        assert known.live() == []
        assert not client.sismember(f"{prefix}replicas", "dead")
