"""Screening: what a document that arrives turns of its neighbours' answers, before it is trained.

What is found is noted, and the document is held back where that is wished. Knows library, index, studies
and a reader; knows no job and no cartridge.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from app.conflicts import Conflicts, Noted
from app.settings import ConflictPolicy
from app.study_shelf import StudyShelf
from inference.reader import Reader
from retrieval.chunking import chunk
from retrieval.documents import Document, DocumentLibrary
from retrieval.errors import DocumentCorrupt
from retrieval.retriever import Retriever
from retrieval.sampling import spread
from training.conflicts import MISLEADING_FROM, Conflict
from training.neighbourhood import Known
from training.settings import Cancelled, Progress, TrainingSettings
from training.studies import Studies

logger = logging.getLogger(__name__)

Find = Callable[
    [
        Reader,
        str,
        Sequence[Known],
        Callable[[Sequence[str]], Sequence[float]],
        TrainingSettings,
        Callable[[float], None],
    ],
    list[Conflict],
]
"""What `training.conflicts.conflicts` does."""
_PASSAGES = 16  # of a document, at most, for which it is looked who else speaks of such things
_NEIGHBOURS = 4
_NEAR = 3  # documents that are near a passage


class Screening:
    """Looks at documents as `policy` wishes."""

    def __init__(
        self,
        *,
        library: DocumentLibrary,
        retriever: Callable[[], Retriever],
        reader: Reader,
        shelf: StudyShelf,
        noted: Conflicts,
        settings: TrainingSettings,
        policy: ConflictPolicy,
        find: Find,
    ) -> None:
        self._library = library
        self._retriever = retriever
        self._reader = reader
        self._shelf = shelf
        self._noted = noted
        self._settings = settings
        self._policy = policy
        self._find = find

    def look(self, document: Document, report: Callable[[float], None]) -> Noted | None:
        """What is known of the document's conflicts, looked for once; what `report` raises stops it.

        One that is held back is found by no search from here on. Where nothing is ever held back, what goes
        wrong is logged: nobody is to lose a training by it.
        """
        try:
            return self._looked(document, report)
        except Cancelled:
            raise
        except Exception as error:
            if self._policy == "quarantine":
                raise
            logger.warning("The conflicts of %s are not known: %s", document.id, error)
            return None

    def _looked(self, document: Document, report: Callable[[float], None]) -> Noted | None:
        noted = self._noted.of(document)
        if noted is None and self._policy != "ignore":
            noted = self._search(document, report)
        if noted is None or not noted.held:
            return noted
        retriever = self._retriever()
        if retriever.is_indexed(document):  # and not a newer version of it
            retriever.remove_document(document.collection, document.id)
            now = self._readable(document.collection, document.id)
            # What came between the look and the removal went with it.
            if now is not None and now.version != document.version and retriever.lacks(now):
                retriever.index_document(now)
        noted = self._noted.of(document)
        if noted is not None and not noted.held:  # released meanwhile
            retriever.index_document(document)
        return noted

    def _search(self, document: Document, report: Callable[[float], None]) -> Noted | None:
        retriever = self._retriever()

        def there(id: str) -> str | None:
            found = self._readable(document.collection, id)
            return None if found is None else found.sha256

        found = self._find(
            self._reader,
            document.text,
            self._neighbours(document, retriever),
            retriever.fit(document.collection, document.text),
            self._settings,
            report,
        )
        held = self._policy == "quarantine" and len(found) >= MISLEADING_FROM
        return self._noted.note(document, found, held=held, there=there)

    def holds(self, document: Document) -> bool:
        """Whether a document is not to be answered from."""
        return self._noted.holds(document)

    def _neighbours(self, document: Document, retriever: Retriever) -> list[Known]:
        """Documents near its passages whose studies are kept, the nearest first."""
        near: Counter[str] = Counter()
        for piece in spread(chunk(document.text), _PASSAGES):
            near.update(retriever.brought(document.collection, piece.text, _NEAR + 1))
        del near[document.id]
        known: list[Known] = []
        for id, _ in near.most_common():
            if len(known) == _NEIGHBOURS:  # the others need not be read
                break
            other = self._readable(document.collection, id)
            if other is None or self._noted.holds(other):
                continue
            found = Studies(self._shelf.folder(other.collection, id)).known(
                self._reader, other.text, self._settings
            )
            if found is not None:
                known.append(Known(self._shelf.text(other), found))
        return known

    def _readable(self, collection: str, id: str) -> Document | None:
        try:
            return self._library.find(collection, id)
        except DocumentCorrupt:
            return None


def stopping(
    stage: str, progress: Callable[[Progress], None], cancelled: Callable[[], bool]
) -> Callable[[float], None]:
    """Reports that a stage goes on, and stops it."""

    def report(_: float) -> None:
        if cancelled():
            raise Cancelled
        progress(Progress(stage, 0.0))

    return report
