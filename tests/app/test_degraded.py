"""Redis away, a full disk: a clear answer, and nothing that was accepted is lost."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient

from app import worker
from app.foundation import open_foundation, training_settings
from app.reconcile import subject_of
from app.settings import Settings
from app.storage import open_retriever
from app.tasks import Report, Trainer
from app.wiring import open_worker
from cartridge_store.blobs import LocalBlobs
from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.errors import StorageFull as BlobsFull
from cartridge_store.errors import StoreError, StoreUnavailable
from inference.requests import EngineClosed, EngineUnavailable
from retrieval.errors import StorageFull
from retrieval.index import VectorIndex
from tests.app.app_fakes import (
    FakeReader,
    fake_distil,
    fake_distil_collection,
    make_parts,
    screening_of,
)

TEXT = "The boiler of the garden flat was serviced by Franz Huber."


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "own") as server:
        yield server


def test_without_redis_questions_are_answered_and_documents_wait(
    serve: Callable[..., Any],
    settings: Settings,
    own_redis: EmbeddedRedis,
    wait_for: Callable[..., Any],
    worker: Callable[..., Any],
) -> None:
    with serve(redis_url=own_redis.url) as client:
        client.post("/v1/documents", json={"id": "boiler", "text": TEXT})
        own_redis.stop()
        answer = client.post("/v1/answers", json={"question": "Who serviced the boiler?"})
        assert answer.status_code == 200
        assert answer.json()["sources"][0]["via"] == "text"
        assert client.get("/v1/documents/boiler").json()["status"] == "text"
        assert len(client.get("/v1/documents").json()["documents"]) == 1
        for response in (
            client.post("/v1/documents", json={"id": "new", "text": "New."}),
            client.delete("/v1/documents/boiler"),
            client.get("/v1/jobs/some"),
            client.post("/v1/collections/default/train"),
        ):
            assert response.status_code == 503
            assert response.json()["code"] == "unavailable"
            assert response.headers["retry-after"] == "5"
        keyed = client.post(
            "/v1/documents", json={"text": "New."}, headers={"Idempotency-Key": "k"}
        )
        assert keyed.status_code == 503
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["code"]) == (503, "not-ready")
        assert set(ready.json()["dependencies"]) == {
            "reader",
            "redis",
            "storage",
            "cartridges",
        }
        assert ready.json()["dependencies"]["redis"] != "ok"
        assert client.get("/health/live").status_code == 200
        # Nothing of the refused document was kept, nothing of the other one was lost.
        assert client.get("/v1/documents/new").status_code == 404
        assert client.get("/v1/documents/boiler").status_code == 200
        own_redis.start()
        assert client.post("/v1/documents", json={"id": "new", "text": "New."}).status_code == 202


def test_cartridges_known_before_answer_without_redis(
    serve: Callable[..., Any], settings: Settings, own_redis: EmbeddedRedis
) -> None:
    with serve(redis_url=own_redis.url) as client:
        client.post("/v1/documents", json={"id": "boiler", "text": TEXT})
        chosen = settings.model_copy(update={"redis_url": own_redis.url})
        base = open_foundation(chosen, make_parts())
        document = base.library.get("default", "boiler")
        job = base.jobs.open(subject_of(document, base.reader))
        _trainer(chosen, base).run(job.id)
        base.close()
        assert client.get("/v1/documents/boiler").json()["status"] == "ready"
        own_redis.stop()
        answer = client.post("/v1/answers", json={"question": "Who serviced the boiler?"}).json()
        assert answer["sources"][0]["via"] == "cartridge"


def test_a_service_starts_though_an_index_cannot_be_written(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve() as client:
        client.post("/v1/documents", json={"id": "boiler", "text": TEXT})
        # Left by a crash: stored and not indexed yet.
        for collection in ("default", "other"):
            client.app.state.api.base.library.put(collection, "new", None, f"{TEXT} New.")

    def full(*_: object, **__: object) -> None:
        raise StorageFull("There is no room left to write journal.")

    monkeypatch.setattr(VectorIndex, "add_many", full)
    with serve() as client:
        answer = client.post("/v1/answers", json={"question": "Who serviced the boiler?"})
        assert [each["document_id"] for each in answer.json()["sources"]] == ["boiler"]


@pytest.mark.parametrize("where", ["library", "index"])
def test_a_full_disk_is_a_507_and_sending_again_completes(
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    wait_for: Callable[..., Any],
    worker: Callable[..., Any],
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageFull("There is no room left to write /a/secret/path.")

    target = "retrieval.documents.replace_file"
    if where == "index":
        target = "retrieval.retriever.Retriever.index_document"
    with monkeypatch.context() as patch:
        patch.setattr(target, full)
        response = client.post("/v1/documents", json={"id": "boiler", "text": TEXT})
    assert (response.status_code, response.json()["code"]) == (507, "storage-full")
    assert response.headers["content-type"] == "application/problem+json"
    assert "secret" not in response.text
    again = client.post("/v1/documents", json={"id": "boiler", "text": TEXT})
    assert again.status_code == 202
    answer = client.post("/v1/answers", json={"question": "Who serviced the boiler?"}).json()
    assert answer["sources"][0]["document_id"] == "boiler"
    with worker():
        assert wait_for(client, again.json()["job"]["id"])["status"] == "succeeded"


@pytest.mark.parametrize("kind", [BlobsFull, StoreUnavailable])
def test_training_waits_for_the_store_and_for_room_in_it(
    kind: type[StoreError],
    client: TestClient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[..., Any],
    worker: Callable[..., Any],
) -> None:
    put, tries = LocalBlobs.put, []

    def full_at_first(self: LocalBlobs, name: str, data: bytes) -> None:
        tries.append(name)
        if len(tries) < 2:
            raise kind("Could not write: no space left; free some space and try again.")
        put(self, name, data)

    monkeypatch.setattr(LocalBlobs, "put", full_at_first)
    job = client.post("/v1/documents", json={"id": "boiler", "text": TEXT}).json()["job"]["id"]
    with worker():
        assert wait_for(client, job)["status"] == "succeeded"
    assert len(tries) == 2
    assert client.get("/v1/documents/boiler").json()["status"] == "ready"


def test_on_its_last_try_a_job_without_room_fails_with_the_reason(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: LocalBlobs, name: str, data: bytes) -> None:
        raise BlobsFull("Could not write: free some space and try again.")

    monkeypatch.setattr(LocalBlobs, "put", full)
    base = open_foundation(settings, make_parts())
    document, _ = base.library.put("default", "boiler", None, TEXT)
    job = base.jobs.open(subject_of(document, base.reader))
    trainer = _trainer(settings, base)
    with pytest.raises(BlobsFull):
        trainer.run(job.id, last_try=False)
    waiting = base.jobs.get(job.id)
    assert waiting is not None
    assert (waiting.status, waiting.error is not None) == ("queued", True)
    with pytest.raises(BlobsFull):
        trainer.run(job.id, last_try=True)
    failed = base.jobs.get(job.id)
    assert failed is not None
    assert failed.status == "failed"
    assert "free some space" in (failed.error or "")
    base.close()


def test_a_job_whose_folder_cannot_be_made_fails_on_its_last_try(settings: Settings) -> None:
    base = open_foundation(settings, make_parts())
    document, _ = base.library.put("default", "boiler", None, TEXT)
    job = base.jobs.open(subject_of(document, base.reader))
    trainer = _trainer(settings, base)
    folder = base.work.folder(job.id)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way")
    for last_try, status in ((False, "queued"), (True, "failed")):
        with pytest.raises(StorageFull):
            trainer.run(job.id, last_try=last_try)
        now = base.jobs.get(job.id)
        assert now is not None
        assert now.status == status
    assert "free disk space" in (now.error or "")
    base.close()


def test_a_job_does_not_say_where_the_server_is_that_it_waits_for(settings: Settings) -> None:
    def away(*_: object) -> dict[str, Any]:
        raise EngineUnavailable(
            "vLLM at http://user:key@inside:8001 does not answer; start it again."
        )

    base = open_foundation(settings, make_parts())
    job = base.jobs.open_report("default", "r" + "1" * 31)
    trainer = _trainer(settings, base, away)
    for last_try, status in ((False, "queued"), (True, "failed")):
        with pytest.raises(EngineUnavailable):
            trainer.run(job.id, last_try=last_try)
        now = base.jobs.get(job.id)
        assert now is not None
        assert (now.status, "inside" in (now.error or "")) == (status, False)
        assert "cannot be reached" in (now.error or "")
    base.close()


def test_a_report_whose_engine_was_closed_under_it_is_given_back(settings: Settings) -> None:
    base = open_foundation(settings, make_parts())
    stop = threading.Event()
    again: list[str] = []

    def closing(*_: Any) -> dict[str, Any]:
        stop.set()  # this process is to end, and its engine was not waited for
        raise EngineClosed("The engine was shut down before this was answered.")

    job = base.jobs.open_report("default", "r" * 32)
    _trainer(settings, base, closing, stop=stop, send_again=again.append).run(job.id)
    now = base.jobs.get(job.id)
    assert now is not None
    assert (now.status, again) == ("queued", [job.id])
    # One that closes while all else goes on is a failure.
    _trainer(settings, base, closing, stop=_Never()).run(job.id)
    now = base.jobs.get(job.id)
    assert now is not None
    assert now.status == "failed"
    base.close()


class _Never(threading.Event):
    def set(self) -> None:
        pass


def test_after_an_outage_jobs_are_looked_for_once_more_when_their_messages_are_gone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, runs = [1_000.0], list[float]()
    away = True
    parts = open_worker(settings, make_parts())

    def run() -> None:
        if away:
            raise redis.ConnectionError("away")
        runs.append(now[0])

    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(parts.base.reconciler, "run", run)
    monkeypatch.setattr(parts.base.reconciler, "resend", lambda: 0)
    monkeypatch.setattr(parts.base.reconciler, "is_due", lambda: False)
    watch = worker._Watch(parts, 3_600)
    watch.look()
    away = False
    for _ in range(120):
        now[0] += 1
        watch.look()
    first, second = runs
    # A consumer that could not say that its message is done says so within five seconds.
    assert second - first == pytest.approx(30, abs=2)
    parts.close()


def _trainer(
    settings: Settings, base: Any, report: Report = lambda *_: {}, **changes: Any
) -> Trainer:
    chosen: dict[str, Any] = {"stop": threading.Event(), "send_again": lambda _: None} | changes
    return Trainer(
        tally=base.tally,
        report=report,
        shelf=base.shelf,
        library=base.library,
        retriever=lambda: open_retriever(settings, make_parts().encoder(), base.library),
        store=base.store,
        jobs=base.jobs,
        reader=FakeReader(),  # type: ignore[arg-type]
        distil=fake_distil,
        screening=screening_of(settings, base),
        join=lambda *_, **__: None,
        draft=lambda *_: None,
        distil_collection=fake_distil_collection,
        settings=training_settings(settings),
        work=base.work,
        **chosen,
    )
