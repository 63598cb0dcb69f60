"""Job records: one per document version, and once ended never changed."""

import dataclasses
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

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
        for name, value in (("version", 2), ("sha256", "2" * 64), ("reader_fingerprint", "3" * 64))
    ]
    ids = {jobs.open(subject).id for subject in subjects}
    ids.add(jobs.open(SUBJECT, "again").id)
    assert len(ids) == 5


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


@pytest.mark.parametrize(
    ("ends", "status", "progress"),
    [
        (["queued", "queued"], "queued", 0.0),
        (["succeeded", "queued"], "running", 0.5),
        (["running", "queued"], "running", 0.25),
        (["succeeded", "failed"], "failed", 1.0),
        (["succeeded", "cancelled"], "cancelled", 1.0),
        (["succeeded", "succeeded"], "succeeded", 1.0),
    ],
)
def test_a_collections_job_is_as_far_as_its_documents(
    jobs: Jobs, ends: list[str], status: str, progress: float
) -> None:
    children = []
    for number, end in enumerate(ends):
        child = jobs.open(dataclasses.replace(SUBJECT, document_id=f"d{number}"))
        children.append(child.id)
        if end == "running":
            jobs.start(child.id)
            jobs.report(child.id, 0.5, "distillation", None)
        elif end == "succeeded":
            jobs.succeed(child.id, {"published": True})
        elif end == "failed":
            jobs.fail(child.id, "It failed.")
        elif end == "cancelled":
            jobs.cancel(child)
    parent = jobs.open_collection("default", children, uuid.uuid4().hex)
    assert (parent.status, parent.progress) == (status, progress)
    assert parent.children == tuple(children)


ACTIONS = ("start", "report", "give_back", "succeed", "fail", "cancel", "end_cancelled", "open")


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
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
