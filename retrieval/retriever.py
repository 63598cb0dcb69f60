"""The retriever: documents go in, and for a question the documents to answer from come out.

Wires the library, an encoder and one index per collection. Knows nothing of cartridges, models
or HTTP.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from retrieval.chunking import Chunk, chunk
from retrieval.documents import Document, DocumentLibrary, check_id
from retrieval.durable import locked, make_folder
from retrieval.encoder import Encoder, Vectors
from retrieval.errors import DocumentCorrupt, IndexCorrupt, QuestionRefused
from retrieval.index import VectorIndex
from retrieval.relevance import Rarity, by_relevance, held_of, words_of
from retrieval.selection import Selected, select_documents
from retrieval.table import Entry, Hit, Indexed
from retrieval.text import is_text, normalise

logger = logging.getLogger(__name__)

T = TypeVar("T")

_DOCUMENTS_PER_WRITE = 32
_CANDIDATES = 60
"""Chunks, at least, that are looked at by their words."""


class Retriever:
    """Search over the library's collections; indexes live under `root/<collection>/`.

    Safe for several threads and processes. A corrupt index is rebuilt from the library by the
    call that meets it, with a warning in the log. Methods that name a collection raise
    `DocumentRefused("bad_id")` for a name that cannot be one; those that write raise
    `StorageFull`; those that encode raise `EncoderUnavailable`.
    """

    def __init__(
        self,
        library: DocumentLibrary,
        encoder: Encoder,
        root: Path,
        hidden: Callable[[Document], bool] = lambda _: False,
    ) -> None:
        """Documents of which `hidden` says so are not made searchable."""
        self._library = library
        self._hidden = hidden
        self._encoder = encoder
        self._root = Path(root)
        self._mutex = threading.Lock()
        self._indexes: dict[str, VectorIndex] = {}

    def index_document(self, document: Document) -> None:
        """Make a document searchable, in place of its older version. Durable on return."""
        self.index_documents([document])

    def index_documents(self, documents: Iterable[Document]) -> None:
        """Make documents searchable, a few dozen with each durable write."""
        remaining = iter(documents)
        while batch := list(islice(remaining, _DOCUMENTS_PER_WRITE)):
            by_collection: dict[str, list[Document]] = {}
            for document in batch:
                if self._hidden(document):
                    continue
                by_collection.setdefault(document.collection, []).append(document)
            for collection, members in by_collection.items():
                self._mending(
                    collection, partial(VectorIndex.add_many, entries=self._encode(members))
                )

    def remove_document(self, collection: str, id: str) -> None:
        """Make a document unsearchable; nothing happens when it is not indexed."""
        if self._is_on_disk(collection):
            self._mending(collection, lambda index: index.remove(id))

    def purge(self, collection: str, most_bytes: int | None = None) -> bool:
        """Leave no text on disk of what is not searchable any more; returns whether that is so now.

        An index of more than `most_bytes` is left for another time.
        """
        if not self._is_on_disk(collection):
            return True
        # Not the index that answers questions: who only purges need not hold every collection.
        folder = self._folder(collection)
        index = VectorIndex(folder, self._encoder.dimension, self._encoder.name)
        try:
            return index.purge(most_bytes)
        except IndexCorrupt:  # made anew, of what there is, when it is next used
            return False

    def lacks(self, document: Document) -> bool:
        """Whether the document is to be searchable and is not."""
        return not self._hidden(document) and not self.is_indexed(document)

    def is_indexed(self, document: Document) -> bool:
        """Whether exactly this version of the document is searchable."""
        if not self._is_on_disk(document.collection):
            return False
        found = self._mending(document.collection, lambda index: index.find(document.id))
        return _matches(found, document)

    def brought(self, collection: str, question: str, count: int) -> list[str]:
        """Ids of the documents found for a question, best first; none for what is no question."""
        try:
            return [hit.document_id for hit in self.search(collection, question, count)]
        except QuestionRefused:
            return []

    def search(
        self,
        collection: str,
        question: str,
        top_k: int,
        chunk_k: int = 20,
        documents: Sequence[str] | None = None,
    ) -> list[Selected]:
        """The `top_k` documents whose chunks are among the `chunk_k` that fit the question best.

        These are chosen among the nearest by what they mean and which of the question's rare words they
        hold (`retrieval.relevance`), and so are they scored.
        With `documents`, only these are searched. A collection without an index has nothing to
        find. Raises `QuestionRefused` for a question that is blank or not text, and `ValueError`
        for `top_k` or `chunk_k` < 1.
        """
        _check((question,))
        if top_k < 1 or chunk_k < 1:
            raise ValueError("Ask for at least one document and one chunk.")
        if not self._is_on_disk(collection):
            return []
        wanted = max(top_k, chunk_k)
        question = normalise(question)  # as texts are
        vector = self._encoder.encode([question])[0]
        return select_documents(
            self._fitting(collection, question, vector, wanted, documents), top_k
        )

    def passages(self, document: Document, question: str) -> Selected:
        """A document's own passages, best first, whether it is searchable or not.

        Of a long one those are looked at that hold most of the question's words. Raises `QuestionRefused`
        for a question that is blank or not text.
        """
        _check((question,))
        question = normalise(question)
        asked = words_of(question)
        pieces = list(enumerate(chunk(document.text)))
        pieces.sort(key=lambda each: (-len(asked & words_of(each[1].text)), each[0]))
        del pieces[_CANDIDATES:]
        texts = [_text_to_encode(document, piece) for _, piece in pieces]
        vector, *others = self._encoder.encode([question, *texts])
        hits = [
            Hit(document.id, place, piece.text, piece.start, piece.end, float(vector @ other))
            for (place, piece), other in zip(pieces, others, strict=True)
        ]
        if self._is_on_disk(document.collection):  # as searches score what they find
            rarity = self._mending(document.collection, VectorIndex.rarity)
            hits = by_relevance(question, hits, rarity)
        return next(iter(select_documents(hits, 1)), Selected(document.id, 0.0, ()))

    def relevances(self, collection: str, questions: Sequence[str]) -> list[float]:
        """How well each question fits the collection (the best passage's score); no question is left out.

        0.0 for one that finds nothing. Raises `QuestionRefused` for one that is blank or not text.
        """
        _check(questions)
        if not questions or not self._is_on_disk(collection):
            return [0.0] * len(questions)
        questions = [normalise(question) for question in questions]
        vectors = self._encoder.encode(questions)
        found = (
            self._fitting(collection, question, vector, 1)
            for question, vector in zip(questions, vectors, strict=True)
        )
        return [hits[0].score if hits else 0.0 for hits in found]

    def fit(self, collection: str, text: str) -> Callable[[Sequence[str]], list[float]]:
        """Tells what share of questions' words, by their rarity, a text of a collection holds (0 to 1)."""
        if not self._is_on_disk(collection):
            return lambda questions: [0.0] * len(questions)
        rarity, words = self._mending(collection, VectorIndex.rarity), words_of(text)
        return lambda questions: [held_of(question, rarity)(words) for question in questions]

    def _fitting(
        self,
        collection: str,
        question: str,
        vector: Vectors,
        count: int,
        documents: Sequence[str] | None = None,
    ) -> list[Hit]:
        """The passages that fit a question best, of those nearest to its vector."""

        def near(index: VectorIndex) -> tuple[list[Hit], Rarity]:
            return index.search(vector, max(count, _CANDIDATES), documents), index.rarity()

        hits, rarity = self._mending(collection, near)
        # A document is deleted from the library first: from then on nobody may find it.
        found = {hit.document_id for hit in hits}
        held = {id for id in found if self._library.exists(collection, id)}
        there = (hit for hit in hits if hit.document_id in held)
        return by_relevance(question, there, rarity)[:count]

    def reconcile(self, collection: str) -> tuple[int, int]:
        """Make the index agree with the library; returns how many documents it added and removed.

        Cheap when they agree. This is what to run after a crash, or with a new encoder.
        """
        return self._mending(collection, lambda index: self._reconcile(collection, index))

    def rebuild(self, collection: str) -> int:
        """Make the index anew from the library; returns how many documents it then holds.

        Searches go by the old one, where there is one, until the new one is whole.
        """
        index = self._index(collection)
        shown = (each for each in self._readable(collection) if not self._hidden(each))

        def batches() -> Iterator[list[Entry]]:
            while batch := list(islice(shown, _DOCUMENTS_PER_WRITE)):
                yield self._encode(batch)

        index.replace(batches())
        self._reconcile(collection, index)  # with what came and went meanwhile
        return len(index.documents())

    def forget_collection(self, collection: str) -> None:
        """Make a whole collection unsearchable but for documents that are in the library, at one go."""
        if self._is_on_disk(collection):
            self._index(collection).reset()
            self.reconcile(collection)

    def _reconcile(self, collection: str, index: VectorIndex) -> tuple[int, int]:
        indexed = index.documents()
        stale = [id for id in indexed if not self._library.exists(collection, id)]
        for id in stale:
            index.remove(id)
        missing = (
            document
            for document in self._readable(collection)
            if not _matches(indexed.get(document.id), document) and not self._hidden(document)
        )
        added = 0
        while batch := list(islice(missing, _DOCUMENTS_PER_WRITE)):
            for document in batch:
                found = indexed.get(document.id)
                if found and found.version >= document.version:
                    # Left by a document that was lost; the index would take it for the newer one.
                    index.remove(document.id)
            index.add_many(self._encode(batch))
            added += len(batch)
        return added, len(stale)

    def _mending(self, collection: str, use: Callable[[VectorIndex], T]) -> T:
        index = self._index(collection)
        try:
            return use(index)
        except IndexCorrupt:
            make_folder(self._folder(collection))
            with locked(self._folder(collection) / "rebuilding"):
                try:
                    return use(index)  # somebody else was faster
                except IndexCorrupt as error:
                    logger.warning("The index of %s is being rebuilt. %s", collection, error)
                    self.rebuild(collection)
            return use(index)

    def _index(self, collection: str) -> VectorIndex:
        folder = self._folder(collection)
        with self._mutex:
            if collection not in self._indexes:
                self._indexes[collection] = VectorIndex(
                    folder, self._encoder.dimension, self._encoder.name
                )
            return self._indexes[collection]

    def _is_on_disk(self, collection: str) -> bool:
        return self._folder(collection).is_dir()

    def _folder(self, collection: str) -> Path:
        return self._root / check_id(collection, "collection name")

    def _readable(self, collection: str) -> Iterator[Document]:
        for id in self._library.ids(collection):
            try:
                document = self._library.find(collection, id)
            except DocumentCorrupt as error:
                logger.warning("%s", error)
                continue
            if document:
                yield document

    def _encode(self, documents: Sequence[Document]) -> list[Entry]:
        chunks = [tuple(chunk(document.text)) for document in documents]
        vectors = self._encoder.encode(
            [
                _text_to_encode(document, piece)
                for document, pieces in zip(documents, chunks, strict=True)
                for piece in pieces
            ]
        )
        entries, start = [], 0
        for document, pieces in zip(documents, chunks, strict=True):
            stop = start + len(pieces)
            entries.append(
                Entry(document.id, document.version, document.sha256, pieces, vectors[start:stop])
            )
            start = stop
        return entries


def _check(questions: Iterable[str]) -> None:
    if not all(is_text(question) and question.strip() for question in questions):
        raise QuestionRefused("The question is empty or not text; ask one in words.")


def _matches(indexed: Indexed | None, document: Document) -> bool:
    state = (document.version, document.sha256)
    return indexed is not None and (indexed.version, indexed.sha256) == state


def _text_to_encode(document: Document, piece: Chunk) -> str:
    # A chunk from the middle of a document often does not say what it is about.
    return f"Title: {document.title}\n{piece.text}"
