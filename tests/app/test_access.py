"""Keys: what each may do, and that a key for one collection learns nothing of another."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from app.cli import cli
from app.keys import Access, KeyRefused, KeyRing
from app.settings import Settings

MINE, OTHER, NOWHERE = "mine", "other", "nowhere"
TEXT = "The boiler of the garden flat was serviced by Franz Huber."
SECRET = "The safe of the east wing opens with 4711."


class TestKeyRing:
    def test_a_key_is_shown_once_and_kept_as_its_hash(self, tmp_path: Path) -> None:
        ring = KeyRing(tmp_path)
        assert not ring.needed
        record, key = ring.create("reports", "write", ["b", "a", "a"])
        assert ring.needed
        stored = (tmp_path / "access" / "keys.json").read_text()
        assert key not in stored
        assert key.split("_", 2)[2] not in stored
        assert (tmp_path / "access").stat().st_mode & 0o777 == 0o700
        assert ring.access(key) == Access(record.id, "write", frozenset({"a", "b"}))
        assert ring.records() == [record]

    def test_another_ring_sees_a_change_at_once(self, tmp_path: Path) -> None:
        ring, other = KeyRing(tmp_path), KeyRing(tmp_path)
        record, key = ring.create("one")
        assert other.access(key) is not None
        ring.revoke(record.id)
        assert other.access(key) is None
        assert other.needed  # the last key gone does not open the door

    @pytest.mark.parametrize(
        "change",
        [
            lambda key: "",
            lambda key: key[:-1],
            lambda key: key + "A",
            lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
            lambda key: "cq_" + "0" * 12 + key[15:],
            lambda key: key.upper(),
            lambda key: f" {key}",
            lambda key: "\udcff",
        ],
    )
    def test_anything_else_is_no_key(self, tmp_path: Path, change: Callable[[str], str]) -> None:
        ring = KeyRing(tmp_path)
        _, key = ring.create("one")
        assert ring.access(change(key)) is None

    def test_what_cannot_be_made_is_said(self, tmp_path: Path) -> None:
        ring = KeyRing(tmp_path)
        with pytest.raises(KeyRefused, match="read, write, admin"):
            ring.create("one", "all")  # type: ignore[arg-type]
        with pytest.raises(KeyRefused, match="1 to 100 characters"):
            ring.create("  ")
        with pytest.raises(KeyRefused, match="keys list"):
            ring.revoke("0" * 12)
        assert not ring.needed

    def test_a_damaged_file_opens_no_door(self, tmp_path: Path) -> None:
        ring = KeyRing(tmp_path)
        _, key = ring.create("one")
        (tmp_path / "access" / "keys.json").write_text('{"keys": [{}]}')
        with pytest.raises(KeyRefused, match="damaged"):
            ring.access(key)
        assert ring.needed

    def test_a_file_that_was_deleted_opens_no_door(self, tmp_path: Path) -> None:
        ring = KeyRing(tmp_path)
        _, key = ring.create("one")
        (tmp_path / "access" / "keys.json").unlink()
        assert ring.access(key) is None
        assert ring.needed
        assert KeyRing(tmp_path).needed  # nor after a restart

    def test_scopes_include_the_lesser(self) -> None:
        assert [Access("k", "write", None).may(s) for s in ("read", "write", "admin")] == [
            True,
            True,
            False,
        ]


def test_the_command_makes_lists_and_revokes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARTRIDGES_DATA", str(tmp_path))
    run = CliRunner().invoke
    made = run(cli, ["keys", "create", "ci", "--scope", "write", "--collection", "a", "--json"])
    fields = json.loads(made.stdout)
    assert re.fullmatch(r"cq_[0-9a-f]{12}_[\w-]{43}", fields["key"])
    assert (fields["scope"], fields["collections"]) == ("write", ["a"])
    listed = run(cli, ["keys", "list"])
    assert "ci" in listed.stdout
    assert fields["key"] not in listed.stdout
    assert json.loads(run(cli, ["keys", "list", "--json"]).stdout)[0]["id"] == fields["id"]
    assert "shown this once" in run(cli, ["keys", "create", "two [/b] [desk]"]).stdout
    assert "two [/b] [desk]" in " ".join(run(cli, ["keys", "list"]).stdout.split())
    assert "is revoked" in run(cli, ["keys", "revoke", fields["id"]]).stdout
    assert KeyRing(tmp_path).access(fields["key"]) is None


@pytest.fixture
def house(
    serve: Callable[..., Any],
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
    settings: Settings,
) -> Any:
    """A service with a trained document in each of two collections, and the other one's job."""
    ring = KeyRing(settings.data)
    with serve() as client, worker():
        jobs = {}
        for name, text in ((MINE, TEXT), (OTHER, SECRET)):
            body = {"collection": name, "id": "sheet", "text": text}
            jobs[name] = client.post("/v1/documents", json=body).json()["job"]["id"]
            wait_for(client, jobs[name])
        yield client, ring, jobs


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


