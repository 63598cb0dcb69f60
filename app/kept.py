"""Kept values: what is slow to read and may be some seconds old, read again by one at a time.

This file knows names and time; what is read, and from where, is its owner's to say.
"""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_SECONDS = 30.0  # a value holds so long


class _Entry(Generic[T]):
    """What was read under one name, and when; `lock` is held by whoever reads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.read: tuple[float, T] | None = None


class Kept(Generic[T]):
    """Values by name. Safe to share between threads."""

    def __init__(
        self,
        read: Callable[[str, T | None], T],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read` is given the name and the value until now, None at first."""
        self._read, self._clock = read, clock
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry[T]] = {}

    def of(self, name: str) -> T:
        """The value under a name; raises what reading it raises.

        The first to ask reads it, and those who come meanwhile wait; later one reads again, and the others
        go by what was.
        """
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
        if not entry.lock.acquire(blocking=entry.read is None):
            assert entry.read is not None  # once read it stays so
            return entry.read[1]
        try:
            if entry.read is None or self._clock() - entry.read[0] >= _SECONDS:
                value = self._read(name, entry.read and entry.read[1])
                entry.read = self._clock(), value
            return entry.read[1]
        finally:
            entry.lock.release()

    def forget(self, name: str) -> None:
        """Read anew when it is asked for again; who is reading now keeps what that gives to itself."""
        with self._lock:
            self._entries.pop(name, None)
