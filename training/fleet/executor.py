"""The executor: runs tasks and hands out their results, wherever they are done.

Every implementation passes `tests/training/test_fleet_executors.py`. Knows tasks; knows no Ray.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from training.fleet.task import Done, Task


class Executor(Protocol):
    """Runs tasks. One `run` at a time."""

    def run(
        self,
        tasks: Sequence[Task],
        *,
        progress: Callable[[float], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Done]:
        """Every task's result once, as soon as it is known, in whatever order.

        `progress` is told the share of all tasks' weight that is done, 0 to 1, never less than before.
        Raises ValueError (two tasks of one id, a description that is no JSON), TaskFailed, WorkersLost,
        and Cancelled once `cancelled` says so; what runs then is stopped.
        """

    def close(self) -> None:
        """Let go of all workers."""


class Board:
    """How far the tasks of one run are: what each told last, weighed."""

    def __init__(self, tasks: Sequence[Task], progress: Callable[[float], None]) -> None:
        """Raises ValueError when two tasks have one id or a weight is not above zero."""
        self._weights = {task.id: task.weight for task in tasks}
        if len(self._weights) != len(tasks):
            raise ValueError("Two tasks have one id; name every task once.")
        if tasks and min(self._weights.values()) <= 0:
            raise ValueError("A task's weight must be above 0.")
        self._done = dict.fromkeys(self._weights, 0.0)
        self._total = sum(self._weights.values())
        self._progress = progress
        self._told = 0.0

    def tell(self, task_id: str, share: float) -> None:
        """A task stands at `share`. One that began anew stands at what it had reached before."""
        self._done[task_id] = max(self._done[task_id], min(1.0, share))
        done = sum(self._weights[name] * part for name, part in self._done.items()) / self._total
        if done > self._told:
            self._told = done
            self._progress(min(1.0, done))
