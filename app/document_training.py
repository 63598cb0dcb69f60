"""One document's training as a job has it: beside what its collection serves, or for itself.

A collection whose cartridges have learned beside each other would lose by one that has not: whatever
comes later joins them. Knows library, index, store and publisher; knows no job.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Protocol

from app.collection_training import count_check
from app.jobs import Subject
from app.publishing import Publisher, unpublished
from app.reconcile import manifest_of, serves, subject_of
from app.relevance import learn_relevance
from app.screening import Screening, stopping
from app.stopwatch import Stopwatch
from app.study_shelf import StudyShelf
from app.tally import Tally
from cartridge_store.errors import (
    CartridgeNotFound,
    CartridgeRefused,
    LostRace,
    RegistryUnavailable,
    StoreError,
)
from cartridge_store.manifest import Manifest, PositionRule
from cartridge_store.store import CartridgeStore
from inference.reader import Reader
from retrieval.documents import Document, DocumentLibrary
from retrieval.durable import replace_file
from retrieval.errors import DocumentCorrupt
from retrieval.retriever import Retriever
from training.collection import Find, Text
from training.joining import Company, Joined
from training.neighbourhood import Serving
from training.pipeline import Distilled, Former
from training.revision import still_there
from training.settings import Progress, TrainingSettings
from training.studies import Studies

logger = logging.getLogger(__name__)

Result = dict[str, Any]
Told = Callable[[Progress], None]

_PAGE = 1_000
_OTHER_SIZE = 0.25
"""Share by which a changed document may ask for more or fewer slots than it did."""


class CompanyChanged(Exception):
    """A neighbour has changed, or come, while a document learned; the next try finds it as it is."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} has changed or come while this document learned; a further try learns beside it."
        )


class Distil(Protocol):
    """What `training.pipeline.distil` does."""

    def __call__(
        self,
        reader: Reader,
        text: str,
        settings: TrainingSettings,
        *,
        workdir: Path,
        studies: Path | None,
        before: Former | None,
        progress: Told,
        cancelled: Callable[[], bool],
    ) -> Distilled: ...


class Join(Protocol):
    """What `training.joining.join` does."""

    def __call__(
        self,
        reader: Reader,
        text: Text,
        company: Company,
        settings: TrainingSettings,
        *,
        workdir: Path,
        find: Find,
        before: Serving | None,
        progress: Told,
        cancelled: Callable[[], bool],
    ) -> Joined | None: ...


Draft = Callable[[Reader, str, TrainingSettings], Distilled | None]
"""What `training.draft.draft` does."""


