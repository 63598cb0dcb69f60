"""Documents as people see them: taken in, described with status and cartridge, and removed.

Joins library, retriever, store and jobs; what a document's status is, is derived from these and
kept nowhere. Knows no HTTP.
"""

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

import redis

from app.broker import JobQueue
from app.conflicts import Conflicts, Noted
from app.jobs import Job, Jobs
from app.reconcile import has_lost, is_ahead, manifest_of, serves, subject_of
from app.report_files import ReportFiles
from app.study_shelf import StudyShelf
from app.work_folders import WorkFolders
from cartridge_store.errors import StoreError
from cartridge_store.manifest import Manifest
from cartridge_store.registry import Location
from cartridge_store.store import CartridgeStore
from inference.reader import Reader
from retrieval.documents import Document, DocumentLibrary, Require
from retrieval.errors import DocumentNotFound, StorageFull
from retrieval.marks import Mark
from retrieval.retriever import Retriever

logger = logging.getLogger(__name__)

_COUNTED_TEXTS = 4096
_PURGED_AT_ONCE = 8 << 20
"""Bytes of an index that a deletion writes anew; a larger one waits for a worker, a minute at most."""


@dataclass(frozen=True)
class Mounted:
    """The cartridge that answers for a document."""

    manifest: Manifest
    nbytes: int
    locations: tuple[Location, ...]


@dataclass(frozen=True)
class View:
    """A document with what was made of it; `job` is None when there is none or Redis is away.

    `noted` is what was found of it when it was looked at beside others.
    """

    document: Document
    """Of a page of them, without its text: many long ones are more than a request may hold."""
    characters: int
    tokens: int
    cartridge: Mounted | None
    job: Job | None
    noted: Noted | None = None

    @property
    def status(self) -> str:
        """ "quarantined" where it is held back, "ready" with a trained cartridge, "draft" with one that
        only serves until then, "failed" when training or its check failed, else "text"."""
        if self.noted is not None and self.noted.held:
            return "quarantined"
        if self.cartridge is not None:
            return "draft" if self.cartridge.manifest.is_draft else "ready"
        if self.job is None or not self.job.finished or self.job.status == "cancelled":
            return "text"
        if self.job.subject and self.job.subject.sha256 != self.document.sha256:
            return "text"
        return "failed"


class NotHeld(Exception):
    """The document is in no quarantine."""


