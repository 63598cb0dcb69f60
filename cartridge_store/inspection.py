"""Inspection: reads every blob whole and says which are valid cartridges, and which of them still count.

It knows blobs and tombstones; it knows no registry, and changes nothing.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from cartridge_store.blobs import BlobStore
from cartridge_store.catalogue import Catalogue
from cartridge_store.errors import (
    CartridgeNotFound,
    CartridgeRefused,
    StoreError,
    StoreUnavailable,
)
from cartridge_store.ids import cartridge_id_of
from cartridge_store.manifest import Manifest
from cartridge_store.residency import verified
from cartridge_store.tombstones import Tombstones, is_tombstone, tombstone_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """A blob that is not a valid cartridge under its own name, and why."""

    name: str
    reason: str


class Inspection:
    """Reads what a store's blobs hold; one that is removed meanwhile is no problem of its own."""

    def __init__(self, blobs: BlobStore, tombstones: Tombstones) -> None:
        self._blobs = blobs
        self._tombstones = tombstones

    def all(self) -> tuple[int, list[Problem]]:
        """How many blobs are valid cartridges, and those that are neither that nor a tombstone."""
        found = [self._verified(name) for name in self._blobs.names()]
        whole = sum(isinstance(one, Manifest) for one in found)
        return whole, [one for one in found if isinstance(one, Problem)]

    def living(self, going_on: Callable[[], object] = lambda: None) -> list[Manifest]:
        """The valid cartridges that were made after any deletion of their documents.

        Under a damaged tombstone nothing lives. `going_on` is called for every blob; what it raises is
        passed on. Raises StoreUnavailable where a blob cannot be read now.
        """
        found: list[Manifest] = []
        living: list[Manifest] = []
        seen: set[str] = set()
        # What is published while all this is read, tombstones and all, is to be known, too.
        while new := [name for name in self._blobs.names() if name not in seen]:
            for name in new:
                each = self._reached(name)
                if isinstance(each, Manifest):
                    found.append(each)
                seen.add(name)
                going_on()
            living = [
                each
                for each in found
                if tombstone_name(each.collection, each.document_id) not in seen
                or not self.may_be_buried(each)
            ]
        return living

    def may_be_buried(self, manifest: Manifest) -> bool:
        """Whether a version was made before its document was deleted, or a damaged tombstone may say so."""
        try:
            return self._tombstones.bury(manifest)
        except CartridgeRefused as error:
            logger.warning("%s", error)
            return True

    def _verified(self, name: str) -> Manifest | Problem | None:
        try:
            return self._reached(name)
        except StoreUnavailable as error:
            return Problem(name, str(error))

    def _reached(self, name: str) -> Manifest | Problem | None:
        """The manifest in a blob, None for a tombstone or what is gone, or why it is neither.

        Raises StoreUnavailable.
        """
        try:
            if is_tombstone(name):
                self._tombstones.read(name)
                return None
            return verified(self._blobs.get(name), cartridge_id_of(name)).manifest
        except CartridgeNotFound:
            return None
        except StoreUnavailable:
            raise
        except StoreError as error:
            return Problem(name, f"{error}{self._whose(name)}")

    def _whose(self, name: str) -> str:
        """Of which document it is, where its manifest can still be read."""
        try:
            manifest = Catalogue(self._blobs).manifest(cartridge_id_of(name))
        except StoreError:
            return ""
        return (
            f" It is of document {manifest.document_id} of {manifest.collection}, which is read as text "
            "and trained anew when it is asked about."
        )
