"""The host cache: verified cartridges in memory, the least recently used leave first.

It knows no blobs and no registry; it is safe to share between threads.
"""

import threading
from collections import OrderedDict

from cartridge_store.cartridge import Cartridge


class HostCache:
    """At most `capacity` bytes of cartridges."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._cartridges: OrderedDict[str, Cartridge] = OrderedDict()
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors held."""
        return self._nbytes

    def get(self, cartridge_id: str) -> Cartridge | None:
        """The cartridge when it is held; it is then the most recently used."""
        with self._lock:
            cartridge = self._cartridges.get(cartridge_id)
            if cartridge is not None:
                self._cartridges.move_to_end(cartridge_id)
            return cartridge

    def put(self, cartridge: Cartridge) -> list[str]:
        """Hold the cartridge and return the ids that left, its own when it is too large."""
        with self._lock:
            self._drop(cartridge.id)
            self._cartridges[cartridge.id] = cartridge
            self._nbytes += cartridge.nbytes
            if cartridge.nbytes > self._capacity:
                # Nothing else leaves for a cartridge that could not stay anyway.
                self._drop(cartridge.id)
                return [cartridge.id]
            left = []
            while self._nbytes > self._capacity:
                oldest = next(iter(self._cartridges))
                self._drop(oldest)
                left.append(oldest)
            return left

    def drop(self, cartridge_id: str) -> None:
        """Let go of a cartridge; nothing happens when it is not held."""
        with self._lock:
            self._drop(cartridge_id)

    def _drop(self, cartridge_id: str) -> None:
        cartridge = self._cartridges.pop(cartridge_id, None)
        if cartridge is not None:
            self._nbytes -= cartridge.nbytes
