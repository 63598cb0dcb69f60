"""Reads that nobody waits for longer than a while: a store that hangs must not hang a server's step.

vLLM ends a server whose step takes five minutes, and every running answer waits for the step. A read that
was given up goes on in its thread, and whoever asks for the same later finds it. This file knows no store
and nothing of vLLM.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from cartridge_store.errors import StoreUnavailable

T = TypeVar("T")

_HANGING_SECONDS = 1.0  # for any other read, while one is overdue


class Patience(Generic[T]):
    """Reads by name, one after another, for one thread; `begin` starts the clock for some of them."""

    def __init__(self, read: Callable[[str], T], seconds: float) -> None:
        self._read, self._seconds = read, seconds
        self._reading: dict[str, Future[T]] = {}
        self._until = 0.0

    def begin(self) -> bool:
        """From now on the reads have their time together; a short one while an earlier one hangs.

        Whether none does.
        """
        self._reading = {name: one for name, one in self._reading.items() if not one.done()}
        hangs = bool(self._reading)
        self._until = time.monotonic() + (_HANGING_SECONDS if hangs else self._seconds)
        return not hangs

    def get(self, name: str) -> T:
        """What the read gives or raises. Raises StoreUnavailable when the time is over."""
        reading = self._reading.get(name)
        if reading is None:
            reading = self._reading[name] = Future()
            # A daemon: a server that ends does not wait for a store that hangs.
            threading.Thread(target=self._run, args=(name, reading), daemon=True).start()
        wait([reading], max(0.0, self._until - time.monotonic()))
        if not reading.done():
            raise StoreUnavailable(
                f"{name} was not read in time; see whether the store hangs, and ask again."
            )
        del self._reading[name]
        return reading.result()

    def _run(self, name: str, reading: Future[T]) -> None:
        try:
            reading.set_result(self._read(name))
        except BaseException as error:
            reading.set_exception(error)
