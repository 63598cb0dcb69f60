"""Reconcile: what Redis may have lost is made again from what stands on disk.

Documents on disk without a cartridge get their training job again, and an emptied Redis its
registry; so do those whose folder is an older one than Redis knows, because a backup was put back. Running
it twice, or in two processes at once, changes nothing more. Knows no HTTP.
"""

import logging
import uuid
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

import redis

from app.broker import JobQueue
from app.conflicts import Conflicts
from app.jobs import Job, Jobs, Subject
from app.report_files import ReportFiles
from app.study_shelf import StudyShelf
from app.work_folders import WorkFolders
from cartridge_store.errors import CartridgeNotFound, CartridgeRefused, StoreUnavailable
from cartridge_store.manifest import Manifest
from cartridge_store.store import CartridgeStore
from inference.reader import Reader
from retrieval.documents import Document, DocumentLibrary

logger = logging.getLogger(__name__)

_PAGE = 100
_LOCK_SECONDS = 300
_SECONDS_BETWEEN_LOOKS = 900


@dataclass(frozen=True)
class Reconciled:
    """What was made again: cartridges registered (when Redis was empty) and jobs queued."""

    registered: int
    requeued: int


class Reconciler:
    """Compares disk and Redis; a mark in Redis whose absence says that it was emptied."""

    def __init__(
        self,
        *,
        client: redis.Redis,
        library: DocumentLibrary,
        store: CartridgeStore,
        jobs: Jobs,
        queue: JobQueue,
        reader: Reader,
        reports: ReportFiles,
        shelf: StudyShelf,
        work: WorkFolders,
        noted: Conflicts,
        prefix: str = "cq:",
    ) -> None:
        self._client = client
        self._library = library
        self._store = store
        self._jobs = jobs
        self._queue = queue
        self._reader = reader
        self._reports = reports
        self._shelf = shelf
        self._work = work
        self._noted = noted
        self._mark = f"{prefix}reconciled"
        self._lately = f"{prefix}reconciled-lately"

    def is_due(self) -> bool:
        """Whether Redis was emptied since the last run. Raises `RedisError`."""
        return not self._client.exists(self._mark)

    def resend(self) -> int:
        """Send again every unfinished job that no message is about; returns how many.

        A message may go with the machine that had it, and nothing else looks for it. Once in a quarter of
        an hour, whoever asks: the others do nothing. Raises `RedisError`.
        """
        if not self._client.set(self._lately, "1", nx=True, ex=_SECONDS_BETWEEN_LOOKS):
            return 0
        sent = self._requeue_collections() + self._requeue_reports()
        under_way = self._queue.job_ids()
        for collection in self._library.collections():
            ids = self._library.ids(collection)
            for start in range(0, len(ids), _PAGE):
                jobs = self._jobs.last_of(collection, ids[start : start + _PAGE]).values()
                sent += sum(self._sent(job, under_way) for job in jobs)
        if sent:
            logger.info("Queued %d jobs whose messages were lost.", sent)
        return sent

    def run(self, going_on: Callable[[], object] = lambda: None) -> Reconciled:
        """Queue what is on disk and neither trained nor under way.

        `going_on` is called now and then; what it raises is passed on. Raises `RedisError`, and of these
        `LockError` while another process is at it.
        """
        lock = self._client.lock(f"{self._mark}:lock", timeout=_LOCK_SECONDS, blocking_timeout=10)
        with lock:

            def extended() -> None:
                going_on()
                lock.extend(_LOCK_SECONDS, replace_ttl=True)

            # Every manifest once, and not again for each document.
            stored = self._store.stored()
            self._complete_deletions(stored)
            known = {each.cartridge_id: each for versions in stored.values() for each in versions}
            registered = self._store.rebuild(extended) if self.is_due() else 0
            requeued = self._requeue_collections() + self._requeue_reports()
            # Jobs with a message are under way, whatever became of the worker that had them.
            under_way = self._queue.job_ids()
            for collection in self._library.collections():
                for page in self._library.pages(collection, _PAGE):
                    requeued += self._requeue(page, under_way, known)
                    extended()
            self._work.clear(self._is_under_way)
            self._client.set(self._mark, "1")
            self._client.set(self._lately, "1", ex=_SECONDS_BETWEEN_LOOKS)
        if registered or requeued:
            logger.info("Registered %d cartridges, queued %d jobs.", registered, requeued)
        return Reconciled(registered, requeued)

    def _is_under_way(self, job_id: str) -> bool:
        job = self._jobs.get(job_id)
        return job is not None and not job.finished

    def _complete_deletions(self, stored: Mapping[tuple[str, str], Sequence[Manifest]]) -> None:
        """Remove what was made of documents that were deleted while a trainer died at them."""
        for collection, id in stored:
            if self._library.was_deleted(collection, id):
                self._store.remove_document(collection, id, stored)
        for shelf in (self._shelf, self._noted):
            for collection, id in shelf.kept():
                if not self._library.exists(collection, id):
                    shelf.forget(collection, id)

    def _requeue_collections(self) -> int:
        """Jobs of whole collections whose message was lost. One that Redis forgot is not made again:
        its documents still have what they had before."""
        under_way = self._queue.job_ids()
        last = self._jobs.last_of_collections().values()
        return sum(self._sent(job, under_way) for job in last)

    def _requeue_reports(self) -> int:
        """Reports that are not made and that no message is about; what they have asked, they keep."""
        under_way = self._queue.job_ids()
        requeued = 0
        for folder in self._reports.unfinished():
            job = self._jobs.get(folder.id) or self._jobs.open_report(folder.collection, folder.id)
            requeued += self._sent(job, under_way)
        return requeued

    def _requeue(
        self,
        documents: Sequence[Document],
        under_way: Container[str],
        known: Mapping[str, Manifest],
    ) -> int:
        collection, ids = documents[0].collection, [document.id for document in documents]
        # Jobs first: what one says it has published is there by then.
        last = self._jobs.last_of(collection, ids)
        current = self._store.current(collection, ids)
        requeued = 0
        for document in documents:
            subject = subject_of(document, self._reader)
            job = last.get(document.id)
            ahead = job is not None and is_ahead(job, document, self._library)
            if ahead:
                self._jobs.forget(collection, document.id)
                job = None
            if job is not None and job.subject == subject and not job.finished:
                requeued += self._sent(job, under_way)
                continue
            id = current.get(document.id)
            try:
                manifest = known.get(id or "") or manifest_of(self._store, id)
            except StoreUnavailable as error:  # one of the next runs sees what it is
                logger.warning("%s", error)
                continue
            if job is None or job.subject != subject:
                if is_trained(manifest, document, self._reader):
                    continue
                job = self._jobs.open(subject)
            lost = has_lost(job, id, manifest, document, self._reader)
            if job.finished and (lost or ahead):
                job = self._jobs.open(subject, uuid.uuid4().hex)
            if job.finished and manifest is not None and manifest.is_draft:
                # Cancelled while no worker had it, or its draft could not be withdrawn when it ended.
                self._store.withdraw(manifest)
            requeued += self._sent(job, under_way)
        return requeued

    def _sent(self, job: Job, under_way: Container[str]) -> bool:
        """Send an unfinished job that no message is about; whether it was sent."""
        if job.finished or job.id in under_way:
            return False
        self._queue.send(job.id)
        return True


