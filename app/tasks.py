"""The task of every job: a document's training, a collection's, or a report.

Knows the jobs, what begins and ends them and where they keep what they have made; what they do has files of
its own. Whatever kills it, running the same job again goes on from its last checkpoint.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from app.collection_training import CollectionTraining, DistilCollection
from app.document_training import CompanyChanged, Distil, DocumentTraining, Draft, Join
from app.fleet import Fleet, FleetTrouble
from app.jobs import Job, Jobs
from app.problems import problem_of
from app.publishing import Publisher
from app.report_cartridges import DocumentsChanged
from app.screening import Screening
from app.study_shelf import StudyShelf
from app.tally import Tally
from app.work_folders import WorkFolders
from cartridge_store.errors import (
    BeingPublished,
    CartridgeRefused,
    RegistryUnavailable,
    StoreUnavailable,
)
from cartridge_store.errors import StorageFull as BlobsFull
from cartridge_store.store import CartridgeStore
from inference.reader import Reader
from inference.requests import EngineClosed, EngineUnavailable
from retrieval.documents import DocumentLibrary
from retrieval.errors import StorageFull
from retrieval.retriever import Retriever
from training.settings import Cancelled, Progress, TrainingRefused, TrainingSettings

logger = logging.getLogger(__name__)


class StillEnding(Exception):
    """A process that had the job is not done with its folder yet."""


# What may be otherwise in a minute; everything else would fail again in the same way.
TRANSIENT = (
    StillEnding,
    StorageFull,
    BlobsFull,
    BeingPublished,
    RegistryUnavailable,
    StoreUnavailable,
    FleetTrouble,
    CompanyChanged,
    DocumentsChanged,
    EngineUnavailable,
    redis.RedisError,
)

_SECONDS_BETWEEN_REPORTS = 0.2
_SECONDS_BETWEEN_LOOKS = 0.5


Report = Callable[[str, Callable[[Progress], None], Callable[[], bool]], dict[str, Any]]
"""Makes the report of an id; what `reporting.Reporting.run` does."""


class Trainer:
    """Runs training jobs one at a time; `stop` is set when the process is to end."""

    def __init__(
        self,
        *,
        library: DocumentLibrary,
        retriever: Callable[[], Retriever],
        store: CartridgeStore,
        jobs: Jobs,
        reader: Reader,
        distil: Distil,
        join: Join,
        draft: Draft,
        distil_collection: DistilCollection,
        settings: TrainingSettings,
        work: WorkFolders,
        stop: threading.Event,
        send_again: Callable[[str], None],
        tally: Tally,
        report: Report,
        shelf: StudyShelf,
        screening: Screening,
        fleet: Fleet | None = None,
    ) -> None:
        publisher = Publisher(library, store, reader)
        self._collections = CollectionTraining(
            library=library,
            retriever=retriever,
            publisher=publisher,
            reader=reader,
            distil_collection=distil_collection,
            settings=settings,
            tally=tally,
            shelf=shelf,
            screening=screening,
            fleet=fleet,
        )
        self._documents = DocumentTraining(
            library=library,
            retriever=retriever,
            store=store,
            publisher=publisher,
            reader=reader,
            distil=distil,
            join=join,
            draft=draft,
            settings=settings,
            tally=tally,
            shelf=shelf,
            screening=screening,
        )
        self._jobs = jobs
        self._work = work
        self._stop = stop
        self._send_again = send_again
        self._tally = tally
        self._report = report

    def run(self, job_id: str, *, last_try: bool = True) -> None:
        """Do a job to its end, or give it back when the process is to end.

        Nothing happens when the job has ended or another process is at it. Raises one of
        `TRANSIENT` when trying again later may help; on the last try the job fails too.
        """
        try:
            self._work.folder(job_id)
        except ValueError as error:  # trying again makes it no other message
            logger.warning("A message is left: %s", error)
            return
        try:
            self._run(job_id, last_try=last_try)
        except StorageFull as error:
            # Not even its folder could be made. What went on further has said how it ended.
            job = self._jobs.get(job_id) if last_try else None
            if job is not None and not job.finished:
                self._fail(job, str(error), self._work.folder(job_id))
            raise

    def _run(self, job_id: str, *, last_try: bool) -> None:
        workdir = self._work.folder(job_id)
        given_back = False
        with self._work.exclusive(job_id) as mine:
            job = self._jobs.get(job_id)
            if not mine:
                if job is not None and job.status == "queued":
                    raise StillEnding(f"Job {job_id} is being ended by another process.")
                return
            if job is None or not self._jobs.start(job_id):
                if job is not None:
                    self._withdraw_draft(job)  # cancelled while it waited to go on
                shutil.rmtree(workdir, ignore_errors=True)
                return
            try:
                if job.kind == "report":
                    result = self._report(
                        job.id,
                        _Reporter(self._jobs, job),
                        _Cancellation(self._jobs, job, self._stop),
                    )
                elif job.subject is None:
                    result = self._collections.run(
                        job.collection,
                        workdir,
                        _Reporter(self._jobs, job),
                        _Cancellation(self._jobs, job, self._stop),
                    )
                else:
                    result = self._documents.run(
                        job.subject,
                        workdir,
                        _Reporter(self._jobs, job),
                        _Cancellation(self._jobs, job, self._stop),
                    )
            except Cancelled:
                given_back = self._stopped(job, workdir)
            except TRANSIENT as error:
                logger.warning("Job %s: %s", job_id, error)
                # What names a server is for the log: whoever may read may read this.
                away = isinstance(error, EngineUnavailable)
                why = problem_of(error).detail if away else str(error)
                if last_try:
                    self._fail(job, why, workdir)
                else:
                    self._jobs.give_back(job_id, why)
                raise
            except (TrainingRefused, CartridgeRefused) as error:
                self._fail(job, str(error), workdir)
            except Exception as error:
                if isinstance(error, EngineClosed) and self._stop.is_set():
                    # It was closed because this process ends.
                    given_back = self._stopped(job, workdir)
                else:
                    logger.exception("Job %s failed.", job_id)
                    what = "The report" if job.kind == "report" else "Training"
                    why = f"{what} failed unexpectedly; the worker's log says why."
                    self._fail(job, why, workdir)
            else:
                self._withdraw_draft(job)
                self._jobs.succeed(job_id, result)
                self._tally.add(jobs_succeeded=1)
                shutil.rmtree(workdir, ignore_errors=True)
        if given_back:
            # Not before its folder is free: who takes the message now has to find it so.
            self._send_again(job_id)

    def _fail(self, job: Job, reason: str, workdir: Path) -> None:
        self._withdraw_draft(job)
        self._jobs.fail(job.id, reason)
        self._tally.add(jobs_failed=1)
        shutil.rmtree(workdir, ignore_errors=True)

    def _stopped(self, job: Job, workdir: Path) -> bool:
        """End a job that stopped; whether it is given back instead, because this process ends."""
        if self._stop.is_set() and not self._jobs.cancel_requested(job.id):
            # Its checkpoint stays where the next worker looks for it.
            self._jobs.give_back(job.id)
            return True
        self._withdraw_draft(job)
        self._jobs.end_cancelled(job.id)
        self._tally.add(jobs_cancelled=1)
        shutil.rmtree(workdir, ignore_errors=True)
        return False

    def _withdraw_draft(self, job: Job) -> None:
        """A draft that no cartridge has replaced goes with its job, unless a later job has it now."""
        if job.subject is None:
            return
        last = self._jobs.last_of(job.collection, [job.subject.document_id])
        later = [each for each in last.values() if each.id != job.id and not each.finished]
        # A later job of another text has a draft of its own.
        if not any(each.subject and each.subject.sha256 == job.subject.sha256 for each in later):
            self._documents.withdraw_draft(job.subject)


class _Reporter:
    """Passes progress on to the job, a few times a second, with the time that is left."""

    def __init__(self, jobs: Jobs, job: Job) -> None:
        self._jobs = jobs
        self._job = job
        self._began = time.monotonic()
        self._reported = 0.0
        self._stage = ""
        # A job that goes on from a checkpoint did not do its first part in this time.
        self._done_before: float | None = None

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._done_before is None:
            self._done_before = progress.done
        recently = now - self._reported < _SECONDS_BETWEEN_REPORTS
        if recently and progress.stage == self._stage:
            return
        self._reported, self._stage = now, progress.stage
        done_here = progress.done - self._done_before
        rest = (now - self._began) * (1 - progress.done) / done_here if done_here > 0 else None
        eta = round(rest, 1) if rest is not None else None
        with suppress(redis.RedisError):
            # Progress is a courtesy: a Redis that is away for a moment must not end the training.
            self._jobs.report(self._job.id, round(progress.done, 4), progress.stage, eta)


class _Cancellation:
    """Whether to stop, asked at every step and looked up twice a second."""

    def __init__(self, jobs: Jobs, job: Job, stop: threading.Event) -> None:
        self._jobs = jobs
        self._job = job
        self._stop = stop
        self._looked = 0.0
        self._requested = False

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self._looked > _SECONDS_BETWEEN_LOOKS:
            self._looked = now
            with suppress(redis.RedisError):
                self._requested = self._jobs.cancel_requested(self._job.id)
        return self._requested or self._stop.is_set()
