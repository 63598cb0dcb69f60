"""/v1/reports: comparisons of ways of answering, over a collection and questions."""

import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from app.keys import Access
from app.problems import Problem, not_found
from app.report_arms import OWN_CARTRIDGES
from app.report_files import FORMS, ReportFolder
from app.routes.outputs import job_out
from app.routes.parts import (
    CollectionName,
    Cursor,
    IdempotencyKey,
    Wired,
    from_cursor,
    own_key,
    to_cursor,
)
from app.schemas import JobAccepted, ReportIn, ReportOut, ReportPage
from app.security import Reading, Writing, require_collection
from app.wiring import Api

router = APIRouter(tags=["reports"])

_MOST_UNFINISHED = 20
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: {} for media_type in FORMS}}
}


@router.post("/reports", status_code=202)
def order_report(
    api: Wired,
    access: Writing,
    response: Response,
    body: ReportIn,
    idempotency_key: IdempotencyKey = None,
) -> JobAccepted:
    """Ask every question by every arm and compare, as a job; the report has the job's id.

    With an `Idempotency-Key`, sending again gets the first answer, and no second report.
    """
    require_collection(access, body.collection)
    if not api.documents.has_collection(body.collection):
        raise not_found(f"collection {body.collection}")
    own = sorted(OWN_CARTRIDGES & {*body.arms})
    if own and not api.mounts_any:
        raise Problem(
            422,
            "arm-unavailable",
            f"{', '.join(own)}: cartridges of the report's own cannot be mounted by the vLLM server that "
            "answers here; leave the arm out.",
        )
    accepted = api.idempotency.once(
        own_key(access, idempotency_key),
        body.model_dump(),
        JobAccepted,
        lambda: _ordered(api, body),
    )
    response.headers["Location"] = f"/v1/jobs/{accepted.job.id}"
    return accepted


def _ordered(api: Api, body: ReportIn) -> JobAccepted:
    api.base.jobs.ping()  # before anything is written
    named = {id for question in body.questions for id in question.documents}
    if absent := sorted(id for id in named if not api.documents.has(body.collection, id)):
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        raise Problem(
            422,
            "unknown-documents",
            f"Collection {body.collection} has no document {', '.join(absent[:5])}{more}; correct the "
            "questions' documents.",
        )
    # Those that failed or were cancelled are not made either, and wait for nobody.
    ordered = [each.id for each in api.reports.of_collection(body.collection) if not each.finished]
    unfinished = sum(not job.finished for job in api.base.jobs.get_many(ordered))
    if unfinished >= _MOST_UNFINISHED:
        raise Problem(
            429,
            "too-many-reports",
            f"{unfinished} reports over this collection are not finished; wait, or cancel one.",
            headers={"Retry-After": "60"},
        )
    id = "r" + uuid.uuid4().hex[:31]
    created = datetime.now(UTC).isoformat(timespec="seconds")
    api.reports.create(id, body.model_dump() | {"created_at": created})
    job = api.base.jobs.open_report(body.collection, id)
    api.base.queue.send(job.id)
    return JobAccepted(job=job_out(job))


@router.get("/reports")
def list_reports(
    api: Wired,
    access: Reading,
    collection: CollectionName = "default",
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ReportPage:
    """The reports over a collection, newest first, a page at a time."""
    require_collection(access, collection)
    last = from_cursor(cursor)
    found: list[tuple[str, ReportOut]] = []
    for folder in api.reports.of_collection(collection):
        with suppress(FileNotFoundError):  # deleted meanwhile
            place = folder.place
            if last is None or place < last:
                found.append((place, _out(folder)))
        if len(found) > limit:
            break
    shown, more = found[:limit], len(found) > limit
    return ReportPage(
        reports=[report for _, report in shown],
        next_cursor=to_cursor(shown[-1][0]) if more else None,
    )


@router.get("/reports/{id}", responses=_CONTENT, response_class=Response)
def get_report(
    api: Wired,
    access: Reading,
    id: str,
    accept: Annotated[str, Header()] = "application/json",
) -> Response:
    """A finished report as JSON, Markdown or one self-contained HTML page, as `Accept` asks."""
    folder = _found(api, access, id)
    wanted = [part.partition(";")[0].strip() for part in accept.split(",")]
    media_type = next((one for one in wanted if one in FORMS), None)
    if media_type is None:
        media_type = "application/json"
    form = folder.form(media_type)
    if form is None:
        raise Problem(
            409, "not-finished", f"The report is not finished; follow it at /v1/jobs/{id}."
        )
    return Response(form, media_type=media_type, headers=_headers(media_type))


@router.delete("/reports/{id}", status_code=204)
def delete_report(api: Wired, access: Writing, id: str) -> None:
    """Remove a report with every answer in it, and stop its job."""
    folder = _found(api, access, id)
    api.base.jobs.forget_report(folder.collection, id)
    api.reports.remove(folder)


def _headers(media_type: str) -> dict[str, str]:
    if media_type != "text/html":
        return {}
    # The page brings its own styles and pictures, and needs nothing else.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
    return {"Content-Security-Policy": policy}


def _found(api: Api, access: Access, id: str) -> ReportFolder:
    folder = api.reports.find(id)
    if folder is None or not access.sees(folder.collection):
        raise not_found(f"report {id[:64]}")
    return folder


def _out(folder: ReportFolder) -> ReportOut:
    request = folder.request()
    return ReportOut(
        id=folder.id,
        title=request["title"],
        collection=request["collection"],
        created_at=request["created_at"],
        questions=len(request["questions"]),
        arms=request["arms"],
        finished=folder.finished,
    )
