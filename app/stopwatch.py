"""A stopwatch: the seconds of work that may be stopped, even killed, and go on in another process.

Knows a file and a clock; knows nothing of what is done.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from retrieval.durable import make_folder, replace_file

T = TypeVar("T")

_SECONDS_BETWEEN_NOTES = 5.0


class Stopwatch:
    """Runs from now on, and counts what it had counted in this file before."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._began = self._noted = clock()
        try:
            self._before = float(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            self._before = 0.0

    @property
    def seconds(self) -> float:
        """Of this process and those before it."""
        return self._before + self._clock() - self._began

    def noting(self, told: Callable[[T], None]) -> Callable[[T], None]:
        """The same, and every few seconds the time is noted. Raises what `told` does, and StorageFull."""

        def tell(what: T) -> None:
            if self._clock() - self._noted > _SECONDS_BETWEEN_NOTES:
                self._noted = self._clock()
                make_folder(self._path.parent)
                replace_file(self._path, repr(self.seconds).encode())
            told(what)

        return tell
