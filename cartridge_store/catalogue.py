"""The catalogue: what the blobs themselves say is there, whatever a registry says.

It knows no Redis. Reading it costs one small read for every blob it has not seen before.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from cartridge_store.blobs import BlobStore
from cartridge_store.errors import (
    CartridgeNotFound,
    CartridgeRefused,
    InvalidId,
    StoreUnavailable,
)
from cartridge_store.format import header_length, read_manifest
from cartridge_store.ids import blob_name, cartridge_id_of
from cartridge_store.manifest import Manifest

logger = logging.getLogger(__name__)

# Enough for nearly every header in the first read.
_HEAD_BYTES = 16 * 2**10

_FEW, _TOGETHER = 8, 16  # headers

Document = tuple[str, str]


class Catalogue:
    """The manifests of all blobs, remembered by name: a name is its content's.

    What is no part of the content, such as the time, may be of an earlier blob of that name: `again` looks.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._manifests: dict[str, Manifest] = {}

    def manifest(self, cartridge_id: str) -> Manifest:
        """The manifest of one blob, its tensors unread.

        Raises CartridgeNotFound, CartridgeRefused or InvalidId.
        """
        name = blob_name(cartridge_id)
        head = self._blobs.get(name, _HEAD_BYTES)
        length = header_length(head)
        if length > len(head):
            head = self._blobs.get(name, length)
        manifest = read_manifest(head)
        if manifest.cartridge_id != cartridge_id:
            raise CartridgeRefused(
                f"The blob {name} holds cartridge {manifest.cartridge_id}; rename or remove it."
            )
        return manifest

    def manifests(self) -> list[Manifest]:
        """The manifests of all blobs whose header is valid; tensors are not read.

        Nor is a blob's that cannot be read now: one bad sector must not stand for the whole store. Raises
        StoreUnavailable where none can be read.
        """
        with self._lock:
            names = self._blobs.names()
            read = self._read([name for name in names if name not in self._manifests])
            found: dict[str, Manifest] = {}
            for name in names:
                manifest = self._manifests.get(name) or read.get(name)
                if isinstance(manifest, Manifest):
                    found[name] = manifest
            trouble = next((each for each in read.values() if isinstance(each, Exception)), None)
            if trouble is not None and not found:
                raise trouble
            self._manifests = found
            return list(found.values())

    def _read(self, names: Sequence[str]) -> dict[str, Manifest | StoreUnavailable | None]:
        """What each blob's header says, or why it cannot be read now."""

        def one(name: str) -> Manifest | StoreUnavailable | None:
            try:
                return self._valid(name)
            except StoreUnavailable as error:
                logger.warning("%s is left out: %s", name, error)
                return error

        if len(names) < _FEW:
            return {name: one(name) for name in names}
        # A store that is far away takes its time for each: a service that has just started waits for them
        # all together.
        with ThreadPoolExecutor(_TOGETHER, "catalogue") as pool:
            return dict(zip(names, pool.map(one, names), strict=True))

    def documents(self, cartridge_ids: Iterable[str]) -> dict[str, Document]:
        """The document of each of these cartridges; those that are not to be read now are left out."""
        names = [blob_name(cartridge_id) for cartridge_id in cartridge_ids]
        with self._lock:
            known = {name: self._manifests[name] for name in names if name in self._manifests}
        read = self._read([name for name in names if name not in known])
        known |= {name: each for name, each in read.items() if isinstance(each, Manifest)}
        with self._lock:
            self._manifests |= known
        return {each.cartridge_id: (each.collection, each.document_id) for each in known.values()}

    def again(self, manifests: Iterable[Manifest]) -> list[Manifest]:
        """The manifests of the same cartridges as they are now, of those that are still there.

        One that was deleted and made again, bit for bit, has its name and another time.
        """
        with self._lock:
            found = []
            for known in manifests:
                name = blob_name(known.cartridge_id)
                try:
                    manifest = self._valid(name)
                except StoreUnavailable as error:
                    logger.warning("%s", error)
                    manifest = known
                if manifest is None:
                    self._manifests.pop(name, None)
                    continue
                self._manifests[name] = manifest
                found.append(manifest)
            return found

    def _valid(self, name: str) -> Manifest | None:
        try:
            return self.manifest(cartridge_id_of(name))
        except (CartridgeNotFound, CartridgeRefused, InvalidId):
            return None


def by_document(manifests: Iterable[Manifest]) -> dict[Document, list[Manifest]]:
    """All versions of each (collection, document id)."""
    versions = defaultdict(list)
    for manifest in manifests:
        versions[manifest.collection, manifest.document_id].append(manifest)
    return dict(versions)


def newest(versions: Iterable[Manifest]) -> Manifest:
    """The version of one document that is current when nothing but the blobs is known.

    A version that another one replaced never is; among the rest the latest created is.
    `versions` is not empty.
    """
    versions = list(versions)
    # An id covers its parent's id, so the chain has no cycle and someone is always left.
    replaced = {manifest.parent for manifest in versions}
    return max(
        (manifest for manifest in versions if manifest.cartridge_id not in replaced),
        key=lambda manifest: (manifest.created_at, manifest.cartridge_id),
    )
