"""/v1/jobs and training a collection: progress, events, cancelling, failing."""

import json
import time
from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient

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


def test_training_a_collection_is_one_job_over_its_documents(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    with worker():
        for number in range(3):
            wait_for(client, add(client, f"Text {number}.", f"d{number}"))
        before = client.get("/v1/documents/d0").json()
        response = client.post("/v1/collections/default/train")
        assert response.status_code == 202
        job = response.json()["job"]
        assert response.headers["location"] == f"/v1/jobs/{job['id']}"
        assert (job["kind"], len(job["children"])) == ("train-collection", 3)
        ended = wait_for(client, job["id"])
    assert (ended["status"], ended["progress"]) == ("succeeded", 1.0)
    assert ended["result"]["documents"]["succeeded"] == 3
    after = client.get("/v1/documents/d0").json()
    assert after["job"] != before["job"]
    # The new version replaced the old one.
    assert after["cartridge"]["id"] != before["cartridge"]["id"]


def test_training_a_collection_does_not_start_twice_what_is_under_way(client: TestClient) -> None:
    job = add(client, "Text.", "d")
    parent = client.post("/v1/collections/default/train").json()["job"]
    assert parent["children"] == [job]
    cancelled = client.delete(f"/v1/jobs/{parent['id']}").json()
    assert cancelled["status"] == "cancelled"
    assert client.get(f"/v1/jobs/{job}").json()["status"] == "cancelled"


def test_what_is_not_there_is_a_404(client: TestClient) -> None:
    for response in (
        client.get("/v1/jobs/nothing"),
        client.get("/v1/jobs/nothing/events"),
        client.delete("/v1/jobs/nothing"),
        client.post("/v1/collections/nothing/train"),
    ):
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"