class Documents:
    """Everything that is done to documents from outside."""

    def __init__(
        self,
        *,
        library: DocumentLibrary,
        retriever: Retriever,
        store: CartridgeStore,
        jobs: Jobs,
        queue: JobQueue,
        reader: Reader,
        reports: ReportFiles,
        shelf: StudyShelf,
        work: WorkFolders,
        noted: Conflicts,
    ) -> None:
        self._library = library
        self._retriever = retriever
        self._store = store
        self._jobs = jobs
        self._queue = queue
        self._reader = reader
        self._reports = reports
        self._shelf = shelf
        self._work = work
        self._noted = noted
        # Counting needs the tokenizer, and a text never changes under its checksum.
        self._counted: dict[str, int] = {}

    def accept(
        self,
        collection: str,
        id: str | None,
        title: str | None,
        text: str,
        marks: Sequence[Mark] | None = None,
        require: Require = lambda current: None,
        suggested: str | None = None,
    ) -> tuple[View, Job]:
        """Store, index and queue a text; the same content again is the same version and job.

        Raises `RedisError` before anything is stored when Redis is away. `DocumentRefused` and
        `StorageFull` leave nothing half-done: what was stored is indexed and queued by sending it
        again, or by the next reconciliation. What `require` raises of the document that is to be
        replaced is passed on. A newer version that came meanwhile is what is given back; raises
        `DocumentNotFound` where the document was deleted meanwhile.
        """
        self._jobs.ping()
        stored, _ = self._library.put(collection, id, title, text, marks, require, suggested)
        taken_in = self._taken_in(stored)
        if taken_in is None:
            raise _gone(stored)
        document, job = taken_in
        return self.views([document])[0], job

    def _taken_in(self, document: Document) -> tuple[Document, Job] | None:
        """Index and queue a stored document, or what came in its place meanwhile; None if it is gone."""
        now: Document | None = document
        while now is not None:
            document = now
            if not self._retriever.is_indexed(document):
                self._retriever.index_document(document)
            job = self.queued(document)
            # Reading and encoding took a while: the document may be another one now, or gone.
            now = self._library.find(document.collection, document.id) or self._undone(document)
            if now is not None and now.version == document.version:
                return document, job
        return None

    def _undone(self, document: Document) -> Document | None:
        """Nothing is left of a document that was deleted while it was taken in; what came after that."""
        self._jobs.forget(document.collection, document.id)
        self._retriever.remove_document(document.collection, document.id)
        there = self._library.has(document.collection)
        self._purge(document.collection, _PURGED_AT_ONCE if there else None)
        return self._library.find(document.collection, document.id)

    def get(self, collection: str, id: str) -> View:
        """One document. Raises `DocumentNotFound`, `DocumentCorrupt`, `DocumentRefused`."""
        return self.views([self._library.get(collection, id)])[0]

    def read(self, collection: str, id: str) -> Document:
        """One document with its text. Raises as `get` does."""
        return self._library.get(collection, id)

    def page(self, collection: str, after: str | None, limit: int) -> list[View]:
        """Up to `limit` documents with ids after `after`, in order."""
        return self.views(islice(self._library.each(collection, after), limit))

    def views(self, documents: Iterable[Document]) -> list[View]:
        """Documents of one collection with what was made of them; they are read one after the other."""
        seen = [
            (
                replace(document, text="", marks=()),
                len(document.text),
                self._count(document),
                self._noted.of(document),
            )
            for document in documents
        ]
        if not seen:
            return []
        collection, ids = seen[0][0].collection, [document.id for document, *_ in seen]
        current = self._store.current(collection, ids)
        try:
            jobs = self._jobs.last_of(collection, ids)
        except redis.RedisError:
            jobs = {}
        return [
            View(
                document,
                characters,
                tokens,
                self._mounted(document, current.get(document.id)),
                jobs.get(document.id),
                noted,
            )
            for document, characters, tokens, noted in seen
        ]

    def delete(self, collection: str, id: str, require: Require = lambda current: None) -> None:
        """Remove a document with everything made of it; again completes what was interrupted.

        Raises `DocumentNotFound` when there was nothing, `RedisError` before anything is removed.
        """
        self._delete(collection, id, require)
        self._purge(collection, _PURGED_AT_ONCE)

    def _delete(
        self,
        collection: str,
        id: str,
        require: Require = lambda current: None,
        stored: Mapping[tuple[str, str], Sequence[Manifest]] | None = None,
    ) -> None:
        """Who deletes many gives what is `stored`, and does itself, once, what costs as much as the
        collection is large."""
        self._jobs.ping()
        # The text first: from here on nothing is found, trained or published of it.
        there = self._library.delete(collection, id, require)
        job = self._jobs.last_of(collection, [id]).get(id)
        self._jobs.forget(collection, id)
        if job is not None:
            self._work.remove(job.id)
        self._shelf.forget(collection, id)
        self._reports.forget_made(collection, id)
        if stored is None:
            self._noted.forget(collection, id)
            self._retriever.remove_document(collection, id)
        removed = self._store.remove_document(collection, id, stored)
        newer = self._library.find(collection, id)
        if newer is not None:
            # Sent while all this went on: what was made of it may have gone along.
            self._taken_in(newer)
        if not there and not removed:
            raise DocumentNotFound(f"Collection {collection} has no document {id}.")

    def _purge(self, collection: str, most_bytes: int | None = None) -> None:
        try:
            self._retriever.purge(collection, most_bytes)
        except StorageFull as error:  # deleted it is; a worker tries again
            logger.warning("%s", error)

    def collections(self, sees: Callable[[str], bool] = lambda name: True) -> dict[str, int]:
        """How many documents each collection holds, of those that are to be seen."""
        names = filter(sees, self._library.collections())
        return {name: self._library.count(name) for name in names}

    def require_collection(self, collection: str) -> None:
        """Raises `DocumentNotFound` for a collection that is not there."""
        if not self._library.has(collection):
            raise DocumentNotFound(f"There is no collection {collection}.")

    def has(self, collection: str, id: str) -> bool:
        """Whether a document is there. Raises `DocumentRefused` for a bad id."""
        return self._library.exists(collection, id)

    def has_collection(self, collection: str) -> bool:
        """Whether a collection is there."""
        return self._library.has(collection)

    def create_collection(self, collection: str) -> bool:
        """Let an empty collection be there; returns whether it is new."""
        return self._library.create(collection)

    def delete_collection(self, collection: str) -> None:
        """Remove a collection with its documents, reports and jobs; again completes what was interrupted.

        Raises `DocumentNotFound` when there was nothing, `RedisError` before anything is removed.
        """
        ids = self._library.ids(collection)
        stored = self._store.stored() if ids else {}  # once, not for each of thousands
        whole = False
        try:
            for id in ids:
                with suppress(DocumentNotFound):  # somebody else was faster
                    self._delete(collection, id, stored=stored)
            whole = True
        finally:  # of those that are gone, however far it came
            try:
                if whole:
                    self._retriever.forget_collection(collection)
                else:  # those that are left stay searchable
                    self._retriever.reconcile(collection)
            except StorageFull as error:  # nobody finds them; the next start tidies up
                logger.warning("%s", error)
        self._noted.forget_collection(collection, lambda id: self._library.exists(collection, id))
        # What was trained of documents whose texts were gone already.
        trained = [id for name, id in self._store.documents() if name == collection]
        left = [id for id in trained if not self._library.exists(collection, id)]
        for id in left:
            self._store.remove_document(collection, id)
        reports = self._reports.drop(collection)
        self._jobs.forget_collection(collection, reports)
        if not self._library.drop(collection) and not ids and not left and not reports:
            raise DocumentNotFound(f"There is no collection {collection}.")

    def retrain(self, collection: str) -> Job:
        """Train all documents of a collection anew, beside each other, so that their cartridges compose.

        Asking again while that is under way gives the same job; a document that stands alone is
        trained for itself. Raises `RedisError`, and `DocumentNotFound` for a collection without
        documents.
        """
        if not self._library.count(collection):
            raise DocumentNotFound(f"Collection {collection} holds no document.")
        ids = list(islice(self._library.ids(collection), 2))
        if len(ids) == 1:
            return self.trained_anew(self._library.get(collection, ids[0]))
        last = self._jobs.last_of_collections().get(collection)
        if last is not None and not last.finished and not last.stopping:
            if last.status == "queued":
                # Two messages do no harm, a job without one would wait for ever.
                self._queue.send(last.id)
            return last
        job = self._jobs.open_collection(collection, uuid.uuid4().hex)
        self._queue.send(job.id)
        return job

    def train(self, collection: str, id: str) -> tuple[View, Job]:
        """Train one document anew. Raises `RedisError`, and what `get` raises."""
        job = self.trained_anew(self._library.get(collection, id))
        return self.get(collection, id), job

    def release(self, collection: str, id: str) -> tuple[View, Job]:
        """Answer from a document in quarantine, in spite of what it was held back for, and train it.

        Doing so again completes what was interrupted. Raises `NotHeld` where it is in none, `RedisError`,
        and what `get` raises.
        """
        document = self._library.get(collection, id)
        self._jobs.ping()
        searchable = self._retriever.is_indexed(document)
        if (not self._noted.holds(document) and searchable) or not self._noted.release(document):
            raise NotHeld(f"Document {id} is not in quarantine.")
        # Not one that is at it already: that one knows it as held.
        job = self._jobs.open(subject_of(document, self._reader), uuid.uuid4().hex)
        self._queue.send(job.id)
        self._retriever.index_document(document)
        if not self._library.exists(collection, id) and self._undone(document) is None:
            raise _gone(document)
        return self.views([document])[0], job

    def again(self, job: Job) -> Job:
        """Do what a job was to do once more. Raises `RedisError`, and `DocumentNotFound`."""
        if job.kind == "report":
            if self._reports.find(job.id) is None:
                raise DocumentNotFound(f"There is no report {job.id} any more; order another one.")
            again = self._jobs.reopen(job.id)
            self._queue.send(again.id)
            return again
        if job.subject is None:
            return self.retrain(job.collection)
        return self.trained_anew(self._library.get(job.collection, job.subject.document_id))

    def lacks(self, job: Job) -> bool:
        """Whether a job ended well and its document, as it is now, has no cartridge that passed."""
        subject = job.subject
        if subject is None or (job.result or {}).get("published") is not False:
            return False
        now = self._library.find(subject.collection, subject.document_id)
        return now is not None and self.views([now])[0].status == "failed"

    def trained_anew(self, document: Document) -> Job:
        """A new job of the document's version, or the one that is under way. Raises `RedisError`."""
        last = self._jobs.last_of(document.collection, [document.id]).get(document.id)
        subject = subject_of(document, self._reader)
        if last is not None and last.subject == subject and not last.finished and not last.stopping:
            if last.status == "queued":
                self._queue.send(last.id)  # its message may have been lost
            return last
        job = self._jobs.open(subject, uuid.uuid4().hex)
        self._queue.send(job.id)
        return job

    def queued(self, document: Document) -> Job:
        """The document version's last job, or a new one on its way to a worker. Raises `RedisError`."""
        subject = subject_of(document, self._reader)
        job = self._jobs.last_of(document.collection, [document.id]).get(document.id)
        if job is not None and is_ahead(job, document, self._library):
            self._jobs.forget(document.collection, document.id)
            job = None
        if job is None or job.subject != subject:
            job = self._jobs.open(subject)
        over = job.status in ("failed", "cancelled") or job.stopping
        if over or self._has_lost(job, document):
            # Whoever sends a text again wants it trained after all.
            job = self._jobs.open(subject, uuid.uuid4().hex)
        if job.status == "queued":
            # Two messages for one job do no harm, a job without one would wait for ever.
            self._queue.send(job.id)
        return job

    def _has_lost(self, job: Job, document: Document) -> bool:
        if job.status != "succeeded":
            return False
        try:
            current = self._store.current(document.collection, [document.id]).get(document.id)
            manifest = manifest_of(self._store, current)
            return has_lost(job, current, manifest, document, self._reader)
        except StoreError:  # who knows
            return False

    def _mounted(self, document: Document, cartridge_id: str | None) -> Mounted | None:
        try:
            manifest = manifest_of(self._store, cartridge_id)
            if manifest is None or not serves(manifest, document, self._reader):
                return None
            nbytes = manifest.figures.get("bytes")
            if not isinstance(nbytes, int):
                nbytes = self._store.load(manifest.cartridge_id).nbytes
            description = self._store.describe(manifest.cartridge_id)
        except StoreError:
            return None
        return Mounted(manifest, nbytes, description.locations)

    def _count(self, document: Document) -> int:
        tokens = self._counted.get(document.sha256)
        if tokens is None:
            if len(self._counted) >= _COUNTED_TEXTS:
                self._counted.clear()
            tokens = self._counted[document.sha256] = self._reader.count(document.text)
        return tokens


def _gone(document: Document) -> DocumentNotFound:
    return DocumentNotFound(
        f"Document {document.id} was deleted while it was taken in; send it again if it is wanted."
    )
