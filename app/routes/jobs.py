"""/v1/jobs: how far work is, as a resource and as a stream of events; and how to stop it."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from heapq import merge
from typing import Annotated

import redis
from fastapi import APIRouter, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from app.jobs import Job, JobStatus
from app.keys import Access
from app.problems import Problem, not_found, problem_of
from app.routes.outputs import job_out
from app.routes.parts import CollectionName, Cursor, Wired, from_cursor, to_cursor
from app.schemas import JobAccepted, JobOut, JobPage
from app.security import Reading, Writing, require_collection
from app.wiring import Api

router = APIRouter(tags=["jobs"])

_SECONDS_BETWEEN_LOOKS = 0.25


@router.get("/jobs")
def list_jobs(
    api: Wired,
    access: Reading,
    collection: CollectionName | None = None,
    status: JobStatus | None = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> JobPage:
    """The last job of the collection and of each of its documents, and its reports', newest first, a page
    at a time; without a collection, of all that the key is for.

    With `status=failed`, those that ended badly: read why in `error`, and do them again with `retry`.
    """
    if collection is None:
        collections = [name for name in api.base.library.collections() if access.sees(name)]
    else:
        require_collection(access, collection)
        collections = [collection]
    listings = [api.base.jobs.listing(name) for name in collections]
    before = _place(from_cursor(cursor))
    found = [
        each
        for each in merge(*listings, reverse=True)
        if status in (None, each.status) and (before is None or each[:2] < before)
    ]
    shown = found[:limit]
    return JobPage(
        jobs=[job_out(job) for job in api.base.jobs.get_many(each.id for each in shown)],
        next_cursor=to_cursor(f"{shown[-1].created_at!r} {shown[-1].id}")
        if len(found) > limit
        else None,
    )


def _place(cursor: str | None) -> tuple[float, str] | None:
    """Where a list goes on: behind the job that was made then and has this id."""
    made, _, id = (cursor or "").partition(" ")
    with suppress(ValueError):
        return float(made), id
    return None


@router.post("/jobs/{id}/retry", status_code=202)
def retry_job(api: Wired, access: Writing, response: Response, id: str) -> JobAccepted:
    """Do a job that failed, was cancelled, or made a cartridge that did not pass its check, again.

    A report goes on where it was, as the same job; a training begins anew, as a new one.
    """
    job = _job(api, access, id)
    if not job.finished or (job.status == "succeeded" and not api.documents.lacks(job)):
        raise Problem(
            409, "not-failed", f"The job is {job.status}; only one that failed is done again."
        )
    again = api.documents.again(job)
    response.headers["Location"] = f"/v1/jobs/{again.id}"
    return JobAccepted(job=job_out(again))


@router.get("/jobs/{id}")
def get_job(api: Wired, access: Reading, id: str) -> JobOut:
    """A job as it stands."""
    return job_out(_job(api, access, id))


@router.delete("/jobs/{id}", status_code=202)
def cancel_job(api: Wired, access: Writing, id: str) -> JobOut:
    """Ask a job to stop. A running one stops at its next step; one that has ended stays."""
    return job_out(api.base.jobs.cancel(_job(api, access, id)))


@router.get("/jobs/{id}/events", response_class=EventSourceResponse)
async def job_events(request: Request, api: Wired, access: Reading, id: str) -> EventSourceResponse:
    """Server-sent events named "job", one with every change; the last one has ended."""
    job = await run_in_threadpool(_job, api, access, id)
    return EventSourceResponse(_changes(api, access, job, request.app.state.closing))


async def _changes(
    api: Api, access: Access, job: Job, closing: threading.Event
) -> AsyncIterator[ServerSentEvent]:
    sent: Job | None = None
    while not closing.is_set():
        if job != sent:
            yield ServerSentEvent(job_out(job).model_dump_json(), event="job")
            sent = job
        if job.finished:
            return
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        try:
            job = await run_in_threadpool(_job, api, access, job.id)
        except Exception as error:
            if isinstance(error, redis.RedisError):
                continue
            body = problem_of(error).body()
            yield ServerSentEvent(json.dumps(body), event="error")
            return


def _job(api: Api, access: Access, id: str) -> Job:
    job = api.base.jobs.get(id)
    # One of another key's collection is as one that never was.
    if job is None or not access.sees(job.collection):
        raise not_found(f"job {id[:64]}")
    return job
