"""Errors are problems wherever they come from, and keys are asked for where there are any."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.keys import KeyRing, key_hash
from app.settings import Settings
from tests.app.app_fakes import FakeEngine, make_parts

FIELDS = {"type", "title", "status", "detail", "code"}


def assert_problem(response: Any, status: int, code: str) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem.keys() >= FIELDS
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:cartridges:problem:{code}"


def test_addresses_and_methods_that_are_not_there(client: TestClient) -> None:
    assert_problem(client.get("/nowhere"), 404, "not-found")
    assert_problem(client.get("/v1/documents/nowhere"), 404, "not-found")
    wrong = client.put("/v1/documents/nowhere")
    assert_problem(wrong, 405, "method-not-allowed")
    assert wrong.headers["allow"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "m", "messages": [0] * 50_000}),
        ("/v1/chat/completions", {f"f{n}": 0 for n in range(20_000)}),
        ("/v1/answers", {f"f{n}": 0 for n in range(20_000)}),
        ("/v1/documents", {"text": "A text."} | {f"f{n}": 0 for n in range(20_000)}),
        ("/v1/answers", {"question": "Who?", "documents": [0] * 20_000}),
        ("/v1/answers", {f"f{n}": 0 for n in range(50)}),
    ],
)
def test_what_is_wrong_a_thousand_times_is_not_said_a_thousand_times(
    client: TestClient, path: str, body: dict[str, Any]
) -> None:
    response = client.post(path, json=body)
    assert response.status_code in {400, 422}
    assert len(response.content) < 5_000


def test_ids_that_are_none_are_refused(client: TestClient) -> None:
    for path in ("/v1/documents/A", "/v1/documents/..%2Fetc", "/v1/documents/a?collection=A"):
        response = client.get(path)
        assert response.status_code in (404, 422)
        assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/v1/answers", "/v1/documents", "/v1/reports", "/v1/collections/default"]
)
@pytest.mark.parametrize(
    "data", [b'{"question": ', b"\xff\xfe", b"[" * 100_000, b"[]", b"3", b'"Who?"'], ids=len
)
def test_a_body_that_is_no_object_of_json_is_said_to_be_none(
    client: TestClient, path: str, data: bytes
) -> None:
    if path == "/v1/collections/default":
        path += "/relevance"
    method = "PUT" if path.endswith("relevance") else "POST"
    response = client.request(
        method, path, content=data, headers={"Content-Type": "application/json"}
    )
    assert_problem(response, 422, "invalid-request")
    assert "send a JSON object as application/json" in response.json()["detail"]


def test_a_body_of_no_said_type_is_told_which(client: TestClient) -> None:
    response = client.post("/v1/answers", content=b'{"question": "Who?"}')
    assert_problem(response, 422, "invalid-request")
    assert "application/json" in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/answers", {"question": ""}, "body.question: write something, and no NUL."),
        ("/v1/documents", {"text": "\0"}, "body.text: write something, and no NUL."),
        (
            "/v1/answers",
            {"question": "Who?", "collection": "A B"},
            "body.collection: use lower-case",
        ),
        ("/v1/documents", {"text": "One.", "id": "A"}, "body.id: use lower-case letters, digits"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_told_in_words(
    client: TestClient, path: str, body: dict[str, Any], said: str
) -> None:
    response = client.post(path, json=body)
    assert_problem(response, 422, "invalid-request")
    assert said in response.json()["detail"]


def test_a_fault_of_ours_tells_nothing_of_the_inside(
    serve: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        name, dimension = "broken", 4

        def encode(self, texts: Any) -> Any:
            raise RuntimeError("a secret of the inside")

    with serve(make_parts(encoder=Broken)) as client:
        response = client.post("/v1/documents", json={"text": "A text."})
    assert_problem(response, 500, "internal")
    assert "secret" not in response.text
    assert "a secret of the inside" in caplog.text


def test_without_a_key_nothing_is_answered_where_keys_are_set(serve: Callable[..., Any]) -> None:
    with serve(api_keys=(key_hash("one"), key_hash("two"))) as client:
        for path in ("/v1/documents", "/v1/jobs/x", "/v1/collections"):
            assert_problem(client.get(path), 401, "unauthorized")
        for value in ("Bearer three", "Bearer", "Basic one", "one", f"Bearer {key_hash('one')}"):
            refused = client.get("/v1/documents", headers={"Authorization": value})
            assert_problem(refused, 401, "unauthorized")
            assert refused.headers["www-authenticate"] == "Bearer"
        for value in ("Bearer one", "bearer two"):
            accepted = client.get("/v1/documents", headers={"Authorization": value})
            assert accepted.status_code == 200
        # Those who watch the service hold no key.
        assert client.get("/health/live").status_code == 200


def test_a_key_is_compared_by_its_hash(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path, [key_hash("one")])
    assert ring.access("one") is not None
    assert ring.access("") is None
    assert KeyRing(tmp_path).access("one") is None


def test_settings_refuse_a_key_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTRIDGES_API_KEYS", "my-key")
    with pytest.raises(ValueError, match="SHA-256"):
        Settings()
    monkeypatch.setenv("CARTRIDGES_API_KEYS", f"{key_hash('a')}, {key_hash('b')}")
    assert Settings().api_keys == (key_hash("a"), key_hash("b"))


def test_settings_travel_as_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Settings(
        port=0, compression=20.0, training={"batch": 8}, api_keys=(key_hash("a"), key_hash("b"))
    )
    for name, value in chosen.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == chosen


def test_health(client: TestClient) -> None:
    assert client.get("/health/live").json()["status"] == "ok"
    assert client.get("/health/ready").json() == {
        "status": "ready",
        "dependencies": {"reader": "ok", "redis": "ok", "storage": "ok", "cartridges": "ok"},
    }


def test_an_engine_that_has_ended_is_not_ready(client: TestClient, engine: FakeEngine) -> None:
    engine.ended = "The engine has ended; restart the service."
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["dependencies"]["reader"] == engine.ended


def test_the_schema_names_every_route(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/v1/documents",
        "/v1/documents/{id}",
        "/v1/documents/{id}/release",
        "/v1/documents/{id}/text",
        "/v1/documents/{id}/train",
        "/v1/jobs",
        "/v1/jobs/{id}",
        "/v1/jobs/{id}/retry",
        "/v1/jobs/{id}/events",
        "/v1/answers",
        "/v1/chat/completions",
        "/v1/models",
        "/v1/models/{model}",
        "/v1/reports",
        "/v1/reports/{id}",
        "/v1/collections",
        "/v1/collections/{name}",
        "/v1/collections/{name}/relevance",
        "/v1/collections/{name}/train",
        "/health/live",
        "/health/ready",
        "/metrics",
    }
    assert set(paths["/v1/documents"]["post"]["requestBody"]["content"]) == {
        "application/json",
        "multipart/form-data",
    }
