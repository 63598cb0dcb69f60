"""/v1/jobs and training a collection: progress, events, cancelling, failing."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient

from app.foundation import open_foundation
from app.settings import Settings
from tests.app.app_fakes import make_parts

SLOW = "The boiler was serviced. SLOW."


def add(client: TestClient, text: str, id: str) -> str:
    response = client.post("/v1/documents", json={"text": text, "id": id})
    return str(response.json()["job"]["id"])


def wait_until_running(client: TestClient, job: str) -> None:
    deadline = time.monotonic() + 10
    while client.get(f"/v1/jobs/{job}").json()["progress"] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_events_tell_of_every_stage_until_the_end(
    client: TestClient, worker: Callable[..., Any]
) -> None:
    job = add(client, SLOW, "boiler")
    with worker():
        text = client.get(f"/v1/jobs/{job}/events").text
    data = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert data[0]["status"] in ("queued", "running")
    assert data[-1]["status"] == "succeeded"
    progress = [each["progress"] for each in data]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    running = [each for each in data if each["stage"] == "distillation"]
    assert len(running) > 2
    assert running[-1]["eta_s"] < 5


def test_a_queued_job_is_cancelled_at_once(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    job = add(client, SLOW, "boiler")
    assert client.delete(f"/v1/jobs/{job}").json()["status"] == "cancelled"
    with worker():
        wait_for(client, add(client, "Another text.", "other"))
    assert client.get(f"/v1/jobs/{job}").json()["status"] == "cancelled"
    assert client.get("/v1/documents/boiler").json()["status"] == "text"


def test_sending_a_text_again_whose_training_was_cancelled_starts_it_again(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    job = add(client, "A text.", "d")
    client.delete(f"/v1/jobs/{job}")
    again = add(client, "A text.", "d")
    assert again != job
    with worker():
        assert wait_for(client, again)["status"] == "succeeded"
    assert client.get("/v1/documents/d").json()["version"] == 1


def test_a_running_job_stops_at_its_next_step(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    job = add(client, SLOW, "boiler")
    with worker():
        wait_until_running(client, job)
        assert client.delete(f"/v1/jobs/{job}").status_code == 202
        ended = wait_for(client, job)
    assert (ended["status"], ended["result"]) == ("cancelled", None)
    assert ended["progress"] < 1
    # What has ended stays as it is.
    assert client.delete(f"/v1/jobs/{job}").json()["status"] == "cancelled"


def test_a_document_deleted_while_it_is_trained_is_not_published(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    job = add(client, SLOW, "boiler")
    with worker():
        wait_until_running(client, job)
        assert client.delete("/v1/documents/boiler").status_code == 204
        assert wait_for(client, job)["status"] == "cancelled"
    assert client.get("/v1/documents/boiler").status_code == 404


def test_a_cartridge_that_fails_its_check_is_not_served(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    with worker():
        ended = wait_for(client, add(client, "A VAGUE text.", "vague"))
    assert ended["status"] == "succeeded"
    assert ended["result"]["published"] is False
    assert ended["result"]["reason"] == "Too few held-out answers are right."
    document = client.get("/v1/documents/vague").json()
    assert (document["status"], document["cartridge"]) == ("failed", None)


def test_a_job_that_cannot_be_done_fails_at_once_and_says_why(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    with worker():
        refused = wait_for(client, add(client, "UNTRAINABLE", "refused"))
        broken = wait_for(client, add(client, "BROKEN", "broken"))
    assert (refused["status"], broken["status"]) == ("failed", "failed")
    assert refused["error"] == "The document cannot be trained on; answer it from its text."
    assert "secret" not in broken["error"]
    assert client.get("/v1/documents/broken").json()["status"] == "failed"


def test_training_a_collection_is_one_job_that_publishes_what_passes(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    texts = {"d0": "Text 0.", "d1": "Text 1.", "vague": "VAGUE.", "odd": "UNTRAINABLE."}
    with worker():
        for id, text in texts.items():
            wait_for(client, add(client, text, id))
        before = client.get("/v1/documents/d0").json()
        response = client.post("/v1/collections/default/train")
        assert response.status_code == 202
        job = response.json()["job"]
        assert response.headers["location"] == f"/v1/jobs/{job['id']}"
        assert (job["kind"], job["document_id"]) == ("train-collection", None)
        ended = wait_for(client, job["id"])
    assert (ended["status"], ended["progress"]) == ("succeeded", 1.0)
    result = ended["result"]
    assert (result["published"], result["unpublished"]) == (2, 2)
    assert result["documents"]["vague"]["reason"] == "Too few held-out answers are right."
    assert "cannot be trained" in result["documents"]["odd"]["reason"]
    # Questions of self-study are looked up in the collection's own index.
    assert "d0" in result["documents"]["d0"]["figures"]["brought"]
    after = client.get("/v1/documents/d0").json()
    assert after["cartridge"]["id"] == result["documents"]["d0"]["cartridge_id"]
    # The new version replaced the old one.
    assert after["cartridge"]["id"] != before["cartridge"]["id"]


def test_a_document_that_changed_under_way_keeps_what_it_has(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    for id in ("d0", "d1", "d2"):
        add(client, f"Text of {id}. SLOW.", id)
    for id in ("d0", "d1", "d2"):
        client.delete(f"/v1/jobs/{client.get(f'/v1/documents/{id}').json()['job']}")
    with worker():
        job = client.post("/v1/collections/default/train").json()["job"]["id"]
        wait_until_running(client, job)
        newer = add(client, "Another text.", "d2")
        client.delete("/v1/documents/d1")
        ended = wait_for(client, job)
        wait_for(client, newer)
    published = {id: said["published"] for id, said in ended["result"]["documents"].items()}
    assert published == {"d0": True, "d1": False, "d2": False}
    assert "newer version" in ended["result"]["documents"]["d2"]["reason"]
    assert client.get("/v1/documents/d1").status_code == 404


def test_training_a_collection_is_not_started_twice_and_can_be_cancelled(
    client: TestClient,
    settings: Settings,
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
) -> None:
    for id in ("d0", "d1"):
        client.delete(f"/v1/jobs/{add(client, f'{id}. SLOW.', id)}")
    base = open_foundation(settings, make_parts())
    job = base.jobs.open_collection("default", "unsent").id  # the API died before it was sent
    assert job not in base.queue.job_ids()
    assert client.post("/v1/collections/default/train").json()["job"]["id"] == job
    assert job in base.queue.job_ids()
    base.close()
    with worker():
        wait_until_running(client, job)
        client.delete(f"/v1/jobs/{job}")
        assert wait_for(client, job)["status"] == "cancelled"
    assert client.get("/v1/documents/d0").json()["status"] == "text"
    assert client.post("/v1/collections/default/train").json()["job"]["id"] != job


def test_a_document_alone_in_its_collection_is_trained_for_itself(client: TestClient) -> None:
    job = add(client, "Text.", "d")
    again = client.post("/v1/collections/default/train").json()["job"]
    assert (again["id"], again["kind"], again["document_id"]) == (job, "train", "d")


def test_a_training_whose_check_did_not_pass_can_be_done_again(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    job = add(client, "A VAGUE text.", "d")
    with worker():
        ended = wait_for(client, job)
        assert (ended["status"], ended["result"]["published"]) == ("succeeded", False)
        assert client.get("/v1/documents/d").json()["status"] == "failed"
        again = client.post(f"/v1/jobs/{job}/retry")
        assert again.status_code == 202
        assert again.json()["job"]["id"] != job
        assert not wait_for(client, again.json()["job"]["id"])["result"]["published"]
        passed = add(client, "A clear text.", "e")
        wait_for(client, passed)
        assert client.post(f"/v1/jobs/{passed}/retry").status_code == 409


def test_a_retry_whose_message_was_lost_is_sent_again(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = add(client, "A text.", "d")
    client.delete(f"/v1/jobs/{job}")
    api = client.app.state.api  # type: ignore[attr-defined]

    def away(_: str) -> None:
        raise redis.ConnectionError("away")

    with monkeypatch.context() as broken:
        broken.setattr(api.documents._queue, "send", away)
        assert client.post(f"/v1/jobs/{job}/retry").status_code == 503
    again = client.post(f"/v1/jobs/{job}/retry").json()["job"]
    assert again["id"] != job
    assert again["id"] in api.base.queue.job_ids()


def test_a_collections_job_whose_message_was_lost_is_sent_again(
    client: TestClient,
    settings: Settings,
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
) -> None:
    for id in ("d0", "d1"):
        client.delete(f"/v1/jobs/{add(client, f'Text of {id}.', id)}")
    base = open_foundation(settings, make_parts())
    job = base.jobs.open_collection("default", "lost").id
    assert base.reconciler.run().requeued == 1
    assert base.reconciler.run().requeued == 0
    base.close()
    with worker():
        assert wait_for(client, job)["result"]["published"] == 2


def test_what_is_not_there_is_a_404(client: TestClient) -> None:
    for response in (
        client.get("/v1/jobs/nothing"),
        client.get("/v1/jobs/nothing/events"),
        client.delete("/v1/jobs/nothing"),
        client.post("/v1/collections/nothing/train"),
    ):
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"
