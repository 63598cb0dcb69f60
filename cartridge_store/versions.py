"""Current versions: which cartridge is each document's, as the registry says, or as it last said.

While the registry does not answer, what was seen is believed, and behind that the blobs' manifests. Knows
names and ids; knows no tensors.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice

from cartridge_store.catalogue import Catalogue, Document, by_document, newest
from cartridge_store.errors import RegistryUnavailable
from cartridge_store.registry import Registry

_ASKED_TOGETHER = 1000  # documents whose versions are looked up in one round trip
_ASKED_AGAIN = 4  # times that a look-up is begun while changes come in


class Health:
    """Whether the registry failed to answer the last time it was asked."""

    degraded = False

    @contextlib.contextmanager
    def noticing(self) -> Iterator[None]:
        """What is of use alone when the registry answers."""
        try:
            yield
        except RegistryUnavailable:
            self.degraded = True


class Versions:
    """The memory of one process; safe to share between threads."""

    def __init__(
        self,
        registry: Registry,
        catalogue: Catalogue,
        health: Health,
        replaced: Callable[[str], None],
    ) -> None:
        """`replaced` is told of a version of which it turns out that it is current no more."""
        self._registry = registry
        self._catalogue = catalogue
        self._health = health
        self._replaced = replaced
        self._lock = threading.Lock()
        # The last answer of the registry for each document, None where it had no version.
        self._seen: dict[Document, str | None] = {}
        self._told = 0  # changes that were announced

    def current(self, collection: str, document_ids: Sequence[str]) -> dict[str, str]:
        """The current version of each document that has one."""
        told = -1
        # A change that was announced meanwhile may not be in the answer: it is asked for again.
        for _ in range(_ASKED_AGAIN):
            with self._lock:
                if told == self._told:
                    break
                told = self._told
            try:
                answer = self._registry.current(collection, document_ids)
            except RegistryUnavailable:
                self._health.degraded = True
                return self._remembered(collection, document_ids)
        self._health.degraded = False
        with self._lock:
            before = {name: self._seen.get((collection, name)) for name in document_ids}
            for document_id in document_ids:
                self._seen[collection, document_id] = answer.get(document_id)
        for document_id, version in before.items():
            if version is not None and version != answer.get(document_id):
                self._replaced(version)  # and nobody told this process
        return answer

    def made(self, document: Document, version: str | None) -> None:
        """This process has made a version current, or left the document with none."""
        with self._lock:
            self._seen[document] = version

    def announced(self, document: Document, version: str | None) -> None:
        """Another process has."""
        with self._lock:
            self._told += 1
            if document in self._seen:
                self._seen[document] = version

    def look_again(self) -> None:
        """Look up again what was looked up before: something may have been said that nobody could hear."""
        with self._lock:
            seen = sorted(self._seen)
        for collection, documents in groupby(seen, key=lambda document: document[0]):
            names = (name for _, name in documents)
            while few := list(islice(names, _ASKED_TOGETHER)):
                self.current(collection, few)

    def forget(self) -> None:
        """Believe nothing that was seen."""
        with self._lock:
            self._seen.clear()

    def _remembered(self, collection: str, document_ids: Sequence[str]) -> dict[str, str]:
        with self._lock:
            known = {
                document_id: self._seen[collection, document_id]
                for document_id in document_ids
                if (collection, document_id) in self._seen
            }
        if len(known) < len(set(document_ids)):
            documents = by_document(self._catalogue.manifests())
            for document_id in set(document_ids) - set(known):
                versions = documents.get((collection, document_id))
                known[document_id] = newest(versions).cartridge_id if versions else None
        return {
            document_id: version for document_id, version in known.items() if version is not None
        }
