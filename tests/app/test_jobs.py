"""Job records: one per document version, and once ended never changed."""

import dataclasses
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.broker import JobQueue, make_broker, register
from app.jobs import Job, Jobs, Subject
from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.registry import connect

SUBJECT = Subject("default", "boiler", 1, "0" * 64, "1" * 64)


@pytest.fixture(scope="session")
def client(redis_server: EmbeddedRedis) -> Iterator[Any]:
    client = connect(redis_server.url)
    yield client
    client.close()


@pytest.fixture
def jobs(client: Any, prefixes: Iterator[str]) -> Jobs:
    return Jobs(client, next(prefixes))


def get(jobs: Jobs, id: str) -> Job:
    job = jobs.get(id)
    assert job is not None
    return job


def test_opening_twice_is_one_job(jobs: Jobs) -> None:
    first = jobs.open(SUBJECT)
    assert jobs.start(first.id)
    jobs.report(first.id, 0.5, "distillation", 3.0)
    again = jobs.open(SUBJECT)
    assert (again.id, again.status, again.progress, again.eta_s) == (first.id, "running", 0.5, 3.0)
    assert again.subject == SUBJECT
    assert jobs.last_of("default", ["boiler", "other"]) == {"boiler": again}


def test_every_difference_of_the_subject_is_another_job(jobs: Jobs) -> None:
    subjects = [SUBJECT] + [
        dataclasses.replace(SUBJECT, **{name: value})
        for name, value in (("sha256", "2" * 64), ("reader_fingerprint", "3" * 64), ("version", 2))
    ]
    ids = {jobs.open(SUBJECT, "again").id} | {jobs.open(subject).id for subject in subjects}
    assert len(ids) == 5


def test_a_job_that_ends_its_workers_fails_in_the_end(jobs: Jobs) -> None:
    job = jobs.open(SUBJECT)
    for far in (0.1, 0.2):  # each worker gets further than the one before
        for _ in range(5):
            assert jobs.start(job.id)
        jobs.report(job.id, far, "distillation", None)
    for _ in range(5):
        assert jobs.start(job.id)
        jobs.report(job.id, 0.2, "distillation", None)
    # A worker that gives it back has not ended by it.
    jobs.give_back(job.id)
    for _ in range(5):
        assert jobs.start(job.id)
    assert not jobs.start(job.id)
    ended = get(jobs, job.id)
    assert ended.status == "failed"
    assert "more memory" in (ended.error or "")
    assert not jobs.start(job.id)
    again = jobs.open(SUBJECT, "again")
    assert jobs.start(again.id)


@pytest.mark.parametrize("known", [True, False])
def test_an_older_version_that_comes_late_leaves_the_newer_ones_job(
    jobs: Jobs, known: bool
) -> None:
    if known:
        jobs.open(SUBJECT)
    newer = jobs.open(dataclasses.replace(SUBJECT, version=2))
    for attempt in ("again", "once more"):
        assert jobs.open(SUBJECT, attempt) == newer
    jobs.open(SUBJECT)
    assert get(jobs, newer.id).status == "queued"
    assert jobs.last_of("default", ["boiler"]) == {"boiler": newer}
    # Deleted, and put again: its versions go on, and what is known of the old ones does not hinder.
    jobs.forget("default", "boiler")
    assert jobs.open(dataclasses.replace(SUBJECT, version=3)).status == "queued"


def test_a_newer_version_stops_the_older_ones_job(jobs: Jobs) -> None:
    old = jobs.open(SUBJECT)
    jobs.start(old.id)
    new = jobs.open(dataclasses.replace(SUBJECT, version=2))
    assert jobs.cancel_requested(old.id)
    assert not jobs.cancel_requested(new.id)
    assert not jobs.start(old.id)
    assert get(jobs, old.id).status == "cancelled"


def test_forgetting_a_document_stops_its_job(jobs: Jobs) -> None:
    job = jobs.open(SUBJECT)
    jobs.forget("default", "boiler")
    jobs.forget("default", "boiler")
    assert get(jobs, job.id).status == "cancelled"
    assert jobs.last_of("default", ["boiler"]) == {}


def test_a_job_that_is_not_there(jobs: Jobs) -> None:
    assert jobs.get("nothing") is None
    assert not jobs.start("nothing")
    jobs.report("nothing", 0.5, "x", None)
    jobs.succeed("nothing", {})
    assert jobs.get("nothing") is None


def test_a_newer_job_of_a_collection_stops_the_older(jobs: Jobs) -> None:
    first = jobs.open_collection("default", "one")
    assert (first.kind, first.status, first.subject) == ("train-collection", "queued", None)
    assert jobs.open_collection("default", "one").id == first.id
    jobs.start(first.id)
    second = jobs.open_collection("default", "two")
    other = jobs.open_collection("manuals", "one")
    assert jobs.cancel_requested(first.id)
    assert not jobs.cancel_requested(second.id)
    assert {name: job.id for name, job in jobs.last_of_collections().items()} == {
        "default": second.id,
        "manuals": other.id,
    }


def test_who_only_sends_is_no_worker_that_died(client: Any, redis_server: EmbeddedRedis) -> None:
    """dramatiq looks for a dead worker's messages among all keys of Redis."""
    namespace = f"heard-{uuid.uuid4().hex[:12]}"
    sending, working = (make_broker(redis_server.url, namespace=namespace) for _ in range(2))
    register(working, lambda job_id: None)
    heartbeats = f"{namespace}:__heartbeats__"
    JobQueue(sending).send("a")
    assert client.zcard(heartbeats) == 0
    JobQueue(working).send("b")
    assert client.zcard(heartbeats) == 1
    assert JobQueue(sending).job_ids() == {"a", "b"}


ACTIONS = ("start", "report", "give_back", "succeed", "fail", "cancel", "end_cancelled", "open")


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(st.sampled_from(ACTIONS), max_size=12))
def test_what_has_ended_stays_as_it_is(client: Any, actions: list[str]) -> None:
    jobs = Jobs(client, f"hypothesis:{uuid.uuid4().hex[:12]}:")
    job = jobs.open(SUBJECT)
    for action in actions:
        before = get(jobs, job.id)
        match action:
            case "start":
                assert jobs.start(job.id) <= (not before.finished)
            case "report":
                jobs.report(job.id, 0.5, "distillation", 1.0)
            case "give_back":
                jobs.give_back(job.id, "The disk is full.")
            case "succeed":
                jobs.succeed(job.id, {"published": True})
            case "fail":
                jobs.fail(job.id, "It failed.")
            case "cancel":
                jobs.cancel(before)
            case "end_cancelled":
                jobs.end_cancelled(job.id)
            case "open":
                assert jobs.open(SUBJECT).id == job.id
        after = get(jobs, job.id)
        assert 0 <= after.progress <= 1
        if before.finished:
            assert after == before
