"""A tier: things in memory under a byte budget, the coldest leave first.

It knows names, sizes and heat; it knows no blobs and no registry. It is safe to share between threads.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from cartridge_store.heat import Heat

T = TypeVar("T")


class Tier(Generic[T]):
    """At most `capacity` bytes of values, each of `nbytes(value)`."""

    def __init__(self, capacity: int, nbytes: Callable[[T], int]) -> None:
        self.capacity = capacity
        self._size_of = nbytes
        self._lock = threading.Lock()
        self._held: dict[str, T] = {}
        self._sizes: dict[str, int] = {}
        self._heat = Heat()
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the values held."""
        return self._nbytes

    def names(self) -> list[str]:
        """What is held now."""
        with self._lock:
            return list(self._held)

    def __contains__(self, name: str) -> bool:
        """Whether it is held; this is no use of it."""
        with self._lock:
            return name in self._held

    def get(self, name: str) -> T | None:
        """The value when it is held; that is one use of it."""
        with self._lock:
            value = self._held.get(name)
            if value is not None:
                self._heat.use(name)
            return value

    def put(self, name: str, value: T) -> list[str]:
        """Hold a value and return the names that left for it; its own when it is larger than the tier."""
        with self._lock:
            self._drop(name)
            size = self._size_of(value)
            if size > self.capacity:
                # Nothing else leaves for what could not stay anyway.
                return [name]
            left = []
            while self._nbytes + size > self.capacity:
                left.append(self._heat.coldest(self._sizes))
                self._drop(left[-1])
            self._held[name], self._sizes[name] = value, size
            self._nbytes += size
            self._heat.use(name)
            return left

    def drop(self, name: str) -> bool:
        """Let go of a value; returns whether it was held."""
        with self._lock:
            return self._drop(name)

    def _drop(self, name: str) -> bool:
        if self._held.pop(name, None) is None:
            return False
        self._nbytes -= self._sizes.pop(name)
        self._heat.forget([name])
        return True
