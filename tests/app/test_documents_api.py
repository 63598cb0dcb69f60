"""/v1/documents: accepting, listing, showing, removing; and everything that is refused."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from cartridge_store.blobs import LocalBlobs
from cartridge_store.errors import RegistryUnavailable
from retrieval.encoder import LexicalEncoder

BOILER = "The boiler of the garden flat was last serviced by Franz Huber."


def add(client: TestClient, text: str = BOILER, **fields: Any) -> dict[str, Any]:
    response = client.post("/v1/documents", json={"text": text} | fields)
    assert response.status_code == 202, response.text
    return dict(response.json())


def test_accepting_answers_with_document_and_job(client: TestClient) -> None:
    response = client.post(
        "/v1/documents", json={"id": "boiler", "title": "Boiler", "text": BOILER}
    )
    assert response.status_code == 202
    document, job = response.json()["document"], response.json()["job"]
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (document["id"], document["title"], document["version"]) == ("boiler", "Boiler", 1)
    assert (document["status"], document["cartridge"], document["tokens"]) == ("text", None, 12)
    assert (job["status"], job["document_id"], job["progress"]) == ("queued", "boiler", 0.0)


def test_a_trained_document_shows_its_cartridge(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    with worker():
        job = wait_for(client, add(client, id="boiler")["job"]["id"])
    assert job["status"] == "succeeded"
    document = client.get("/v1/documents/boiler").json()
    assert document["status"] == "ready"
    cartridge = document["cartridge"]
    assert cartridge["id"] == job["result"]["cartridge_id"]
    assert (cartridge["slots"], cartridge["bytes"], cartridge["version"]) == (4, 256, 1)
    assert cartridge["compression"] == 3.0


def test_the_same_content_is_the_same_version_and_job(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    first, again = add(client), add(client)
    assert again["document"]["version"] == 1
    assert again["job"]["id"] == first["job"]["id"]
    with worker():
        wait_for(client, first["job"]["id"])
        once_more = add(client)
        # Two messages were sent; the second one must not have trained anything.
        wait_for(client, add(client, "Another text.", id="last")["job"]["id"])
    assert once_more["job"]["status"] == "succeeded"
    assert (
        client.get(f"/v1/documents/{first['document']['id']}").json()["cartridge"]["version"] == 1
    )


def while_encoded(client: TestClient, do: Callable[[], object]) -> None:
    """Once, while a document's text is encoded, something else is done."""
    encoder = client.app.state.api.retriever._encoder  # type: ignore[attr-defined]
    encode = encoder.encode

    def slowly(texts: list[str]) -> Any:
        encoder.encode = encode
        do()
        return encode(texts)

    encoder.encode = slowly


def test_a_newer_version_that_overtakes_is_what_is_trained(client: TestClient) -> None:
    newer: list[dict[str, Any]] = []
    while_encoded(client, lambda: newer.append(add(client, "The boiler is new.", id="boiler")))
    accepted = add(client, id="boiler")
    assert accepted == newer[0]
    assert accepted["document"]["version"] == 2
    assert client.get(f"/v1/jobs/{accepted['job']['id']}").json()["status"] == "queued"


@pytest.mark.parametrize("what", ["documents/boiler", "collections/default"])
def test_a_document_that_is_deleted_while_it_is_taken_in_is_gone(
    client: TestClient, settings: Settings, what: str
) -> None:
    jobs = client.app.state.api.base.jobs  # type: ignore[attr-defined]
    while_encoded(client, lambda: client.delete(f"/v1/{what}"))
    response = client.post("/v1/documents", json={"id": "boiler", "text": BOILER})
    assert response.status_code == 404
    assert "send it again" in response.json()["detail"]
    assert jobs.last_of("default", ["boiler"]) == {}
    kept = [path for path in (settings.data / "indexes").rglob("*") if path.is_file()]
    assert not any(b"Franz Huber" in path.read_bytes() for path in kept)
    assert add(client, id="boiler")["document"]["version"] == 2


def test_one_that_is_sent_anew_after_its_deletion_stays(client: TestClient) -> None:
    def replace() -> None:
        client.delete("/v1/documents/boiler")
        add(client, "The boiler is new.", id="boiler")

    while_encoded(client, replace)
    accepted = add(client, id="boiler")
    assert accepted["document"]["version"] == 2
    answer = client.post("/v1/answers", json={"question": "Is the boiler new?", "mode": "rag"})
    assert [source["document_id"] for source in answer.json()["sources"]] == ["boiler"]