def subject_of(document: Document, reader: Reader) -> Subject:
    """What a job that trains this document version for this reader is about."""
    return Subject(
        document.collection, document.id, document.version, document.sha256, reader.fingerprint
    )


def manifest_of(store: CartridgeStore, cartridge_id: str | None) -> Manifest | None:
    """The manifest of a stored cartridge, or None when there is none that can be read."""
    if cartridge_id is None:
        return None
    try:
        return store.manifest(cartridge_id)
    except (CartridgeNotFound, CartridgeRefused) as error:
        logger.warning("%s", error)
        return None


def is_ahead(job: Job, document: Document, library: DocumentLibrary) -> bool:
    """Whether a document's job is about a version that its library does not have (yet, or any more).

    A text is stored before its job is opened: this is so where an older data folder was put back.
    """
    if job.subject is None or job.subject.version <= document.version:
        return False
    now = library.find(document.collection, document.id)
    return now is None or now.version < job.subject.version


def is_trained(manifest: Manifest | None, document: Document, reader: Reader) -> bool:
    """Whether this is a trained cartridge that answers for the document."""
    return manifest is not None and not manifest.is_draft and serves(manifest, document, reader)


def has_lost(
    job: Job, named: str | None, manifest: Manifest | None, document: Document, reader: Reader
) -> bool:
    """Whether the version that a job is about has had a cartridge and has none: the job published it, or
    one is `named` as current, whoever trained it, and has no manifest that can be read.
    """
    had = (job.result or {}).get("published") or (named is not None and manifest is None)
    mine = job.subject == subject_of(document, reader)
    return bool(had) and mine and not is_trained(manifest, document, reader)


def serves(manifest: Manifest, document: Document, reader: Reader) -> bool:
    """Whether the cartridge is of this very text and for this very reader."""
    return manifest.document_sha256 == document.sha256 and is_of(manifest, reader)


def is_of(manifest: Manifest, reader: Reader) -> bool:
    """Whether the cartridge was made for this very reader."""
    return (manifest.reader_fingerprint, manifest.tokenizer_fingerprint) == (
        reader.fingerprint,
        reader.tokenizer_fingerprint,
    )
