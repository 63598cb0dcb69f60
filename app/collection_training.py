"""A collection's training as a job has it: all of its documents as they stand, beside each other.

Trained in this process, or by a fleet where there is one. Knows library, index and publisher; knows no job.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from app.fleet import Fleet
from app.publishing import Publisher, unpublished
from app.reconcile import subject_of
from app.relevance import learn_relevance
from app.screening import Screening, stopping
from app.stopwatch import Stopwatch
from app.study_shelf import StudyShelf
from app.tally import Tally
from cartridge_store.errors import CartridgeRefused, LostRace
from inference.reader import Reader
from retrieval.documents import Document, DocumentLibrary
from retrieval.retriever import Retriever
from training.collection import Find, Outcome, Text
from training.pipeline import Distilled
from training.settings import Progress, TrainingSettings

Result = dict[str, Any]


class DistilCollection(Protocol):
    """What `training.collection.distil_collection` does."""

    def __call__(
        self,
        reader: Reader,
        texts: Sequence[Text],
        settings: TrainingSettings,
        *,
        workdir: Path,
        find: Callable[[str], Sequence[str]],
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> Iterable[Outcome]: ...


class CollectionTraining:
    """Trains collections and publishes what passes its check."""

    def __init__(
        self,
        *,
        library: DocumentLibrary,
        retriever: Callable[[], Retriever],
        publisher: Publisher,
        reader: Reader,
        distil_collection: DistilCollection,
        settings: TrainingSettings,
        tally: Tally,
        shelf: StudyShelf,
        screening: Screening,
        fleet: Fleet | None,
    ) -> None:
        self._library = library
        self._retriever = retriever  # opened by the first job that needs its encoder
        self._publisher = publisher
        self._reader = reader
        self._distil_collection = distil_collection
        self._settings = settings
        self._tally = tally
        self._shelf = shelf
        self._screening = screening
        self._fleet = fleet

    def run(
        self,
        collection: str,
        workdir: Path,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> Result:
        """Train all documents of the collection as they stand when the job begins; what its job says.

        Those in quarantine are left out.

        Raises TrainingRefused, Cancelled and what `tasks.TRANSIENT` names.
        """
        documents = {
            document.id: document
            for document in self._library.list(collection, limit=sys.maxsize)
            if not self._holds(document, progress, cancelled)
        }
        retriever = self._retriever()
        train = self._by_fleet if self._fleet is not None else self._here

        def brought(question: str) -> Sequence[str]:
            return retriever.brought(collection, question, self._settings.rivals + 1)

        with self._shelf.for_documents(collection, [*documents], self._library):
            results = dict(train(documents, brought, workdir, progress, cancelled))
            learn_relevance(
                self._shelf,
                self._library,
                self._retriever,
                self._reader,
                self._settings,
                documents.values(),
            )
        published = sum(result["published"] for result in results.values())
        return {
            "published": published,
            "unpublished": len(results) - published,
            "documents": results,
        }

    def _holds(
        self,
        document: Document,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> bool:
        noted = self._screening.look(document, stopping("screening", progress, cancelled))
        return noted is not None and noted.held

    def _here(
        self,
        documents: dict[str, Document],
        find: Find,
        workdir: Path,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> Iterator[tuple[str, Result]]:
        watch = Stopwatch(workdir / "seconds")
        outcomes = self._distil_collection(
            self._reader,
            [self._shelf.text(document) for document in documents.values()],
            self._settings,
            workdir=workdir,
            find=find,
            progress=watch.noting(progress),
            cancelled=cancelled,
        )
        for outcome in outcomes:
            document = documents.get(outcome.name)
            if document is None or document.sha256 != outcome.digest:
                yield (
                    outcome.name,
                    unpublished("The document was deleted or has a newer version."),
                )
            elif self._screening.holds(document):
                yield outcome.name, unpublished("The document is in quarantine.")
            elif outcome.distilled is None:
                yield outcome.name, unpublished(outcome.reason)
            else:
                count_check(self._tally, outcome.distilled)
                try:
                    seconds = watch.seconds / len(documents)
                    subject = subject_of(document, self._reader)
                    yield (
                        outcome.name,
                        self._publisher.publish(subject, outcome.distilled, seconds),
                    )
                except (LostRace, CartridgeRefused) as error:
                    # The others are none the worse.
                    yield outcome.name, unpublished(str(error))

    def _by_fleet(
        self,
        documents: dict[str, Document],
        find: Find,
        workdir: Path,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> Iterator[tuple[str, Result]]:
        assert self._fleet is not None
        for name, result in self._fleet.train(
            [self._shelf.text(document) for document in documents.values()],
            {name: subject_of(each, self._reader) for name, each in documents.items()},
            find,
            workdir=workdir,
            progress=progress,
            cancelled=cancelled,
        ):
            passed = result.pop("passed", None)
            if passed is not None:
                _count(self._tally, passed=passed)
            yield name, result


def count_check(tally: Tally, distilled: Distilled) -> None:
    """Count a held-out check and its training's last loss."""
    _count(tally, passed=distilled.passed)
    loss = distilled.figures.get("last_loss")
    if isinstance(loss, float):
        tally.put(last_loss=loss)


def _count(tally: Tally, *, passed: bool) -> None:
    tally.add(**{f"checks_{'passed' if passed else 'failed'}": 1})
