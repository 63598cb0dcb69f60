"""A collection as one file, from one machine to another: its texts and its cartridges.

All of it is verified before anything is imported. The vectors are not in it: the importing machine's
encoder makes them from the texts. Knows library, store and retriever; knows no HTTP and no queue.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.archive_file import (
    FORMAT,
    cartridge_name,
    conflicts_of,
    described,
    members,
    text_name,
    verified,
    write_archive,
)
from app.conflicts import Conflicts
from app.publishing import put_version
from app.reconcile import manifest_of, serves
from cartridge_store.cartridge import Cartridge
from cartridge_store.errors import (
    BeingPublished,
    CartridgeNotFound,
    CartridgeRefused,
    LostRace,
    StoreError,
)
from cartridge_store.format import from_bytes, to_bytes
from cartridge_store.manifest import Manifest
from cartridge_store.store import CartridgeStore
from inference.adapters import read_adapter
from inference.composer import fits
from inference.reader import Reader
from retrieval.documents import Document, DocumentLibrary, check_id
from retrieval.errors import DocumentCorrupt, DocumentNotFound
from retrieval.marks import from_json, to_json
from retrieval.retriever import Retriever
from training.conflicts import Conflict

logger = logging.getLogger(__name__)

Report = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import; `left` says for a document why its cartridge was not taken."""

    collection: str
    documents: int
    cartridges: int
    left: dict[str, str]


def export_collection(
    collection: str,
    target: Path,
    library: DocumentLibrary,
    store: CartridgeStore,
    noted: Conflicts,
    report: Report = lambda _: None,
) -> tuple[int, int]:
    """Write the collection to `target`, whole or not at all; documents and cartridges written.

    What is held back is in it, and is held back where it arrives. Raises DocumentNotFound for an empty
    collection, StorageFull and StoreError.
    """
    ids = library.ids(collection)
    current = store.current(collection, ids)
    listed: list[dict[str, Any]] = []
    held: dict[str, dict[str, Any]] = {}
    # First the list, which stands at the front; what it names is read again for the tar.
    for index, document in enumerate(_readable(library, collection, ids)):
        held[text_name(document.id)] = described(document.text.encode("utf-8"))
        cartridge = _current(store, current.get(document.id), document)
        if cartridge is not None:
            held[cartridge_name(cartridge.id)] = described(to_bytes(cartridge))
        listed.append(
            {
                "id": document.id,
                "title": document.title,
                "sha256": document.sha256,
                "cartridge": cartridge.id if cartridge is not None else None,
                "marks": to_json(document.marks),
                "held": _held(noted, document),
            }
        )
        report((index + 1) / len(ids) / 2)
    if not listed:
        raise DocumentNotFound(f"Collection {collection} holds no document.")

    def read_again() -> Iterator[tuple[str, bytes]]:
        for index, each in enumerate(listed):
            text = library.get(collection, each["id"]).text
            if described(text.encode("utf-8"))["sha256"] != each["sha256"]:
                raise StoreError(f"Document {each['id']} changed meanwhile; export again.")
            yield text_name(each["id"]), text.encode("utf-8")
            if each["cartridge"]:
                yield cartridge_name(each["cartridge"]), to_bytes(store.load(each["cartridge"]))
            report(0.5 + (index + 1) / len(listed) / 2)

    head = {"format": FORMAT, "collection": collection, "documents": listed, "members": held}
    write_archive(target, head, read_again())
    return len(listed), sum(each["cartridge"] is not None for each in listed)