# Every route that names a collection, or something within one. {c}: the collection, {j}: its job.
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/v1/documents", {"json": {"collection": "{c}", "id": "new", "text": "Hello."}}),
    ("POST", "/v1/documents", {"json": {"collection": "{c}", "id": "sheet", "text": SECRET}}),
    ("GET", "/v1/documents?collection={c}", {}),
    ("GET", "/v1/documents/sheet?collection={c}", {}),
    ("GET", "/v1/documents/nothing?collection={c}", {}),
    ("POST", "/v1/documents/sheet/release?collection={c}", {}),
    ("POST", "/v1/documents/sheet/train?collection={c}", {}),
    ("GET", "/v1/documents/sheet/text?collection={c}", {}),
    ("DELETE", "/v1/documents/sheet?collection={c}", {}),
    ("GET", "/v1/jobs?collection={c}", {}),
    ("GET", "/v1/jobs/{j}", {}),
    ("GET", "/v1/jobs/{j}/events", {}),
    ("POST", "/v1/jobs/{j}/retry", {}),
    ("DELETE", "/v1/jobs/{j}", {}),
    ("POST", "/v1/answers", {"json": {"question": "What opens the safe?", "collection": "{c}"}}),
    (
        "POST",
        "/v1/answers",
        {
            "json": {
                "question": "Safe?",
                "collection": "{c}",
                "documents": ["sheet"],
                "stream": True,
            }
        },
    ),
    (
        "POST",
        "/v1/chat/completions",
        {
            "json": {
                "model": "cartridge-qa/{c}",
                "messages": [{"role": "user", "content": "What opens the safe?"}],
            }
        },
    ),
    (
        "POST",
        "/v1/chat/completions",
        {
            "json": {
                "model": "cartridge-qa",
                "collection": "{c}",
                "cartridges": ["sheet"],
                "messages": [{"role": "user", "content": "What opens the safe?"}],
            }
        },
    ),
    ("GET", "/v1/models/cartridge-qa/{c}", {}),
    ("POST", "/v1/reports", {"json": {"collection": "{c}", "questions": [{"question": "Safe?"}]}}),
    ("GET", "/v1/reports?collection={c}", {}),
    ("PUT", "/v1/collections/{c}", {}),
    ("POST", "/v1/collections/{c}/train", {}),
    ("DELETE", "/v1/collections/{c}", {}),
]


def call(
    client: TestClient, collection: str, job: str, which: tuple[str, str, dict[str, Any]], key: str
) -> httpx.Response:
    method, path, options = json.loads(
        json.dumps(which).replace("{c}", collection).replace("{j}", job)
    )
    return client.request(method, path, headers=bearer(key), **options)


def told(response: httpx.Response, *names: str) -> tuple[int, str, list[str]]:
    """Everything that a client can see but the names that it sent itself and its request's id."""
    text = response.text
    for name in names:
        text = text.replace(name, "*")
    headers = {name: value for name, value in response.headers.items() if name != "x-request-id"}
    headers.pop("content-length", None)
    return response.status_code, text, sorted(f"{n}: {v}" for n, v in headers.items())


