"""The chunk table: chunks and their vectors in memory, searchable through FAISS.

Knows no files, locks or encoders; its owner serialises all access.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import faiss
import numpy as np

from retrieval.chunking import Chunk
from retrieval.encoder import Vectors


@dataclass(frozen=True)
class Entry:
    """What the index holds of one document version.

    `vectors` is float32 `[len(chunks), dimension]`; `sha256` is that of the document's text.
    """

    document_id: str
    version: int
    sha256: str
    chunks: tuple[Chunk, ...]
    vectors: Vectors


@dataclass(frozen=True)
class Hit:
    """A chunk that a search found; `score` is the inner product with the question's vector."""

    document_id: str
    chunk_index: int
    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Indexed:
    """A document in the table: its chunks are the rows `first_row`, `first_row + 1`, ..."""

    document_id: str
    version: int
    sha256: str
    first_row: int
    chunks: tuple[Chunk, ...]

    @property
    def rows(self) -> range:
        return range(self.first_row, self.first_row + len(self.chunks))


class ChunkTable:
    """The chunks of one collection. Row numbers are given once and never again."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._vectors: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))
        self._documents: dict[str, Indexed] = {}
        self._owner_of_row: dict[int, Indexed] = {}
        self._next_row = 0
        self.changes = 0
        """Chunks that were entered or taken out since it was made."""

    @classmethod
    def restored(
        cls, dimension: int, vectors: Any, documents: Sequence[Indexed], next_row: int
    ) -> "ChunkTable":
        """A table over an existing FAISS index. Raises `ValueError` where the two disagree."""
        table = cls(dimension)
        for document in documents:
            table._enter(document)
        stored = sorted(faiss.vector_to_array(vectors.id_map).tolist())
        agree = (
            vectors.d == dimension
            and stored == sorted(table._owner_of_row)
            and next_row > max(stored, default=-1)
            and len(table._documents) == len(documents)
        )
        if not agree:
            raise ValueError("The vectors are not those of the chunks.")
        table._vectors = vectors
        table._next_row = next_row
        return table

    @property
    def vectors(self) -> Any:
        """The FAISS index: `IndexIDMap2` over `IndexFlatIP`, row numbers as ids."""
        return self._vectors

    @property
    def documents(self) -> Mapping[str, Indexed]:
        """Every document in the table by id, read-only."""
        return MappingProxyType(self._documents)

    @property
    def next_row(self) -> int:
        return self._next_row

    @property
    def passages(self) -> int:
        """How many chunks there are."""
        return len(self._owner_of_row)

    def put(self, entry: Entry) -> None:
        """Enter a document, replacing what is held of it, unless that is a newer version."""
        present = self._documents.get(entry.document_id)
        if present and present.version > entry.version:
            return
        self.drop(entry.document_id)
        document = Indexed(
            entry.document_id, entry.version, entry.sha256, self._next_row, entry.chunks
        )
        if entry.chunks:
            self._vectors.add_with_ids(entry.vectors, np.array(document.rows, dtype=np.int64))
        self._next_row += len(entry.chunks)
        self.changes += len(entry.chunks)
        self._enter(document)

    def drop(self, document_id: str) -> None:
        """Take a document out; nothing happens when it is not there."""
        document = self._documents.pop(document_id, None)
        if document is None:
            return
        if document.chunks:
            self._vectors.remove_ids(np.array(document.rows, dtype=np.int64))
        self.changes += len(document.chunks)
        for row in document.rows:
            del self._owner_of_row[row]

    def search(self, vector: Vectors, k: int, documents: Collection[str] | None) -> list[Hit]:
        """The `k` nearest chunks, best first, of all documents or of the named ones."""
        parameters = None
        available = len(self._owner_of_row)
        if documents is not None:
            wanted = np.array(list(self._rows_of(documents)), dtype=np.int64)
            available = len(wanted)
            # FAISS borrows the selector: this name keeps it alive during the search.
            selector = faiss.IDSelectorBatch(wanted)
            parameters = faiss.SearchParameters()
            parameters.sel = selector
        k = min(k, available)
        if k == 0:
            return []
        scores, rows = self._vectors.search(vector[None], k, params=parameters)
        return [
            self._hit(int(row), float(score))
            for row, score in zip(rows[0], scores[0], strict=True)
            if row >= 0
        ]

    def _rows_of(self, documents: Collection[str]) -> Iterator[int]:
        for document_id in set(documents) & self._documents.keys():
            yield from self._documents[document_id].rows

    def _hit(self, row: int, score: float) -> Hit:
        document = self._owner_of_row[row]
        chunk = document.chunks[row - document.first_row]
        return Hit(document.document_id, chunk.index, chunk.text, chunk.start, chunk.end, score)

    def _enter(self, document: Indexed) -> None:
        self._documents[document.document_id] = document
        self._owner_of_row.update(dict.fromkeys(document.rows, document))
