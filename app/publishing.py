"""Publishing: a distilled document becomes its collection's cartridge, unless it is no longer wanted.

Knows the library and the store; knows no job, no queue and no training.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from app.jobs import Subject
from app.reconcile import manifest_of
from cartridge_store.cartridge import Cartridge, stored_tensors
from cartridge_store.errors import BeingPublished, LostRace
from cartridge_store.manifest import Manifest
from cartridge_store.quantisation import quantised
from cartridge_store.store import CartridgeStore
from inference.reader import Reader
from retrieval.documents import Document, DocumentLibrary
from retrieval.errors import DocumentCorrupt
from training.pipeline import Distilled

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
_PATIENCE_SECONDS = 75.0  # longer than a dead publisher's claim


class _NotWanted(Exception):
    """What was to be published has been overtaken."""


class Publisher:
    """Puts cartridges of one reader into the store."""

    def __init__(self, library: DocumentLibrary, store: CartridgeStore, reader: Reader) -> None:
        self._library = library
        self._store = store
        self._reader = reader

    def wanted(self, subject: Subject) -> Document | None:
        """The document, unless it is gone, damaged or not the version that was to be trained."""
        try:
            document = self._library.find(subject.collection, subject.document_id)
        except DocumentCorrupt as error:
            logger.warning("%s", error)
            return None
        if document is None or (document.version, document.sha256) != (
            subject.version,
            subject.sha256,
        ):
            return None
        return document

    def publish(
        self,
        subject: Subject,
        distilled: Distilled,
        seconds: float = 0.0,
        *,
        replaces: str | None = None,
    ) -> dict[str, Any]:
        """Publish what passed its check; what a job says of it, with the reason where it is not.

        `seconds` is what its training took on this machine, beside the study of an earlier run. With
        `replaces`, only in place of that version.

        Raises LostRace, RegistryUnavailable, StorageFull and CartridgeRefused.
        """
        if not distilled.passed:
            return unpublished(distilled.reason, distilled.figures)
        try:
            published = self._put(subject, distilled, seconds, replaces)
        except _NotWanted as why:
            return unpublished(str(why))
        if not self._library.exists(subject.collection, subject.document_id):
            # Deleted while it was being published: the deletion may not have seen it.
            self._store.remove_document(subject.collection, subject.document_id)
            return unpublished("The document was deleted.")
        return {
            "published": True,
            "cartridge_id": published.cartridge_id,
            "slots": published.slots,
            "figures": distilled.figures,
        }

    def _put(
        self, subject: Subject, distilled: Distilled, seconds: float, replaces: str | None
    ) -> Manifest:
        values, scales = distilled.values, None
        if distilled.int8_values:
            values, scales = quantised(values)
        tensors = stored_tensors(distilled.keys, values, scales)
        nbytes = sum(tensor.nbytes for tensor in tensors)
        seconds += distilled.figures.get("studied_before_seconds", 0.0)

        def make(parent: str | None) -> Cartridge:
            # Every time, once it is known what would be replaced: who waited for another, or lost to him,
            # may have been overtaken by a newer version, which this is not to replace.
            if self.wanted(subject) is None:
                raise _NotWanted("The document was deleted or has a newer version.")
            if replaces is not None and parent != replaces:
                raise _NotWanted("Another cartridge of the document was published meanwhile.")
            return Cartridge.create(
                distilled.keys,
                values,
                collection=subject.collection,
                document_id=subject.document_id,
                document_sha256=subject.sha256,
                document_tokens=distilled.document_tokens,
                reader_fingerprint=self._reader.fingerprint,
                tokenizer_fingerprint=self._reader.tokenizer_fingerprint,
                position_rule=distilled.position_rule,
                initialiser=distilled.initialiser,
                recipe=distilled.recipe,
                figures=distilled.figures | {"bytes": nbytes, "train_seconds": round(seconds, 1)},
                parent=parent,
                scales=scales,
            )

        return put_version(self._store, make, subject.collection, subject.document_id)


def put_version(
    store: CartridgeStore,
    make: Callable[[str | None], Cartridge],
    collection: str,
    document_id: str,
) -> Manifest:
    """Make a cartridge its document's version: `make` gets the id of the version it replaces.

    The very tensors that serve already are left as they are: a run that was stopped while it published
    does so again. Raises LostRace, RegistryUnavailable, StorageFull, CartridgeRefused and what `make`
    raises.
    """
    patience = time.monotonic() + _PATIENCE_SECONDS
    attempt = 0
    while True:
        parent = store.current(collection, [document_id]).get(document_id)
        cartridge = make(parent)
        serving = manifest_of(store, parent)
        if serving is not None and _same(serving, cartridge.manifest):
            return serving
        try:
            store.publish(cartridge)
            return cartridge.manifest
        except LostRace:
            attempt += 1
            if attempt == _ATTEMPTS:
                raise
        except BeingPublished:
            # Whoever is at it is done soon, or died, and its claim runs out.
            if time.monotonic() > patience:
                raise
            time.sleep(1.0)


def unpublished(reason: str, figures: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a job says of a document that it did not publish."""
    return {"published": False, "reason": reason} | ({"figures": dict(figures)} if figures else {})


def _same(one: Manifest, other: Manifest) -> bool:
    """Whether both are the same tensors of the same text by the same recipe."""
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("document_sha256", "tensors_sha256", "recipe", "reader_fingerprint")
    )
