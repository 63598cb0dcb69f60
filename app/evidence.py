"""Evidence: a document that was found becomes a cartridge or a text for the engine.

Knows the store and what passages are; knows no search, no engine and no HTTP.
"""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from cartridge_store.cartridge import Cartridge
from cartridge_store.errors import CartridgeNotFound, CartridgeRefused, StoreError
from cartridge_store.store import CartridgeStore
from inference.reader import Reader
from retrieval.documents import Document
from retrieval.marks import Mark
from retrieval.selection import Selected
from retrieval.table import Hit

logger = logging.getLogger(__name__)

Mode = Literal["auto", "cartridge", "rag", "icl", "none"]


@dataclass(frozen=True)
class Source:
    """A document that an answer was made from, and whether as a cartridge or as text.

    `marks` are the document's: they say which page and section a passage is from.
    """

    document_id: str
    title: str
    score: float
    via: Literal["cartridge", "text"]
    passages: tuple[Hit, ...]
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What goes to the engine for a document: its cartridge or, without one, the text."""

    source: Source
    cartridge: Cartridge | None
    text: str
    whole: str = ""  # the document's text, of which `text` is what would be read

    @property
    def is_trained(self) -> bool:
        """Whether it is a trained cartridge, and no draft."""
        return self.cartridge is not None and not self.cartridge.manifest.is_draft

    def as_text(self) -> "Evidence":
        """The same document without its cartridge."""
        source = dataclasses.replace(self.source, via="text")
        return dataclasses.replace(self, source=source, cartridge=None)


class Mounting:
    """Finds each document's cartridge; a text has at most `passages` of what was found in it."""

    def __init__(
        self,
        store: CartridgeStore,
        reader: Reader,
        passages: int,
        damaged: Callable[[Document, str], None] = lambda document, cartridge_id: None,
    ) -> None:
        """`damaged` is told of a document whose cartridge's bytes are not what was published."""
        self._store, self._damaged = store, damaged
        self._reader = reader
        self._passages = passages

    def mount(
        self,
        found: Sequence[tuple[Document, Selected]],
        mode: Mode,
        notices: list[str],
        *,
        drafts: bool = True,
    ) -> list[Evidence]:
        """The documents' evidence; what did not go as asked is added to `notices`.

        All cartridges are fetched side by side before the first is needed. Without `drafts` a document that
        has nothing else has none. Beside a text or a draft, which is one, nothing is mounted: a trained
        cartridge is hardly heard there (docs/decisions/0018).
        """
        versions: dict[str, str] = {}
        if found and mode in ("auto", "cartridge"):
            collection = found[0][0].collection  # a question is of one
            versions = self._store.current(collection, [document.id for document, _ in found])
            self._store.prefetch(versions.values())
        mounted = []
        for document, selected in found:
            known = len(notices)
            cartridge = self._cartridge(document, versions.get(document.id), notices)
            if cartridge is not None and cartridge.manifest.is_draft and not drafts:
                cartridge = None
            if cartridge is None and mode == "cartridge" and len(notices) == known:
                notices.append(f"Document {document.id} has no cartridge; its text was read.")
            mounted.append(self._evidence(document, selected, mode, cartridge))
        trained = [piece.is_trained for piece in mounted]
        if any(trained) and not all(trained):
            notices.append(
                "Not all of these documents have a trained cartridge, so all were read as text: "
                "beside text a cartridge is hardly heard."
            )
            mounted = [piece.as_text() if piece.is_trained else piece for piece in mounted]
        return mounted

    def cut(self, piece: Evidence, tokens: int) -> Evidence:
        """The same evidence with no more of its text than this."""
        return dataclasses.replace(piece, text=self._reader.cut(piece.text, tokens))

    def _evidence(
        self, document: Document, found: Selected, mode: Mode, cartridge: Cartridge | None
    ) -> Evidence:
        passages = found.passages if mode == "rag" else found.passages[: self._passages]
        whole = mode == "icl" or not passages
        text = document.text if whole else as_text(document, passages)
        via: Literal["cartridge", "text"] = "cartridge" if cartridge is not None else "text"
        source = Source(document.id, document.title, found.score, via, passages, document.marks)
        return Evidence(source, cartridge, text, document.text)

    def _cartridge(
        self, document: Document, version: str | None, notices: list[str]
    ) -> Cartridge | None:
        """The document's cartridge, when it is of this text and this reader can mount it."""
        if version is None:
            return None
        try:
            cartridge = self._loaded(document, version)
            if cartridge.manifest.document_sha256 != document.sha256:
                # Of an older version; the new one is being trained.
                return None
            cartridge.require_reader(self._reader.fingerprint, self._reader.tokenizer_fingerprint)
        except (CartridgeRefused, CartridgeNotFound) as error:
            logger.warning("Document %s of %s: %s", document.id, document.collection, error)
            notices.append(f"The cartridge of document {document.id} was refused. {error}")
            return None
        except StoreError as error:
            # Its words may name hosts; the text is still there.
            logger.warning("%s", error)
            notices.append(
                f"Document {document.id} was read as text: the store of cartridges is out of reach."
            )
            return None
        return cartridge

    def _loaded(self, document: Document, version: str) -> Cartridge:
        try:
            return self._store.load(version)
        except CartridgeRefused:
            self._damaged(document, version)
            raise


def best_chunks(found: Sequence[Selected], chunks: int) -> list[Selected]:
    """The documents with only those passages that are among the best `chunks` of all."""
    best = sorted((hit for each in found for hit in each.passages), key=lambda hit: -hit.score)
    kept = {(hit.document_id, hit.chunk_index) for hit in best[:chunks]}
    trimmed = (
        Selected(
            each.document_id,
            each.score,
            tuple(hit for hit in each.passages if (hit.document_id, hit.chunk_index) in kept),
        )
        for each in found
    )
    return [each for each in trimmed if each.passages]


def added_texts(found: Sequence[tuple[Document, Selected]], count: int) -> list[str]:
    """The best `count` passages of all documents, each as a text of its own."""
    hits = sorted(
        ((hit, document) for document, selected in found for hit in selected.passages),
        key=lambda pair: -pair[0].score,
    )
    return [as_text(document, [hit]) for hit, document in hits[:count]]


def as_text(document: Document, passages: Sequence[Hit]) -> str:
    """The passages in the document's order, what overlaps once, headed by the title."""
    pieces: list[str] = []
    end = -1
    for hit in sorted(passages, key=lambda hit: hit.start):
        if hit.start < end:
            pieces[-1] += hit.text[end - hit.start :]
        else:
            pieces.append(hit.text)
        end = max(end, hit.end)
    text = "\n\n".join(pieces)
    return text if text.lstrip("# ").startswith(document.title) else f"# {document.title}\n\n{text}"
