"""The disk tier: copies of remote blobs in a local folder, under a byte budget, the coldest leave first.

For blobs whose name is their content's, so that a copy is never stale; it may be damaged, and whoever reads
it checks it and says so with `drop`. What cannot be kept here is no error: the remote has it. This file
knows blobs; it knows no cartridge.
"""

import logging
import threading
from pathlib import Path

from cartridge_store.blobs import Data, LocalBlobs
from cartridge_store.errors import StoreError
from cartridge_store.heat import Heat

logger = logging.getLogger(__name__)


class DiskTier:
    """At most `capacity` bytes of copies in `folder`, which belongs to one process at a time."""

    def __init__(self, folder: Path, capacity: int) -> None:
        """What an earlier process left is taken up, as far as it fits. Raises StoreError."""
        self._blobs = LocalBlobs(folder, grace_seconds=0)
        self._capacity = capacity
        self._lock = threading.Lock()
        self._heat = Heat()
        self._sizes = {name: (folder / name).lstat().st_size for name in self._blobs.names()}
        with self._lock:
            self._make_room(0)

    @property
    def nbytes(self) -> int:
        """Bytes of the copies."""
        with self._lock:
            return sum(self._sizes.values())

    def names(self) -> list[str]:
        """What is held now."""
        with self._lock:
            return list(self._sizes)

    def get(self, name: str) -> Data | None:
        """The copy, unverified, when it is held."""
        with self._lock:
            if name not in self._sizes:
                return None
            self._heat.use(name)
        try:
            return self._blobs.get(name)
        except StoreError as error:
            logger.warning("%s", error)
            self.drop(name)
            return None

    def put(self, name: str, data: Data) -> list[str]:
        """Keep a copy and return the names that left for it; its own when it cannot be kept."""
        if len(data) > self._capacity:
            return [name]
        with self._lock:
            left = self._make_room(len(data))
            try:
                self._blobs.put(name, data)
            except StoreError as error:
                logger.warning("%s", error)
                return [*left, name]
            self._sizes[name] = len(data)
            self._heat.use(name)
            return left

    def drop(self, name: str) -> bool:
        """Remove a copy; returns whether there was one."""
        with self._lock:
            return self._drop(name)

    def _make_room(self, size: int) -> list[str]:
        left = []
        while self._sizes and sum(self._sizes.values()) + size > self._capacity:
            left.append(self._heat.coldest(self._sizes))
            self._drop(left[-1])
        return left

    def _drop(self, name: str) -> bool:
        if self._sizes.pop(name, None) is None:
            return False
        self._heat.forget([name])
        try:
            self._blobs.delete(name)
        except StoreError as error:
            logger.warning("%s", error)
        return True
