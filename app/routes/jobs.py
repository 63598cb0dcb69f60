"""/v1/jobs: how far work is, as a resource and as a stream of events; and how to stop it."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator

import redis
from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from app.jobs import Job
from app.problems import not_found, problem_of
from app.routes.outputs import job_out
from app.routes.parts import Wired
from app.schemas import JobOut
from app.wiring import Api

router = APIRouter(tags=["jobs"])

_SECONDS_BETWEEN_LOOKS = 0.25


@router.get("/jobs/{id}")
def get_job(api: Wired, id: str) -> JobOut:
    """A job as it stands."""
    return job_out(_job(api, id))


@router.delete("/jobs/{id}", status_code=202)
def cancel_job(api: Wired, id: str) -> JobOut:
    """Ask a job to stop. A running one stops at its next step; one that has ended stays."""
    return job_out(api.base.jobs.cancel(_job(api, id)))


@router.get("/jobs/{id}/events", response_class=EventSourceResponse)
async def job_events(request: Request, api: Wired, id: str) -> EventSourceResponse:
    """Server-sent events named "job", one with every change; the last one has ended."""
    job = await run_in_threadpool(_job, api, id)
    return EventSourceResponse(_changes(api, job, request.app.state.closing))


async def _changes(api: Api, job: Job, closing: threading.Event) -> AsyncIterator[ServerSentEvent]:
    sent: Job | None = None
    while not closing.is_set():
        if job != sent:
            yield ServerSentEvent(job_out(job).model_dump_json(), event="job")
            sent = job
        if job.finished:
            return
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        try:
            job = await run_in_threadpool(_job, api, job.id)
        except Exception as error:
            if isinstance(error, redis.RedisError):
                continue
            body = problem_of(error).body()
            yield ServerSentEvent(json.dumps(body), event="error")
            return


def _job(api: Api, id: str) -> Job:
    job = api.base.jobs.get(id)
    if job is None:
        raise not_found(f"job {id[:64]}")
    return job
