"""Mending: a cartridge whose bytes are damaged is let go, and its document trained anew.

Knows the store, and whom to ask for a training; knows no question and nothing of jobs.
"""

import logging
import threading
from collections.abc import Callable

import redis

from app.reconcile import manifest_of
from cartridge_store.errors import CartridgeRefused, StoreError
from cartridge_store.store import CartridgeStore
from retrieval.documents import Document

logger = logging.getLogger(__name__)


class Mending:
    """What is done about a document whose cartridge was refused for its bytes; safe to share."""

    def __init__(self, store: CartridgeStore, train: Callable[[Document], object]) -> None:
        """`train` has a document trained anew."""
        self._store, self._train = store, train
        self._mended: set[str] = set()  # of those that could not be withdrawn
        self._lock = threading.Lock()

    def __call__(self, document: Document, cartridge_id: str) -> None:
        """Nothing is raised: whoever asked is answered from the text."""
        with self._lock:  # of many who find it at once, one does something
            try:
                self._mend(document, cartridge_id)
            except (StoreError, redis.RedisError) as error:
                name = f"{document.id} of {document.collection}"
                logger.warning("Document %s is not trained anew yet: %s", name, error)

    def _mend(self, document: Document, cartridge_id: str) -> None:
        collection, id = document.collection, document.id
        if cartridge_id in self._mended or (
            self._store.current(collection, [id]).get(id) != cartridge_id
        ):
            return
        try:
            self._store.load(cartridge_id)
            return  # it was the reading, not the bytes
        except CartridgeRefused as error:
            logger.warning(
                "Cartridge %s of document %s of %s goes, and is trained anew: %s",
                cartridge_id,
                id,
                collection,
                error,
            )
        # Where not even the manifest can be read, the next version replaces it.
        if (manifest := manifest_of(self._store, cartridge_id)) is not None:
            self._store.withdraw(manifest)
        self._train(document)
        if manifest is None:  # it stays current until then: nobody is to train again and again
            self._mended.add(cartridge_id)