@pytest.mark.parametrize("what", ["documents/boiler", "collections/default"])
def test_what_is_sent_while_its_forerunner_is_deleted_stays_and_is_trained(
    client: TestClient,
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    add(client, id="boiler")
    documents = client.app.state.api.documents  # type: ignore[attr-defined]
    forget, sent = documents._shelf.forget, []

    def overtaken(collection: str, id: str) -> None:
        if not sent:
            sent.append(add(client, "The boiler is new.", id="boiler"))
        forget(collection, id)

    monkeypatch.setattr(documents._shelf, "forget", overtaken)
    assert client.delete(f"/v1/{what}").status_code == 204
    assert sent[0]["document"]["version"] == 2
    question = {"question": "Is the boiler new?", "mode": "rag"}
    sources = client.post("/v1/answers", json=question).json()["sources"]
    assert [source["document_id"] for source in sources] == ["boiler"]
    with worker():
        job = add(client, "The boiler is new.", id="boiler")["job"]
        assert wait_for(client, job["id"])["result"]["published"]


def test_a_new_version_is_trained_and_the_old_job_stops(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    old = add(client, id="boiler")["job"]["id"]
    new = add(client, "The boiler was replaced.", id="boiler")
    assert new["document"]["version"] == 2
    assert client.get(f"/v1/jobs/{old}").json()["status"] == "cancelled"
    with worker():
        assert wait_for(client, new["job"]["id"])["result"]["published"]
    assert client.get("/v1/documents/boiler").json()["cartridge"]["version"] == 2


def test_a_cartridge_of_an_older_text_does_not_answer_for_the_new_one(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    with worker():
        wait_for(client, add(client, id="boiler")["job"]["id"])
    document = add(client, "The boiler was replaced.", id="boiler")["document"]
    assert (document["status"], document["cartridge"]) == ("text", None)
    answer = client.post("/v1/answers", json={"question": "the boiler?"}).json()
    assert [source["via"] for source in answer["sources"]] == ["text"]


def test_a_text_file_is_a_document(client: TestClient) -> None:
    response = client.post(
        "/v1/documents",
        files={"file": ("garden.md", f"# The garden flat\n\n{BOILER}\n".encode())},
        data={"collection": "house"},
    )
    assert response.status_code == 202, response.text
    document = response.json()["document"]
    assert (document["title"], document["collection"]) == ("The garden flat", "house")


@pytest.mark.parametrize(
    ("name", "data", "status", "code"),
    [
        ("empty.txt", b"", 422, "empty"),
        ("blank.txt", b" \n\n", 422, "empty"),
        ("binary.txt", bytes(range(256)), 422, "not-text"),
        ("nul.txt", b"a\x00b", 422, "not-text"),
        ("paper.pdf", b"%PDF-1.7 ...", 422, "damaged"),
        ("paper.pdf", b"A letter.", 415, "unsupported-type"),
        ("paper.doc", b"\xd0\xcf\x11\xe0 ...", 415, "unsupported-type"),
    ],
)
def test_files_that_are_no_text_are_refused(
    client: TestClient, name: str, data: bytes, status: int, code: str
) -> None:
    response = client.post("/v1/documents", files={"file": (name, data)})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert client.get("/v1/documents").json()["documents"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"text": ""},
        {"text": BOILER, "colour": "red"},
        {"text": BOILER, "id": "../etc"},
        {"text": BOILER, "id": "A"},
        {"text": BOILER, "collection": "a/b"},
        {"text": BOILER, "title": "x" * 301},
        {"text": 7},
        {},
        [],
    ],
)
def test_bodies_that_are_not_as_agreed_are_refused(client: TestClient, body: Any) -> None:
    response = client.post("/v1/documents", json=body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"


def test_a_form_without_file_or_with_unknown_fields_is_refused(client: TestClient) -> None:
    file = {"file": ("a.txt", b"text")}
    for options in ({"files": {"other": ("a", b"b")}}, {"files": file, "data": {"colour": "red"}}):
        response = client.post("/v1/documents", **options)
        assert response.status_code == 422, response.text


def test_other_content_types_and_broken_json_are_refused(client: TestClient) -> None:
    plain = client.post("/v1/documents", content=b"x", headers={"content-type": "text/plain"})
    assert plain.status_code == 415
    for content in (b"{", b'{"text": "' + b"\xff" + b'"}', b"[" * 100_000):
        broken = client.post(
            "/v1/documents", content=content, headers={"content-type": "application/json"}
        )
        assert (broken.status_code, broken.json()["code"]) == (422, "invalid-request")


def test_a_document_of_60_kb_is_accepted_and_one_beyond_the_limit_is_not(
    serve: Callable[..., Any],
) -> None:
    with serve(max_upload_bytes=100_000) as client:
        add(client, "word " * 12_000)
        large = client.post("/v1/documents", json={"text": "word " * 25_000})
        assert (large.status_code, large.json()["code"]) == (413, "too-large")
        # However it is written: each of these letters takes two bytes, and six in JSON.
        cyrillic = add(client, "слово " * 9_000, id="cyrillic")
        assert cyrillic["document"]["title"]
        large = client.post("/v1/documents", json={"text": "слово " * 10_000})
        assert (large.status_code, large.json()["code"]) == (413, "too-large")


def test_a_body_is_cut_off_while_it_arrives(serve: Callable[..., Any]) -> None:
    sent = 0

    def endless() -> Any:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b"x" * 65536

    with serve(max_upload_bytes=1000) as client:
        for kind in ("application/json", "multipart/form-data; boundary=x"):
            response = client.post(
                "/v1/documents", content=endless(), headers={"content-type": kind}
            )
            assert (response.status_code, response.json()["code"]) == (413, "too-large")
            assert response.headers["content-type"] == "application/problem+json"
        declared = client.post("/v1/answers", json={"question": "x" * 1_000_000})
        assert declared.status_code == 413


def test_lists_are_paged(client: TestClient) -> None:
    for number in range(5):
        add(client, f"Text {number}.", id=f"d{number}")
    seen: list[str] = []
    cursor = None
    for size in (2, 2, 1):
        page = client.get(
            "/v1/documents", params={"limit": 2} | ({"cursor": cursor} if cursor else {})
        ).json()
        assert len(page["documents"]) == size
        seen += [document["id"] for document in page["documents"]]
        cursor = page["next_cursor"]
    assert cursor is None
    assert seen == [f"d{number}" for number in range(5)]


def test_bad_paging_is_refused(client: TestClient) -> None:
    for query in ("limit=0", "limit=201", "limit=x", "cursor=%C3%A9", "cursor=a", "cursor=//8"):
        response = client.get(f"/v1/documents?{query}")
        assert response.status_code == 422, query


def test_deleting_removes_text_passages_cartridge_and_job(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    with worker():
        job = add(client, id="boiler")["job"]["id"]
        wait_for(client, job)
    assert client.delete("/v1/documents/boiler").status_code == 204
    for response in (client.get("/v1/documents/boiler"), client.delete("/v1/documents/boiler")):
        assert (response.status_code, response.json()["code"]) == (404, "not-found")
    answer = client.post("/v1/answers", json={"question": "Who serviced the boiler?"}).json()
    assert (answer["sources"], answer["abstained"]) == ([], True)
    assert add(client, id="boiler")["document"]["version"] == 2


def test_200_documents_at_once_are_all_accepted_and_all_trained(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    with ThreadPoolExecutor(16) as pool:
        accepted = list(
            pool.map(lambda n: add(client, f"Gate {n} is painted.", id=f"gate-{n}"), range(200))
        )
    with worker():
        ended = [wait_for(client, each["job"]["id"], 60) for each in accepted]
    assert {job["status"] for job in ended} == {"succeeded"}
    page = client.get("/v1/documents?limit=200").json()["documents"]
    assert [document["status"] for document in page] == ["ready"] * 200
    assert client.get("/v1/collections").json() == {
        "collections": [{"name": "default", "documents": 200}]
    }


def test_an_idempotency_key_gets_the_first_answer_again(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    def post(key: str, text: str = BOILER) -> Any:
        return client.post("/v1/documents", json={"text": text}, headers={"Idempotency-Key": key})

    first = post("one")
    with worker():
        wait_for(client, first.json()["job"]["id"])
    again = post("one")
    # Word for word, although the job has ended meanwhile.
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert post("one", "Another text.").json()["code"] == "idempotency-key-reused"
    assert post("x" * 256).status_code == 422
    assert post("two", "").status_code == 422
    # A refused request does not use up its key.
    assert post("two").status_code == 202
    # A document that was deleted since is taken in again.
    id = first.json()["document"]["id"]
    assert client.delete(f"/v1/documents/{id}").status_code == 204
    anew = post("one").json()
    assert anew["job"]["id"] != first.json()["job"]["id"]
    assert client.get(f"/v1/documents/{id}").status_code == 200
    assert post("one").json() == anew


def test_a_collection_goes_without_listing_the_store_for_each_document(
    client: TestClient,
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with worker():
        for number in range(6):
            wait_for(client, add(client, f"{BOILER} {number}", id=f"d{number}")["job"]["id"])
    names, listed = LocalBlobs.names, list[int]()

    def counted(self: LocalBlobs) -> list[str]:
        found = names(self)
        listed.append(len(found))
        return found

    monkeypatch.setattr(LocalBlobs, "names", counted)
    assert client.delete("/v1/collections/default").status_code == 204
    assert len(listed) < 6
    store = client.app.state.api.base.store  # type: ignore[attr-defined]
    assert store.stored() == {}


def test_what_is_left_of_a_deletion_that_breaks_off_stays_searchable(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        add(client, f"{BOILER} {number}", id=f"d{number}")
    api = client.app.state.api  # type: ignore[attr-defined]
    remove, asked = api.base.store.remove_document, list[str]()

    def breaking(collection: str, id: str, *rest: Any) -> Any:
        asked.append(id)
        if len(asked) == 3:
            raise RegistryUnavailable("Redis does not answer.")
        return remove(collection, id, *rest)

    monkeypatch.setattr(api.base.store, "remove_document", breaking)
    encoded: list[str] = []
    encode = LexicalEncoder.encode
    monkeypatch.setattr(
        LexicalEncoder, "encode", lambda self, texts: encoded.extend(texts) or encode(self, texts)
    )
    assert client.delete("/v1/collections/default").status_code == 503
    left = {each["id"] for each in client.get("/v1/documents").json()["documents"]}
    assert len(left) < 4
    assert encoded == []
    assert set(api.documents._retriever._index("default").document_ids()) == left
    assert client.delete("/v1/collections/default").status_code == 204


def test_uploads_leave_threads_for_all_else(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = client.app.state.taking_in  # type: ignore[attr-defined]
    begun, go_on = threading.Event(), threading.Event()
    encode = LexicalEncoder.encode

    def slowly(self: Any, texts: Any) -> Any:
        begun.set()
        assert go_on.wait(30)
        return encode(self, texts)

    limiter.total_tokens = 1
    monkeypatch.setattr(LexicalEncoder, "encode", slowly)
    with ThreadPoolExecutor(3) as threads:
        sent = [threads.submit(add, client, f"{BOILER} {n}", id=f"d{n}") for n in range(3)]
        try:
            assert begun.wait(30)
            assert limiter.borrowed_tokens == 1
            assert client.get("/health/ready").status_code == 200
        finally:
            go_on.set()
        assert {each.result()["document"]["id"] for each in sent} == {"d0", "d1", "d2"}


def test_a_document_is_read_back_as_it_was_understood(client: TestClient) -> None:
    page = b"<h1>The flat</h1><script>no()</script><p>The boiler &amp; the stove.</p>"
    files = {"file": ("flat.html", page, "text/html")}
    sent = client.post("/v1/documents", files=files, data={"id": "flat"}).json()
    text = client.get("/v1/documents/flat/text")
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.text == "The flat\n\nThe boiler & the stove."
    assert text.headers["etag"] == client.get("/v1/documents/flat").headers["etag"]
    assert len(text.text) == sent["document"]["characters"]
    assert client.get("/v1/documents/nowhere/text").status_code == 404


def test_one_document_is_trained_anew(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    with worker():
        first = add(client, BOILER, id="boiler")["job"]["id"]
        wait_for(client, first)
        before = client.get("/v1/documents/boiler").json()["cartridge"]["id"]
    answer = client.post("/v1/documents/boiler/train")
    assert answer.status_code == 202
    job = answer.json()["job"]
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["id"] != first
    assert answer.json()["document"]["cartridge"]["id"] == before  # it answers until then
    assert client.post("/v1/documents/boiler/train").json()["job"]["id"] == job["id"]
    with worker():
        assert wait_for(client, job["id"])["result"]["published"]
    assert client.post("/v1/documents/nowhere/train").status_code == 404
