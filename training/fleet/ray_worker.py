"""A worker of the Ray fleet: does one task at a time, and can be asked meanwhile how far it is.

It is an ordinary class, which Ray runs in a process of its own; nothing it holds is needed again when
that process dies. This file knows no cluster.
"""

import json
import os
import traceback
from collections.abc import Hashable, Mapping
from threading import Lock, RLock
from typing import Any

from inference.allocation import keep_freed_memory
from training.fleet.task import Context, kinds_of, perform
from training.settings import Cancelled


class RayWorker:
    """Called from two threads: one that works, one that is asked."""

    def __init__(self, threads: int, environment: Mapping[str, str]) -> None:
        """`environment` are variables for this process: Ray's own way to set them writes its logs."""
        os.environ.update(environment)
        keep_freed_memory()
        self._threads = threads
        self._kept: dict[Hashable, Any] = {}
        self._lock = RLock()
        self._share = 0.0
        self._stopped: int | None = None
        self._turn = -1
        self._working = Lock()

    def hello(self) -> int:
        """That it is there: its process number."""
        return os.getpid()

    def run(self, turn: int, work: str, spec: str) -> str:
        """A task's outcome as JSON text: its `result`, that it was `cancelled`, or why it `failed`.

        `turn` is another number each time, so that a `stop` that comes late stops nothing else.
        """
        # The driver may have given up on an earlier task that is still at work here.
        self._turn = turn
        with self._working:
            return self._run(turn, work, spec)

    def _run(self, turn: int, work: str, spec: str) -> str:
        self._share = 0.0

        def told(share: float) -> None:
            self._share = share

        def stopped() -> bool:
            return self._stopped == turn or self._turn != turn

        context = Context(self._kept, told, stopped, self._lock)
        try:
            result = perform(work, spec, context, self._threads)
        except Cancelled:
            return json.dumps({"cancelled": True})
        except Exception as error:
            # As words, not as an object: the driver need not know the error's class.
            print(traceback.format_exc(), flush=True)
            return json.dumps({"failed": {"kinds": kinds_of(error), "message": str(error)}})
        return f'{{"result": {result}}}'

    def share(self) -> float:
        """What the task at hand last said is done of it, 0 to 1."""
        return self._share

    def stop(self, turn: int) -> None:
        """Ask the task of this turn to stop."""
        self._stopped = turn