class DocumentTraining:
    """Trains documents and publishes what passes its check."""

    def __init__(
        self,
        *,
        library: DocumentLibrary,
        retriever: Callable[[], Retriever],
        store: CartridgeStore,
        publisher: Publisher,
        reader: Reader,
        distil: Distil,
        join: Join,
        draft: Draft,
        settings: TrainingSettings,
        tally: Tally,
        shelf: StudyShelf,
        screening: Screening,
    ) -> None:
        self._library = library
        self._retriever = retriever  # opened by the first document that needs its encoder
        self._store = store
        self._publisher = publisher
        self._reader = reader
        self._distil = distil
        self._join = join
        self._draft = draft
        self._settings = settings
        self._tally = tally
        self._shelf = shelf
        self._screening = screening

    def run(
        self, subject: Subject, workdir: Path, progress: Told, cancelled: Callable[[], bool]
    ) -> Result:
        """Train the document's version, unless it is no longer wanted; what its job says.

        Raises TrainingRefused, Cancelled and what `tasks.TRANSIENT` names.
        """
        document = self._publisher.wanted(subject)
        if document is None:
            return unpublished("The document was deleted or has a newer version.")
        if subject.reader_fingerprint != self._reader.fingerprint:
            return unpublished("Another reader is serving now.")
        watch, before = Stopwatch(workdir / "seconds"), self._before(document, workdir)
        progress = watch.noting(progress)
        # A document that changed a little is trained in half the time. Others need not wait for the
        # screening: until it holds them back they are answered from text in any case.
        if before is None and not self._screening.holds(document):
            self._publish_draft(subject, document)
        noted = self._screening.look(document, stopping("screening", progress, cancelled))
        if noted is not None and noted.held:
            return unpublished(
                f"It changes {len(noted.found)} answers of other documents and is in quarantine: it "
                "answers only where it is named, until it is released or changed."
            ) | {"quarantined": True}
        with self._shelf.for_documents(subject.collection, [document.id], self._library):
            joined = self._join(
                self._reader,
                self._shelf.text(document),
                lambda names, count: self._company(subject, names, count),
                self._settings,
                workdir=workdir,
                find=lambda question: self._brought(subject.collection, question),
                before=before,
                progress=progress,
                cancelled=cancelled,
            )
            if joined is None:
                alone = not self._company(subject, (), 1)
                joined = Joined(
                    self._distil(
                        self._reader,
                        document.text,
                        self._settings,
                        workdir=workdir,
                        studies=self._shelf.folder(document.collection, document.id),
                        before=before,
                        progress=progress,
                        cancelled=cancelled,
                    )
                )
                if alone:
                    self._require_alone(subject)
        count_check(self._tally, joined.distilled)
        result = self._published(subject, joined, watch.seconds)
        learn_relevance(
            self._shelf, self._library, self._retriever, self._reader, self._settings, [document]
        )
        return result

    def withdraw_draft(self, subject: Subject) -> None:
        """Take back the draft of a document that is trained, or that no training follows.

        What goes wrong is logged: the job has ended all the same.
        """
        try:
            current = self._store.current(subject.collection, [subject.document_id])
            manifest = manifest_of(self._store, current.get(subject.document_id))
            if manifest is not None and not manifest.is_draft and manifest.parent is not None:
                manifest = manifest_of(self._store, manifest.parent)
            if manifest is None or not manifest.is_draft:
                return
            if manifest.document_sha256 != subject.sha256:  # of a newer text
                return
            # The same text by another title is a version of its own: its job has the draft now.
            now = self._library.find(subject.collection, subject.document_id)
            renamed = now is not None and now.version > subject.version
            if now is None or not renamed or now.sha256 != subject.sha256:
                self._store.withdraw(manifest)
        except (StoreError, OSError, DocumentCorrupt) as error:
            logger.warning("The draft of %s stays: %s", subject.document_id, error)

    def _publish_draft(self, subject: Subject, document: Document) -> None:
        """Something to answer from until the training ends, where nothing of this text serves yet.

        What goes wrong is logged, but for a registry that is away: nobody is to lose a training by it.
        """
        current = self._store.current(subject.collection, [document.id]).get(document.id)
        manifest = manifest_of(self._store, current)
        if manifest is not None and serves(manifest, document, self._reader):
            return
        began = time.monotonic()
        try:
            found = self._draft(self._reader, document.text, self._settings)
            if found is not None:
                self._publisher.publish(subject, found, time.monotonic() - began)
        except RegistryUnavailable:
            raise
        except Exception as error:
            logger.warning("There is no draft of %s: %s", document.id, error)

    def _require_alone(self, subject: Subject) -> None:
        """Raises CompanyChanged where somebody serves by now beside whom the document has not learned."""
        for each in self._company(subject, (), 1):
            raise CompanyChanged(each.text.name)

    def _published(self, subject: Subject, joined: Joined, seconds: float) -> Result:
        if not joined.distilled.passed or not joined.relearned:
            return self._publisher.publish(subject, joined.distilled, seconds)
        # The newcomer was checked beside what its neighbours have become: they go first, or it does not.
        relearned = dict(self._relearned(subject, joined))
        result = self._publisher.publish(subject, joined.distilled, seconds)
        return result | {"relearned": relearned}

    def _relearned(self, subject: Subject, joined: Joined) -> Iterator[tuple[str, Result]]:
        """Neighbours that learned along, published in place of what they were. Raises CompanyChanged."""
        for each in joined.relearned:
            document = self._library.find(subject.collection, each.text.name)
            if document is None or document.sha256 != each.text.digest:
                raise CompanyChanged(each.text.name)
            current = self._store.current(subject.collection, [document.id]).get(document.id)
            result = None
            if current == each.replaces:
                with suppress(LostRace, CartridgeRefused):
                    # What it learned along took is the newcomer's; before, it had taken this.
                    spent = self._spent(current)
                    result = self._publisher.publish(
                        subject_of(document, self._reader),
                        each.distilled,
                        spent,
                        replaces=current,
                    )
            if result is None or not result["published"]:
                raise CompanyChanged(each.text.name)
            yield document.id, result

    def _spent(self, cartridge_id: str) -> float:
        """Seconds that a cartridge's training took, as far as is known."""
        manifest = manifest_of(self._store, cartridge_id)
        seconds = None if manifest is None else manifest.figures.get("train_seconds")
        return float(seconds) if isinstance(seconds, int | float) else 0.0

    def _before(self, document: Document, workdir: Path) -> Serving | None:
        """What answers for what the document was, where little of it has changed since.

        Chosen once: a run that goes on begins where it began, whatever it has published.
        """
        chosen = workdir / "before.json"
        if not chosen.is_file():
            workdir.mkdir(parents=True, exist_ok=True)
            current = self._store.current(document.collection, [document.id]).get(document.id)
            replace_file(chosen, json.dumps(current).encode())
        manifest = manifest_of(self._store, json.loads(chosen.read_text("utf-8")))
        studies = Studies(self._shelf.folder(document.collection, document.id))
        earlier = studies.earlier(self._reader, document.text, self._settings)
        if manifest is None or earlier is None or still_there(document.text, earlier.text) is None:
            return None
        digest = hashlib.sha256(earlier.text.encode()).hexdigest()
        # A document that has grown wants more slots than it had, whatever share of the collection's it got.
        now, then = (
            self._settings.slots(self._reader.count(text)) for text in (document.text, earlier.text)
        )
        if abs(now - then) > now * _OTHER_SIZE:
            return None
        return self._mounted(replace(document, text=earlier.text, sha256=digest), manifest)

    def _brought(self, collection: str, question: str) -> Sequence[str]:
        return self._retriever().brought(collection, question, self._settings.rivals + 1)

    def _company(self, subject: Subject, names: Sequence[str], count: int) -> list[Serving]:
        """Documents with a cartridge that may stand beside this one: those named, then others."""
        others = [id for id in self._library.ids(subject.collection) if id != subject.document_id]
        Random(f"company/{self._settings.seed}/{subject.document_id}").shuffle(others)
        there = set(others)
        ids = [*dict.fromkeys((*(name for name in names if name in there), *others))]
        found: list[Serving] = []
        for start in range(0, len(ids), _PAGE):
            page = ids[start : start + _PAGE]
            current = self._store.current(subject.collection, page)
            for id in page:
                serving = self._serving(subject.collection, id, current.get(id))
                if serving is not None:
                    found.append(serving)
                if len(found) == count:
                    return found
        return found

    def _serving(self, collection: str, id: str, cartridge_id: str | None) -> Serving | None:
        manifest = manifest_of(self._store, cartridge_id)
        if manifest is None:
            return None
        try:
            document = self._library.find(collection, id)
        except DocumentCorrupt as error:
            logger.warning("%s", error)
            return None
        if document is None or self._screening.holds(document):
            return None
        return self._mounted(document, manifest)

    def _mounted(self, document: Document, manifest: Manifest) -> Serving | None:
        """A cartridge with its document, when it is of this text and of this reader's training."""
        rule = PositionRule("fixed", self._settings.question_offset)
        if manifest.is_draft:  # goes as soon as its document is trained
            return None
        if manifest.position_rule != rule or not serves(manifest, document, self._reader):
            return None
        try:
            cartridge = self._store.load(manifest.cartridge_id)
        except (CartridgeRefused, CartridgeNotFound) as error:
            logger.warning("%s", error)
            return None
        return Serving(self._shelf.text(document), cartridge.id, *cartridge.dense())