@pytest.mark.parametrize("which", CALLS, ids=lambda which: f"{which[0]} {which[1]}")
def test_a_key_cannot_tell_anothers_collection_from_none(house: Any, which: Any) -> None:
    client, ring, jobs = house
    _, key = ring.create("mine", "admin", [MINE])
    _, root = ring.create("root", "admin")
    there = call(client, OTHER, jobs[OTHER], which, key)
    missing = "j" + "0" * 31
    assert there.status_code in (403, 404)
    assert told(there, OTHER, jobs[OTHER]) == told(
        call(client, NOWHERE, missing, which, key), NOWHERE, missing
    )
    assert "4711" not in there.text
    # Nothing has changed over there.
    document = client.get(f"/v1/documents/sheet?collection={OTHER}", headers=bearer(root))
    assert (document.status_code, document.json()["version"]) == (200, 1)
    names = [
        c["name"] for c in client.get("/v1/collections", headers=bearer(root)).json()["collections"]
    ]
    assert names == [MINE, OTHER]


def test_lists_hold_what_the_key_is_for(house: Any) -> None:
    client, ring, _ = house
    _, key = ring.create("mine", "read", [MINE])
    found = client.get("/v1/collections", headers=bearer(key)).json()
    assert found == {"collections": [{"name": MINE, "documents": 1}]}
    models = client.get("/v1/models", headers=bearer(key)).json()["data"]
    assert [model["id"] for model in models] == ["cartridge-qa/mine"]
    assert client.get("/metrics", headers=bearer(key)).status_code == 403


def test_answers_of_a_key_come_from_its_collection_alone(house: Any) -> None:
    client, ring, _ = house
    _, key = ring.create("mine", "read", [MINE])
    answer = client.post(
        "/v1/answers",
        json={"question": "What opens the safe of the east wing?", "collection": MINE},
        headers=bearer(key),
    ).json()
    assert [source["document_id"] for source in answer["sources"]] == ["sheet"]
    assert "4711" not in json.dumps(answer)


def test_an_idempotency_key_is_the_api_keys_own(house: Any) -> None:
    client, ring, _ = house
    (_, one), (_, two) = ring.create("one", "write", [MINE]), ring.create("two", "write", [OTHER])
    same = {"Idempotency-Key": "1"}
    for key, name in ((one, MINE), (two, OTHER)):
        body = {"collection": name, "id": "x", "text": "Hello."}
        sent = client.post("/v1/documents", json=body, headers=bearer(key) | same)
        assert sent.status_code == 202
        assert sent.json()["document"]["collection"] == name


@pytest.mark.parametrize(
    ("scope", "method", "path", "allowed"),
    [
        ("read", "GET", "/v1/documents?collection=mine", True),
        ("read", "POST", "/v1/documents", False),
        ("read", "DELETE", "/v1/documents/sheet?collection=mine", False),
        ("read", "POST", "/v1/documents/sheet/release?collection=mine", False),
        ("read", "POST", "/v1/documents/sheet/train?collection=mine", False),
        ("read", "GET", "/v1/documents/sheet/text?collection=mine", True),
        ("read", "POST", "/v1/collections/mine/train", False),
        ("read", "PUT", "/v1/collections/mine", False),
        ("read", "DELETE", "/v1/reports/r0123456789abcdef0123456789abcde", False),
        ("write", "PUT", "/v1/collections/mine", True),
        ("write", "DELETE", "/v1/collections/mine", False),
        ("write", "GET", "/metrics", False),
        ("admin", "GET", "/metrics", True),
        ("admin", "DELETE", "/v1/collections/mine", True),
    ],
)
def test_scopes(house: Any, scope: Any, method: str, path: str, allowed: bool) -> None:
    client, ring, _ = house
    _, key = ring.create("one", scope)
    body = {"json": {"collection": MINE, "text": "Hello."}} if method == "POST" else {}
    response = client.request(method, path, headers=bearer(key), **body)
    assert (response.status_code != 403) == allowed, response.text


def test_every_route_of_the_api_asks_for_a_key(house: Any) -> None:
    client, ring, _ = house
    ring.create("one")
    paths = client.get("/openapi.json").json()["paths"]
    asked = 0
    for path, methods in paths.items():
        if not path.startswith("/v1/"):
            continue
        for method in methods:
            response = client.request(method.upper(), path.replace("{", "").replace("}", ""))
            assert response.status_code == 401, (method, path)
            asked += 1
    assert asked >= 15
