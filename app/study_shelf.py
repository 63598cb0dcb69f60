"""Where documents' studies lie, by collection and document, and how they leave.

A study says what its document says: it goes with it. Knows folders and ids; knows no training.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from retrieval.documents import Document, DocumentLibrary, check_id
from retrieval.errors import DocumentRefused
from training.collection import Text


class StudyShelf:
    """The studies of all documents, a folder for each under `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, collection: str, id: str) -> Path:
        """Where a document's studies are, made by whoever writes there."""
        return self.of_collection(collection) / check_id(id)

    def of_collection(self, collection: str) -> Path:
        """Where a collection's studies are, a folder for each document."""
        return self._root / check_id(collection, "collection name")

    def text(self, document: Document) -> Text:
        """A document as training has it."""
        folder = self.folder(document.collection, document.id)
        return Text(document.id, document.sha256, document.text, str(folder.absolute()))

    def forget(self, collection: str, id: str) -> None:
        """Delete a document's studies, if there are any."""
        shutil.rmtree(self.folder(collection, id), ignore_errors=True)

    @contextmanager
    def for_documents(
        self, collection: str, ids: Sequence[str], library: DocumentLibrary
    ) -> Iterator[None]:
        """Studies of these documents are made within this block; of one deleted meanwhile none stays."""
        try:
            yield
        finally:
            for id in ids:
                if not library.exists(collection, id):
                    self.forget(collection, id)

    def kept(self) -> Iterator[tuple[str, str]]:
        """Collections and ids of the documents that have studies."""
        for path in self._root.glob("*/*"):
            with suppress(DocumentRefused):  # whatever else lies there is nobody's study
                yield check_id(path.parent.name, "collection name"), check_id(path.name)
