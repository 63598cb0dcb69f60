"""Screening: what a document that arrives turns of its neighbours' answers, before it is trained.

What is found is noted, and the document is held back where that is wished. Knows library, index, studies
and a reader; knows no job and no cartridge.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from app.conflicts import Conflicts, Noted
from app.study_shelf import StudyShelf
from inference.reader import Reader
from retrieval.chunking import chunk
from retrieval.documents import Document, DocumentLibrary
from retrieval.errors import DocumentCorrupt
from retrieval.retriever import Retriever
from retrieval.sampling import spread
from training.conflicts import Conflict
from training.neighbourhood import Known
from training.settings import TrainingSettings
from training.studies import Studies

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
Policy = Literal["ignore", "warn", "quarantine"]
_PASSAGES = 16  # of a document, at most, for which it is looked who else speaks of such things
_NEIGHBOURS = 4
_NEAR = 3  # documents that are near a passage
_FEWEST = 2
"""Conflicts from which a document is held back: one answer alone may turn by chance."""


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
        policy: Policy,
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

        One that is held back is found by no search from here on. Raises StorageFull.
        """
        noted = self._noted.of(document)
        if noted is None and self._policy != "ignore":
            retriever = self._retriever()
            found = self._find(
                self._reader,
                document.text,
                self._neighbours(document, retriever),
                lambda questions: retriever.held(document.collection, questions, document.text),
                self._settings,
                report,
            )
            held = self._policy == "quarantine" and len(found) >= _FEWEST
            noted = self._noted.note(document, found, held=held)
        if noted is not None and noted.held:
            # Also of a run that was stopped in between.
            self._retriever().remove_document(document.collection, document.id)
        return noted

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
            other = self._readable(document.collection, id)
            if other is None or self._noted.holds(other) or len(known) == _NEIGHBOURS:
                continue
            found = Studies(self._shelf.folder(other.collection, id)).find(
                self._reader, other.text, self._settings
            )
            if found is not None:
                known.append(Known(self._shelf.text(other), found[0]))
        return known

    def _readable(self, collection: str, id: str) -> Document | None:
        try:
            return self._library.find(collection, id)
        except DocumentCorrupt:
            return None
