"""Answering: a question becomes documents, mounted as cartridges or as text, and an answer.

Knows retriever, store and engine through their own interfaces; knows no HTTP and no JSON.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from weakref import WeakSet

from app.asked import Asked, Question, plain, since
from app.evidence import Evidence, Mounting, added_texts, best_chunks
from app.numerals import cut_numerals
from app.second_look import SecondLook
from cartridge_store.cartridge import Cartridge
from cartridge_store.errors import CartridgeRefused
from cartridge_store.store import CartridgeStore
from inference.composer import CompositionRefused
from inference.engine import Completion, Engine, Request, RequestRefused, Stream
from inference.reader import Reader
from retrieval.documents import Document, DocumentLibrary
from retrieval.errors import DocumentCorrupt, DocumentNotFound, QuestionRefused
from retrieval.retriever import Retriever
from retrieval.selection import Selected
from retrieval.text import is_text, normalise

logger = logging.getLogger(__name__)


SureAt = Callable[[str, Sequence[Cartridge]], float | None]


class Answering:
    """Answers questions; safe to share between threads."""

    def __init__(
        self,
        *,
        library: DocumentLibrary,
        retriever: Retriever,
        store: CartridgeStore,
        engine: Engine,
        reader: Reader,
        max_question_chars: int,
        passages: int = 4,
        not_stated: str = "That is not stated.",
        second_look: int = 1,
        sure_at: SureAt = lambda collection, mounted: None,
        least_relevance: Callable[[str], float | None] = lambda collection: None,
        damaged: Callable[[Document, str], None] = lambda document, cartridge_id: None,
    ) -> None:
        """`second_look` passages are read where cartridges are doubted; zero is never. `sure_at` is how
        probable an answer from a collection's cartridges must be (`app.certainty`), `least_relevance`
        what a question to it must have (`app.relevance`); None for any. `damaged` is told of cartridges
        whose bytes are not what was published."""
        self._library = library
        self._retriever = retriever
        self._engine = engine
        self._mounting = Mounting(store, reader, passages, damaged)
        self._max_question_chars = max_question_chars
        self._passages = passages
        self._not_stated = not_stated
        self._second_look, self._sure_at = second_look, sure_at
        self._least_relevance = least_relevance
        self._lock = threading.Lock()
        self._under_way: WeakSet[Asked] = WeakSet()

    def ask(self, question: Question) -> Asked:
        """Find the documents, mount them and hand the question to the engine.

        Raises `QuestionRefused`, `DocumentNotFound` for a named document that is not there,
        `DocumentRefused` for a bad id, and `RequestRefused` when the prompt is too long.
        """
        began = time.perf_counter()
        # As documents are: words are compared, and a letter with a loose accent is two characters.
        question = replace(question, text=normalise(question.text).strip())
        text = question.text
        if not text or not is_text(text):
            raise QuestionRefused("The question is empty or not text; ask one in words.")
        if len(text) > self._max_question_chars:
            raise QuestionRefused(
                f"The question has {len(text)} characters; ask one of at most "
                f"{self._max_question_chars}."
            )
        notices: list[str] = []
        selected = self._select(question, notices)
        retrieve_ms = since(began)
        loading = time.perf_counter()
        evidence = self._mounting.mount(selected, question.mode, notices, drafts=question.drafts)
        if question.text_tokens is not None:
            evidence = [self._mounting.cut(piece, question.text_tokens) for piece in evidence]
        added = added_texts(selected, question.beside)
        load_ms = since(loading)
        stream: Stream | SecondLook | None = None
        if evidence or question.mounted or question.mode == "none":
            try:
                stream = self._submitted(question, evidence, added, notices)
            except (CartridgeRefused, CompositionRefused, RequestRefused) as error:
                if question.mounted:  # there is no text to read in their place
                    raise RequestRefused(str(error)) from error
                if all(piece.cartridge is None for piece in evidence):
                    raise
                logger.warning("%s", error)
                notices.append(f"The cartridges were refused, so the texts were read. {error}")
                evidence = [piece.as_text() for piece in evidence]
                stream = self._submit(question, evidence, added)
        asked = Asked(
            question,
            evidence,
            notices,
            stream,
            began=began,
            retrieve_ms=retrieve_ms,
            load_ms=load_ms,
            not_stated=self._not_stated,
        )
        with self._lock:
            self._under_way.add(asked)
        # Deleted since it was found: whoever told so did not know of this answer yet.
        for id in asked.documents:
            self.gone(question.collection, id)
        return asked

    def gone(self, collection: str, id: str) -> None:
        """Withdraw the answers under way that are made from a document that is there no more."""
        if not self._library.exists(collection, id):
            for asked in self._all_under_way():
                if asked.collection == collection and id in asked.documents:
                    asked.withdraw()

    def look(self) -> None:
        """The same for whatever was deleted while nobody said so."""
        for asked in self._all_under_way():
            if not all(self._library.exists(asked.collection, id) for id in asked.documents):
                asked.withdraw()

    def _all_under_way(self) -> list[Asked]:
        with self._lock:
            return list(self._under_way)

    def _select(self, question: Question, notices: list[str]) -> list[tuple[Document, Selected]]:
        """The documents to answer from, best first; none, with a notice, where they do not fit."""
        if question.mode == "none" or question.mounted:
            return []
        named = list(dict.fromkeys(question.documents or ()))
        # A named document that is not there is an error; one that search does not find is not.
        documents = {id: self._library.get(question.collection, id) for id in named}
        chunks = question.top_k or self._passages
        top_k = chunks if question.mode == "rag" else question.top_k or 1
        if named and question.mode in ("cartridge", "icl"):
            top_k = question.top_k or len(named)
        found = self._retriever.search(
            question.collection, question.text, max(top_k, 1), documents=named or None
        )
        if found and question.mode == "auto" and not named:
            least = self._least_relevance(question.collection)
            if least is not None and found[0].score < least:
                notices.append("No document fits the question well enough, so none was asked.")
                return []
        there = {selected.document_id for selected in found}
        missed = [document for id, document in documents.items() if id not in there]
        if question.mode not in ("cartridge", "icl"):
            # The others fit the question less than those which were found.
            missed = [each for each in missed if not self._retriever.is_indexed(each)]
            found = sorted([*found, *self._missed(question, missed)], key=lambda one: -one.score)
        elif len(found) < top_k:
            found = [*found, *self._missed(question, missed)]
        found = found[: max(top_k, 1)]
        if question.mode == "rag":
            found = best_chunks(found, chunks)
        pairs = []
        for selected in found:
            document = documents.get(selected.document_id) or self._readable(
                question.collection, selected.document_id
            )
            if document is not None:
                pairs.append((document, selected))
        return pairs

    def _missed(self, question: Question, documents: Sequence[Document]) -> list[Selected]:
        """Named documents that a search did not bring: its passages were of others, or they are held back.

        Of each no more is read than of those which were found.
        """
        if question.mode == "icl":  # read whole in any case
            return [Selected(document.id, 0.0, ()) for document in documents]
        found = []
        for document in documents:
            own = self._retriever.search(
                question.collection, question.text, 1, documents=[document.id]
            )
            found += own or [self._retriever.passages(document, question.text)]
        return sorted(found, key=lambda selected: -selected.score)

    def _readable(self, collection: str, id: str) -> Document | None:
        # Deleted or damaged since the search: the others still answer.
        try:
            return self._library.find(collection, id)
        except DocumentCorrupt as error:
            logger.warning("%s", error)
            return None

    def _submitted(
        self, question: Question, evidence: list[Evidence], added: Sequence[str], notices: list[str]
    ) -> Stream | SecondLook:
        """The engine's stream, with a second look where the question leaves the way to us.

        A second look changes `evidence` and adds to `notices`. What is drawn by chance is not doubted: its
        tokens may be unlikely on purpose.
        """
        least = None
        if question.mode == "auto" and self._second_look and question.sampling.temperature == 0:
            mounted = [piece.cartridge for piece in evidence if piece.cartridge is not None]
            least = self._sure_at(question.collection, mounted)
        if least is None:
            return self._submit(question, evidence, added)
        wanted = replace(question.sampling, sure_at=least)

        def doubted(said: Completion) -> bool:
            unsure = said.certainty is not None and said.certainty < least
            if unsure or plain(said.text) == plain(self._not_stated):
                return True
            return any(cut_numerals(said.text, [piece.whole for piece in evidence]))

        return SecondLook(
            self._submit(replace(question, sampling=wanted), evidence, added),
            doubted,
            lambda: self._look_again(question, evidence, added, notices),
        )

    def _look_again(
        self, question: Question, evidence: list[Evidence], added: Sequence[str], notices: list[str]
    ) -> Stream:
        """The best passages in place of the cartridges; their own answer where none can be read."""
        # No less than what was looked at: documents without a cartridge were read already.
        instead = replace(question, mode="rag", top_k=max(self._second_look, len(evidence)))
        found = self._mounting.mount(self._select(instead, notices), "rag", notices)
        try:
            stream = self._submit(instead, found) if found else None
        except RequestRefused as error:
            notices.append(f"The cartridges were doubted, but no passage could be read. {error}")
            stream = None
        if stream is None:
            return self._submit(question, evidence, added)
        evidence[:] = found
        notices.append("The reader was not sure behind the cartridges, so it read passages.")
        # Deleted since it was found: whoever told so did not know that this answer reads it.
        if not all(self._library.exists(question.collection, p.source.document_id) for p in found):
            stream.cancel()
            raise DocumentNotFound("A document was deleted while it answered; ask again.")
        return stream

    def _submit(
        self, question: Question, evidence: Sequence[Evidence], added: Sequence[str] = ()
    ) -> Stream:
        return self._engine.submit(
            Request(
                question=question.text,
                cartridges=question.mounted
                or tuple(e.cartridge for e in evidence if e.cartridge is not None),
                texts=(*(e.text for e in evidence if e.cartridge is None), *added),
                sampling=question.sampling,
            )
        )
