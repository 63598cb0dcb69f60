"""Jobs: what long work is under way, what became of it, and whether it should stop; kept in Redis.

Knows documents by their ids and versions only. All of it may be lost: `reconcile` makes it again
from the documents on disk. A job's id follows from what it is to do, so that asking for the same
work twice is one job. Every change of more than one key, or that depends on what is there, is one
Lua script.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn, cast

import redis

from app import job_scripts as scripts

JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
JobKind = Literal["train", "train-collection", "report"]

UNFINISHED = frozenset({"queued", "running"})
_SUPERSEDED_SECONDS = 24 * 3600
_MOST_STARTS = 5
_KILLS = (
    f"Its worker has ended {_MOST_STARTS} times without getting further: it may need more memory than a "
    "worker has. See the worker's log, then send it again."
)


@dataclass(frozen=True)
class Subject:
    """The document version that a job trains, and the reader it trains for."""

    collection: str
    document_id: str
    version: int
    sha256: str
    reader_fingerprint: str


@dataclass(frozen=True)
class Job:
    """A job as it stands; `subject` is None for a job that trains all of its collection."""

    id: str
    kind: JobKind
    status: JobStatus
    progress: float
    stage: str
    eta_s: float | None
    error: str | None
    result: dict[str, Any] | None
    subject: Subject | None
    collection: str
    stopping: bool = False  # it was asked to stop, and will at its next step
    created_at: float | None = None  # seconds since 1970, as the others
    started_at: float | None = None  # the last time
    ended_at: float | None = None

    @property
    def finished(self) -> bool:
        return self.status not in UNFINISHED


class Entry(NamedTuple):
    """A job in a list of them, in the order of such lists."""

    created_at: float
    id: str
    status: JobStatus


class Jobs:
    """The jobs in Redis under keys that begin with `prefix`; every method raises `RedisError`.

    `client` decodes responses, as `cartridge_store.registry.connect` makes it.
    """

    def __init__(
        self, client: redis.Redis, prefix: str = "cq:", clock: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._clock = clock
        self._open = client.register_script(scripts.OPEN)
        self._start = client.register_script(scripts.START)
        self._report = client.register_script(scripts.REPORT)
        self._change = client.register_script(scripts.CHANGE)
        self._cancel = client.register_script(scripts.CANCEL)
        self._reopen = client.register_script(scripts.REOPEN)
        self._forget = client.register_script(scripts.FORGET)

    def open(self, subject: Subject, attempt: str = "") -> Job:
        """The queued job for this document version, or the one there is; that of a newer version where
        there is one.

        Older jobs of the document are asked to stop. `attempt` names one more training of a
        version that was trained before.
        """
        job_id = _job_id(subject, attempt)
        fields = _fields(
            id=job_id,
            kind="train",
            status="queued",
            collection=subject.collection,
            created_at=self._clock(),
            subject=vars(subject),
        )
        key, last = self._key(job_id), self._last_key(subject.collection)
        return self._opened(job_id, [key, last], subject.document_id, subject.version, fields)

    def open_collection(self, collection: str, attempt: str) -> Job:
        """A queued job that trains all of a collection; an older one is asked to stop."""
        job_id = "g" + hashlib.sha256(f"{collection}/{attempt}".encode()).hexdigest()[:31]
        fields = _fields(
            id=job_id,
            kind="train-collection",
            status="queued",
            collection=collection,
            created_at=self._clock(),
        )
        keys = [self._key(job_id), self._collections_key()]
        return self._opened(job_id, keys, collection, 0, fields)

    def open_report(self, collection: str, report_id: str) -> Job:
        """The queued job of a report, whose id it has."""
        fields = _fields(
            id=report_id,
            kind="report",
            status="queued",
            collection=collection,
            created_at=self._clock(),
        )
        keys = [self._key(report_id), self._reports_key(collection)]
        return self._opened(report_id, keys, report_id, 0, fields)

    def _opened(
        self, job_id: str, keys: Sequence[str], name: str, version: int, fields: Sequence[str]
    ) -> Job:
        """A job, which becomes the last one under a name of `keys` if that is of no newer version."""
        self._open(
            keys=keys,
            args=[
                name,
                self._key(""),
                job_id,
                _SUPERSEDED_SECONDS,
                version,
                self._clock(),
                *fields,
            ],
        )
        found = self.get(job_id)
        if found is None:  # it was not opened
            last = cast(str | None, self._client.hget(keys[1], name))
            found = None if last is None else self.get(last)
        return found or _missing(job_id)

    def reopen(self, job_id: str) -> Job:
        """Let a job that failed or was cancelled wait for a worker again; others stay as they are."""
        self._reopen(keys=[self._key(job_id)])
        return self.get(job_id) or _missing(job_id)

    def last_of_collections(self) -> dict[str, Job]:
        """The last job of each collection that was trained as a whole."""
        last = cast(dict[str, str], self._client.hgetall(self._collections_key()))
        return {job.collection: job for job in self.get_many(last.values())}

    def get(self, job_id: str) -> Job | None:
        """The job, or None."""
        record = cast(dict[str, str], self._client.hgetall(self._key(job_id)))
        return _job(record) if record else None

    def get_many(self, job_ids: Iterable[str]) -> list[Job]:
        """Those of the jobs that there are, in one round trip."""
        with self._client.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hgetall(self._key(job_id))
            return [_job(record) for record in pipeline.execute() if record]

    def last_of(self, collection: str, document_ids: Sequence[str]) -> dict[str, Job]:
        """The last job of each document that has one."""
        if not document_ids:
            return {}
        last = cast(
            list[str | None], self._client.hmget(self._last_key(collection), list(document_ids))
        )
        jobs = self.get_many(job_id for job_id in last if job_id)
        return {job.subject.document_id: job for job in jobs if job.subject}

    def listing(self, collection: str) -> list[Entry]:
        """The last job of the collection and of each of its documents, and its reports', newest first.

        Of each no more than what a list is made of: there may be a hundred thousand.
        """
        ids = cast(list[str], self._client.hvals(self._last_key(collection)))
        whole = cast(str | None, self._client.hget(self._collections_key(), collection))
        ids += [whole] if whole else []
        ids += cast(list[str], self._client.hvals(self._reports_key(collection)))
        with self._client.pipeline(transaction=False) as pipeline:
            for job_id in ids:
                pipeline.hmget(self._key(job_id), "status", "created_at")
            found = zip(ids, pipeline.execute(), strict=True)
        entries = [
            Entry(float(created or 0), job_id, cast(JobStatus, status))
            for job_id, (status, created) in found
            if status
        ]
        return sorted(entries, reverse=True)

    def start(self, job_id: str) -> bool:
        """Say that a worker has it now; False when it has ended or is to be stopped.

        One whose workers have ended again and again without getting further fails: the next would, too.
        """
        fields = _fields(status="running", started_at=self._clock(), stage="starting", error=None)
        args: list[str | float] = [
            str(_MOST_STARTS),
            json.dumps(_KILLS),
            self._clock(),
            *fields,
        ]
        return bool(self._start(keys=[self._key(job_id)], args=args))

    def report(self, job_id: str, progress: float, stage: str, eta_s: float | None) -> None:
        """Say how far it is, 0 to 1."""
        fields = _fields(progress=progress, stage=stage, eta_s=eta_s)
        self._report(keys=[self._key(job_id)], args=[progress, *fields])

    def give_back(self, job_id: str, error: str | None = None) -> None:
        """Say that it waits for a worker again, after `error` or because a worker stops."""
        fields = _fields(status="queued", stage="waiting", eta_s=None, error=error, starts=0)
        self._change(keys=[self._key(job_id)], args=fields)

    def succeed(self, job_id: str, result: Mapping[str, Any]) -> None:
        """Say that it has done what it was to do."""
        fields = _fields(
            status="succeeded",
            progress=1.0,
            stage="done",
            eta_s=0.0,
            error=None,
            result=result,
            ended_at=self._clock(),
        )
        self._change(keys=[self._key(job_id)], args=fields)

    def fail(self, job_id: str, error: str) -> None:
        """Say that it cannot be done, and why."""
        fields = _fields(
            status="failed", stage="failed", eta_s=None, error=error, ended_at=self._clock()
        )
        self._change(keys=[self._key(job_id)], args=fields)

    def end_cancelled(self, job_id: str) -> None:
        """Say that it stopped because it was asked to."""
        fields = _fields(status="cancelled", stage="cancelled", eta_s=None, ended_at=self._clock())
        self._change(keys=[self._key(job_id)], args=fields)

    def cancel(self, job: Job) -> Job:
        """Ask the job to stop; a job that has ended stays as it is."""
        self._cancel(keys=[self._key(job.id)], args=[self._clock()])
        return self.get(job.id) or job

    def cancel_requested(self, job_id: str) -> bool:
        """Whether the job is to stop at its next step."""
        return self._client.hget(self._key(job_id), "cancel") == "1"

    def forget(self, collection: str, document_id: str) -> None:
        """Stop the last job of a document that was deleted; it can be read for another day."""
        self._forget(
            keys=[self._last_key(collection)],
            args=[document_id, self._key(""), _SUPERSEDED_SECONDS, self._clock()],
        )

    def forget_collection(self, collection: str, reports: Iterable[str] = ()) -> None:
        """Stop what is done for a whole collection that was deleted: its training, its reports."""
        whole = cast(str | None, self._client.hget(self._collections_key(), collection))
        jobs = [self._key(job) for job in (*reports, *([whole] if whole else []))]
        if jobs:
            self._cancel(keys=jobs, args=[self._clock()])
        with self._client.pipeline() as pipeline:
            pipeline.hdel(self._collections_key(), collection)
            pipeline.delete(self._reports_key(collection))
            for job in jobs:
                pipeline.expire(job, _SUPERSEDED_SECONDS)
            pipeline.execute()

    def forget_report(self, collection: str, report_id: str) -> None:
        """Stop the job of a report that was deleted; it can be read for another day."""
        self._cancel(keys=[self._key(report_id)], args=[self._clock()])
        with self._client.pipeline() as pipeline:
            pipeline.hdel(self._reports_key(collection), report_id)
            pipeline.expire(self._key(report_id), _SUPERSEDED_SECONDS)
            pipeline.execute()

    def ping(self) -> None:
        """Raise `RedisError` unless Redis answers."""
        self._client.ping()

    def _key(self, job_id: str) -> str:
        return f"{self._prefix}job:{job_id}"

    def _reports_key(self, collection: str) -> str:
        return f"{self._prefix}reports-of:{collection}"

    def _collections_key(self) -> str:
        return f"{self._prefix}collection-jobs"

    def _last_key(self, collection: str) -> str:
        return f"{self._prefix}jobs-of:{collection}"


def _job_id(subject: Subject, attempt: str) -> str:
    what = json.dumps([*vars(subject).values(), attempt])
    return "j" + hashlib.sha256(what.encode()).hexdigest()[:31]


def _fields(**values: Any) -> list[str]:
    """Alternating names and JSON values; text that scripts compare is stored as it is."""
    plain = ("id", "kind", "status", "collection")
    return [
        item
        for name, value in values.items()
        for item in (name, value if name in plain else json.dumps(value))
    ]


def _job(record: Mapping[str, str]) -> Job:
    def value(name: str, otherwise: Any = None) -> Any:
        return json.loads(record[name]) if name in record else otherwise

    subject = value("subject")
    return Job(
        id=record["id"],
        kind=cast(JobKind, record["kind"]),
        status=cast(JobStatus, record["status"]),
        progress=value("progress", 0.0),
        stage=value("stage", "waiting"),
        eta_s=value("eta_s"),
        error=value("error"),
        result=value("result"),
        subject=Subject(**subject) if subject else None,
        collection=record["collection"],
        stopping=record.get("cancel") == "1",
        created_at=value("created_at"),
        started_at=value("started_at"),
        ended_at=value("ended_at"),
    )


def _missing(job_id: str) -> NoReturn:
    raise redis.RedisError(f"Job {job_id} was lost right after it was written.")