def import_collection(
    source: Path,
    collection: str | None,
    library: DocumentLibrary,
    store: CartridgeStore,
    noted: Conflicts,
    retriever: Retriever,
    reader: Reader,
    report: Report = lambda _: None,
) -> Imported:
    """Take in an archive, as `collection` or under its own name; importing again changes nothing.

    A document of the same id gets the archive's text as its next version. Raises ArchiveRefused and
    DocumentRefused before anything is changed. A cartridge of another reader is left out: its
    document is answered from text until it is trained here.
    """
    head = verified(source, library.require_acceptable, lambda done: report(done / 2))
    name = check_id(collection or head["collection"], "collection name")
    texts = {text_name(each["id"]): each for each in head["documents"]}
    cartridges = {
        cartridge_name(each["cartridge"]): each for each in head["documents"] if each["cartridge"]
    }
    documents: dict[str, Document] = {}
    left: dict[str, str] = {}
    held: dict[str, tuple[Conflict, ...]] = {}
    taken = 0

    def there(id: str) -> str | None:
        return documents[id].sha256 if id in documents and library.exists(name, id) else None

    for index, (member, data) in enumerate(members(source)):
        if member in texts:
            each = texts[member]
            # An archive of an earlier version has no marks.
            marks = from_json(each["marks"]) if "marks" in each else None
            text = data.decode("utf-8")
            document, _ = library.put(name, each["id"], each["title"], text, marks)
            documents[document.id] = document
            found = conflicts_of(each)
            # Who was looked at here, and let in, stays.
            if found is not None and noted.of(document) is None:
                held[document.id] = found
                noted.note(document, (), held=True, there=there)
            if noted.holds(document):  # its older version may be searchable, or itself
                retriever.remove_document(name, document.id)
            elif not retriever.is_indexed(document):
                retriever.index_document(document)
        elif member in cartridges:
            document = documents[cartridges[member]["id"]]
            reason = _take(from_bytes(data), document, store, reader)
            taken += not reason
            if reason:
                left[document.id] = reason
        report(0.5 + (index + 1) / (len(head["members"]) + 1) / 2)
    for id, conflicts in held.items():  # all that they say anything of are there now
        noted.note(documents[id], conflicts, held=True, there=there)
    for id in documents:
        if not library.exists(
            name, id
        ):  # deleted while it came in, which its deletion may not have seen
            store.remove_document(name, id)
            retriever.remove_document(name, id)
            noted.forget(name, id)
    return Imported(name, len(documents), taken, left)


def import_adapter(
    folder: Path, document: Document, store: CartridgeStore, reader: Reader, question_offset: int
) -> Manifest:
    """Make a PEFT adapter the cartridge of a document. Nothing checks that it answers for it.

    Raises CartridgeRefused, LostRace, RegistryUnavailable, StorageFull.
    """
    keys, values, rule = read_adapter(reader, folder, question_offset)
    keys, values = keys.to(reader.dtype), values.to(reader.dtype)
    return put_version(
        store,
        lambda parent: Cartridge.create(
            keys,
            values,
            collection=document.collection,
            document_id=document.id,
            document_sha256=document.sha256,
            document_tokens=max(1, reader.count(document.text)),
            reader_fingerprint=reader.fingerprint,
            tokenizer_fingerprint=reader.tokenizer_fingerprint,
            position_rule=rule,
            initialiser="imported",
            recipe={"imported_from": "peft"},
            figures={"bytes": keys.nbytes + values.nbytes},
            parent=parent,
        ),
        document.collection,
        document.id,
    )


def _take(cartridge: Cartridge, document: Document, store: CartridgeStore, reader: Reader) -> str:
    """Publish a cartridge for its document; why not, where it is not."""
    manifest = cartridge.manifest
    if not serves(manifest, document, reader) or not fits(reader, cartridge):
        return "It was trained for another reader or another text."
    if (manifest.position_rule.offset or 0) >= reader.max_positions:
        return "Its questions stand beyond the reader's positions."
    try:
        _put(cartridge, document, store)
    except (LostRace, BeingPublished, CartridgeRefused) as error:  # the others come in all the same
        return str(error)
    return ""


def _put(cartridge: Cartridge, document: Document, store: CartridgeStore) -> None:
    manifest = cartridge.manifest
    put_version(
        store,
        lambda parent: Cartridge.create(
            cartridge.keys,
            cartridge.values,
            collection=document.collection,
            document_id=document.id,
            document_sha256=manifest.document_sha256,
            document_tokens=manifest.document_tokens,
            reader_fingerprint=manifest.reader_fingerprint,
            tokenizer_fingerprint=manifest.tokenizer_fingerprint,
            position_rule=manifest.position_rule,
            initialiser=manifest.initialiser,
            recipe=manifest.recipe,
            figures=manifest.figures,
            parent=parent,
            scales=cartridge.scales,
        ),
        document.collection,
        document.id,
    )


def _held(noted: Conflicts, document: Document) -> list[dict[str, str]] | None:
    """What a document is held back for; None where it is not."""
    found = noted.of(document)
    return [asdict(each) for each in found.found] if found is not None and found.held else None


def _readable(
    library: DocumentLibrary, collection: str, ids: tuple[str, ...]
) -> Iterator[Document]:
    for id in ids:
        try:
            document = library.find(collection, id)
        except DocumentCorrupt as error:
            raise StoreError(f"{error} The collection was not exported.") from error
        if document is not None:
            yield document


def _current(
    store: CartridgeStore, cartridge_id: str | None, document: Document
) -> Cartridge | None:
    """The document's cartridge, unless it is of an older text or cannot be read."""
    manifest = manifest_of(store, cartridge_id)
    if manifest is None or manifest.is_draft or manifest.document_sha256 != document.sha256:
        return None
    try:
        return store.load(manifest.cartridge_id)
    except (CartridgeRefused, CartridgeNotFound) as error:
        logger.warning("%s Its document is exported without it.", error)
        return None
