"""Tombstones: what was deleted stays deleted, whatever Redis or a slow trainer still knows of it.

A tombstone is a small blob beside the cartridges that names a document and when it was deleted: no version
made before then is published, restored or kept. A document of the same name that comes later lives. This
file knows blobs; it knows no registry.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass

from cartridge_store.blobs import BlobStore
from cartridge_store.errors import CartridgeNotFound, CartridgeRefused, InvalidId
from cartridge_store.ids import validate_id
from cartridge_store.manifest import Manifest

_NAME = re.compile(r"tombstone-[0-9a-f]{40}\.json")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A deleted document; `deleted_at` is UTC as `manifest.utc_now` writes it."""

    collection: str
    document_id: str
    deleted_at: str

    def buries(self, manifest: Manifest) -> bool:
        """Whether a version was made before its document was deleted."""
        return manifest.created_at <= self.deleted_at

    @property
    def name(self) -> str:
        """Its blob's name."""
        return tombstone_name(self.collection, self.document_id)


def tombstone_name(collection: str, document_id: str) -> str:
    """The name of a document's tombstone; raises InvalidId."""
    document = f"{validate_id(collection, 'collection')}/{validate_id(document_id, 'document id')}"
    return f"tombstone-{hashlib.sha256(document.encode()).hexdigest()[:40]}.json"


def is_tombstone(name: str) -> bool:
    """Whether a blob's name is a tombstone's."""
    return _NAME.fullmatch(name) is not None


class Tombstones:
    """The tombstones among some blobs."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def put(self, tombstone: Tombstone) -> None:
        """Set it, durably; a later deletion replaces an earlier one. Raises StorageFull."""
        self._blobs.put(tombstone.name, json.dumps(asdict(tombstone), sort_keys=True).encode())

    def find(self, collection: str, document_id: str) -> Tombstone | None:
        """The document's tombstone, or None. Raises CartridgeRefused for one that is damaged."""
        return self.read(tombstone_name(collection, document_id))

    def bury(self, manifest: Manifest) -> bool:
        """Whether a version was made before its document was deleted; raises as `find` does."""
        tombstone = self.find(manifest.collection, manifest.document_id)
        return tombstone is not None and tombstone.buries(manifest)

    def is_damaged(self, collection: str, document_id: str) -> bool:
        """Whether the document has a tombstone that nobody can read."""
        try:
            self.find(collection, document_id)
        except CartridgeRefused:
            return True
        return False

    def read(self, name: str) -> Tombstone | None:
        """The tombstone in a blob, or None. Raises CartridgeRefused for one that is damaged."""
        try:
            fields = json.loads(self._blobs.get(name))
            found = Tombstone(**fields)
            fine = found.name == name and _TIME.fullmatch(found.deleted_at) is not None
        except CartridgeNotFound:
            return None
        except (ValueError, TypeError, InvalidId, RecursionError) as error:
            raise _damaged(name) from error
        if not fine:
            raise _damaged(name)
        return found


def _damaged(name: str) -> CartridgeRefused:
    return CartridgeRefused(f"{name} is no tombstone; delete its document again, or remove it.")
