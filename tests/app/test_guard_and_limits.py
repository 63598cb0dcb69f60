"""The door: other sites, headers, rates, a full waiting room; and what is counted and logged."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from starlette.types import Message

from app.keys import KeyRing
from app.limits import Admission, RateLimit
from app.logs import set_up_logs
from app.problems import Problem
from app.settings import Settings
from tests.app.app_fakes import FakeEngine


def test_pages_of_other_sites_may_ask_nothing(client: TestClient) -> None:
    body = {"text": "Hello."}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://["},
    ):
        refused = client.post("/v1/documents", json=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "cross-site")
    for host in ("evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[::2]", "a]b["):
        refused = client.get("/v1/documents", headers={"Host": host})
        assert (refused.status_code, refused.json()["code"]) == (403, "foreign-host")
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "127.0.0.2"):
        assert client.get("/v1/documents", headers={"Host": host}).status_code == 200
    own = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/v1/documents", json=body, headers=own).status_code == 202


def test_with_keys_any_host_may_come(serve: Callable[..., Any], settings: Settings) -> None:
    _, key = KeyRing(settings.data).create("one")
    with serve() as client:
        headers = {"Host": "qa.example", "Authorization": f"Bearer {key}"}
        assert client.get("/v1/documents", headers=headers).status_code == 200


def test_every_answer_has_its_headers(client: TestClient) -> None:
    for path in ("/v1/documents", "/v1/nothing", "/health/live"):
        response = client.get(path)
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-request-id"]
        assert "access-control-allow-origin" not in response.headers
    assert client.get("/v1/documents").headers["cache-control"] == "no-store"


def test_origins_are_allowed_by_name(serve: Callable[..., Any], settings: Settings) -> None:
    KeyRing(settings.data).create("one")
    with serve(cors_origins=("https://desk.example",)) as client:
        headers = {"Origin": "https://desk.example", "Access-Control-Request-Method": "POST"}
        allowed = client.options("/v1/answers", headers=headers)
        assert allowed.headers["access-control-allow-origin"] == "https://desk.example"
        other = client.options("/v1/answers", headers=headers | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_a_page_that_is_allowed_may_ask_without_a_key(serve: Callable[..., Any]) -> None:
    with serve(cors_origins=("https://desk.example",)) as client:
        for origin, status in (("https://desk.example", 202), ("https://evil.example", 403)):
            sent = client.post("/v1/documents", json={"text": "Hello."}, headers={"Origin": origin})
            assert sent.status_code == status


def test_a_key_that_sends_too_much_is_told_when_to_come_again(
    serve: Callable[..., Any], settings: Settings
) -> None:
    ring = KeyRing(settings.data)
    (_, one), (_, two) = ring.create("one"), ring.create("two")
    with serve(requests_per_minute=3) as client:
        get = lambda key: client.get("/v1/documents", headers={"Authorization": f"Bearer {key}"})  # noqa: E731
        assert [get(one).status_code for _ in range(4)] == [200, 200, 200, 429]
        refused = get(one)
        assert refused.json()["code"] == "too-many-requests"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert get(two).status_code == 200


def test_without_redis_requests_are_counted_in_memory() -> None:
    nowhere = redis.Redis(port=1, decode_responses=True)
    limit = RateLimit(nowhere, "test:", 2)
    limit.require("key")
    limit.require("key")
    with pytest.raises(Problem, match="2 requests a minute"):
        limit.require("key")
    limit.require(None)
    nowhere.close()


def test_a_full_waiting_room_is_a_429(serve: Callable[..., Any], engine: FakeEngine) -> None:
    with serve(max_waiting=5) as client:
        engine.waiting = 5
        for path, body in (
            ("/v1/answers", {"question": "Who?"}),
            (
                "/v1/chat/completions",
                {"model": "cartridge-qa", "messages": [{"role": "user", "content": "Who?"}]},
            ),
        ):
            refused = client.post(path, json=body)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        engine.waiting = 4
        assert client.post("/v1/answers", json={"question": "Who?"}).status_code == 200
        assert "cartridges_refused_busy_total 2.0" in client.get("/metrics").text


def test_the_metrics_say_what_was_done(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    with worker():
        for id, text in (("good", "The boiler is red."), ("bad", "The shed is VAGUE.")):
            sent = client.post("/v1/documents", json={"id": id, "text": text}).json()
            wait_for(client, sent["job"]["id"])
    for _ in range(2):
        client.post("/v1/answers", json={"question": "What is the boiler?"})
    client.post("/v1/documents", json={"id": "waits", "text": "The mill is old."})
    lines = client.get("/metrics").text.splitlines()
    for line in (
        'cartridges_checks_total{outcome="passed"} 1.0',
        'cartridges_checks_total{outcome="failed"} 1.0',
        'cartridges_jobs_total{status="succeeded"} 2.0',
        'cartridges_loads_total{tier="blobs"} 1.0',
        'cartridges_sources_total{via="cartridge"} 2.0',
        'cartridges_answers_total{abstained="false",mode="auto"} 2.0',
        'cartridges_first_token_seconds_count{mode="auto"} 2.0',
        'cartridges_request_seconds_count{method="POST",route="/v1/answers",status="200"} 2.0',
        "cartridges_queue_depth 1.0",
        "cartridges_redis_up 1.0",
        'cartridges_engine_requests{state="waiting"} 0.0',
    ):
        assert line in lines, line


def test_invented_methods_are_not_counted_for_ever(client: TestClient) -> None:
    for number in range(5):
        client.request(f"MADE{number}", "/v1/documents")
    found = client.get("/metrics").text
    assert "MADE" not in found
    assert 'method="other"' in found


def test_what_nobody_caught_has_its_headers(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(type(client.app.state.api.documents), "page", broken)  # type: ignore[attr-defined]
    response = client.get("/v1/documents")
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert response.headers["x-request-id"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in response.text


def test_questions_on_their_way_count_as_waiting() -> None:
    admission = Admission(lambda: 1, 3)
    with (
        admission.entering(),
        admission.entering(),
        pytest.raises(Problem, match="3 questions wait"),
        admission.entering(),
    ):
        pass
    with admission.entering():
        pass
    assert admission.refused == 1


def test_who_has_no_key_is_refused_before_his_request_is_read(
    serve: Callable[..., Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = KeyRing(settings.data).create("one", "read")
    parsed: list[object] = []
    whole = json.loads

    def loads(data: Any, *arguments: Any, **named: Any) -> Any:
        parsed.append(data)
        return whole(data, *arguments, **named)

    with serve(cors_origins=("https://page.example",)) as client:
        monkeypatch.setattr(json, "loads", loads)
        body = b'{"question": "Who is the secret?"}'
        headers = {"Content-Type": "application/json"}
        for path in ("/v1/answers", "/v1/chat/completions", "/v1/reports"):
            assert client.post(path, content=body, headers=headers).status_code == 401
        assert not any(b"secret" in each for each in parsed if isinstance(each, bytes))
        # A page that may ask is told why it may not.
        page = headers | {"Origin": "https://page.example"}
        refused = client.post("/v1/answers", content=body, headers=page)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://page.example"
        headers["Authorization"] = f"Bearer {key}"
        assert client.post("/v1/answers", content=body, headers=headers).status_code == 200
        # A question is less than a document.
        long = client.post("/v1/answers", content=b" " * (1 << 20) + body, headers=headers)
        assert long.status_code == 413
        # A file of keys that cannot be read opens nothing, and says so as everything else does.
        (settings.data / "access" / "keys.json").write_text("{")
        broken = client.post("/v1/answers", content=body, headers=headers)
        assert (broken.status_code, broken.json()["status"]) == (500, 500)


def test_an_audit_line_is_one_line(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="cartridges"):
        client.post("/v1/x%0A2026-01-01 INFO cartridges.audit DELETE /v1/documents/a: 204")
    (line,) = [each.getMessage() for each in caplog.records if each.name == "cartridges.audit"]
    assert "\n" not in line
    assert "/v1/x\\n2026" in line


def test_requests_and_changes_are_logged_without_what_was_said(
    serve: Callable[..., Any], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    record, key = KeyRing(settings.data).create("one", "write")
    headers = {
        "Authorization": f"Bearer {key}",
        "X-Request-ID": "8d1fd4e6-9e64-4c6e-8d6d-4f0b0f4b5c11",
    }
    with caplog.at_level(logging.INFO, logger="cartridges"), serve() as client:
        client.post("/v1/documents", json={"id": "x", "text": "A secret text."}, headers=headers)
        client.get("/v1/documents/x", headers=headers)
        client.get("/v1/documents/x")
        client.get("/metrics")
        client.get("/health/live")
    audits = [entry for entry in caplog.records if entry.name == "cartridges.audit"]
    assert [(a.method, a.status, a.key) for a in audits] == [  # type: ignore[attr-defined]
        ("POST", 202, record.id),
        ("GET", 401, None),
        ("GET", 401, None),
    ]
    requests = [entry for entry in caplog.records if entry.name == "cartridges.requests"]
    assert [r.route for r in requests] == [  # type: ignore[attr-defined]
        "/v1/documents",
        "/v1/documents/{id}",
        "unknown",  # refused before anybody looked where it leads
        "/metrics",
    ]
    assert requests[0].request_id == headers["X-Request-ID"]  # type: ignore[attr-defined]
    assert "secret" not in caplog.text
    assert key not in caplog.text


def test_logs_are_json_where_a_collector_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        set_up_logs("json", "WARNING")
        logging.getLogger("cartridges.audit").info("audit", extra={"status": 202})
        logging.getLogger("cartridges.requests").info("not at this level")
        line = json.loads(capsys.readouterr().err)
        assert (line["level"], line["logger"], line["status"]) == ("INFO", "cartridges.audit", 202)
    finally:
        root.handlers[:], root.level = handlers, level
        logging.getLogger("cartridges.audit").setLevel(logging.NOTSET)


class TestPreconditions:
    def test_only_the_version_that_was_seen_is_replaced(self, client: TestClient) -> None:
        first = client.post("/v1/documents", json={"id": "x", "text": "One."})
        tag = first.headers["etag"]
        assert client.get("/v1/documents/x").headers["etag"] == tag
        changed = client.post(
            "/v1/documents", json={"id": "x", "text": "Two."}, headers={"If-Match": tag}
        )
        assert (changed.status_code, changed.json()["document"]["version"]) == (202, 2)
        late = client.post(
            "/v1/documents", json={"id": "x", "text": "Three."}, headers={"If-Match": tag}
        )
        assert (late.status_code, late.json()["code"]) == (412, "precondition-failed")
        assert client.delete("/v1/documents/x", headers={"If-Match": tag}).status_code == 412
        assert client.get("/v1/documents/x").json()["version"] == 2
        now = client.get("/v1/documents/x").headers["etag"]
        both = {"If-Match": f'"7-0", {now}'}
        assert client.delete("/v1/documents/x", headers=both).status_code == 204

    def test_a_document_is_made_only_where_there_is_none(self, client: TestClient) -> None:
        new = {"If-None-Match": "*"}
        body = {"id": "x", "text": "One."}
        assert client.post("/v1/documents", json=body, headers=new).status_code == 202
        assert client.post("/v1/documents", json=body, headers=new).status_code == 412
        absent = client.post(
            "/v1/documents", json={"id": "y", "text": "One."}, headers={"If-Match": "*"}
        )
        assert absent.status_code == 412
        assert client.get("/v1/documents/y").status_code == 404


class TestCollections:
    def test_made_listed_and_removed(self, client: TestClient) -> None:
        assert client.put("/v1/collections/empty").status_code == 201
        assert client.put("/v1/collections/empty").json() == {"name": "empty", "documents": 0}
        assert client.get("/v1/collections").json()["collections"] == [
            {"name": "empty", "documents": 0}
        ]
        client.post("/v1/documents", json={"collection": "empty", "id": "x", "text": "One."})
        assert client.delete("/v1/collections/empty").status_code == 204
        assert client.get("/v1/collections").json() == {"collections": []}
        assert client.get("/v1/documents/x?collection=empty").status_code == 404
        assert client.delete("/v1/collections/empty").status_code == 404


class TestJobs:
    def test_all_collections_are_listed_together_by_the_page(self, client: TestClient) -> None:
        for number in range(7):
            body = {"collection": f"c{number % 3}", "id": f"d{number}", "text": f"It is {number}."}
            assert client.post("/v1/documents", json=body).status_code == 202
        seen, cursor = [], ""
        while cursor is not None:
            page = client.get(f"/v1/jobs?limit=2{cursor and f'&cursor={cursor}'}").json()
            seen += [job["document_id"] for job in page["jobs"]]
            cursor = page["next_cursor"]
        assert seen == [f"d{number}" for number in (6, 5, 4, 3, 2, 1, 0)]
        only = client.get("/v1/jobs?collection=c1&status=queued").json()["jobs"]
        assert [job["document_id"] for job in only] == ["d4", "d1"]
        stopped = client.delete(f"/v1/jobs/{only[0]['id']}").json()
        assert stopped["ended_at"] >= stopped["created_at"]
        # Of one that another version supersedes, and of one whose document was deleted, too.
        old = only[1]["id"]
        newer = {"collection": "c1", "id": "d1", "text": "It is another one."}
        assert client.post("/v1/documents", json=newer).status_code == 202
        gone = client.get("/v1/jobs?collection=c2").json()["jobs"][0]
        assert (
            client.delete(f"/v1/documents/{gone['document_id']}?collection=c2").status_code == 204
        )
        for id in (old, gone["id"]):
            ended = client.get(f"/v1/jobs/{id}").json()
            assert (ended["status"], ended["ended_at"] is None) == ("cancelled", False)
        assert client.get("/v1/jobs?cursor=bm9uZQ").json()["jobs"]  # one that nobody was given

    def test_what_failed_is_listed_and_done_again(
        self, client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
    ) -> None:
        with worker():
            for id, text in (("good", "The boiler is red."), ("bad", "It is UNTRAINABLE.")):
                sent = client.post("/v1/documents", json={"id": id, "text": text}).json()
                wait_for(client, sent["job"]["id"])
            page = client.get("/v1/jobs?status=failed").json()
            (failed,) = page["jobs"]
            assert (failed["document_id"], page["next_cursor"]) == ("bad", None)
            again = client.post(f"/v1/jobs/{failed['id']}/retry")
            assert again.status_code == 202
            assert again.json()["job"]["id"] != failed["id"]
            assert wait_for(client, again.json()["job"]["id"])["status"] == "failed"
        first = client.get("/v1/jobs?limit=1").json()
        rest = client.get(f"/v1/jobs?limit=1&cursor={first['next_cursor']}").json()
        ids = [page["jobs"][0]["document_id"] for page in (first, rest)]
        assert ids == ["bad", "good"]  # the newest first
        times = [first["jobs"][0][f"{what}_at"] for what in ("created", "started", "ended")]
        assert times == sorted(times)
        assert rest["next_cursor"] is None
        good = next(j for j in (*first["jobs"], *rest["jobs"]) if j["document_id"] == "good")
        refused = client.post(f"/v1/jobs/{good['id']}/retry")
        assert (refused.status_code, refused.json()["code"]) == (409, "not-failed")


def test_who_leaves_while_sending_is_no_error(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[Message] = []

    async def upload() -> None:
        pieces: list[Message] = [
            {"type": "http.request", "body": b'{"text": "Half', "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Message:
            return pieces.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/documents",
            "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
            "query_string": b"",
            "http_version": "1.1",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
        }
        await client.app(scope, receive, send)

    with caplog.at_level(logging.ERROR):
        client.portal.call(upload)  # type: ignore[union-attr]
    assert sent[0]["status"] == 499
    assert not caplog.records
