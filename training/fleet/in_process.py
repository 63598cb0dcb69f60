"""The executor of one process: tasks one after the other, in the order in which they were given."""

import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from threading import RLock
from typing import Any

from training.fleet.executor import Board
from training.fleet.task import Context, Done, Task, TaskFailed, kinds_of, perform
from training.settings import Cancelled


class InProcessExecutor:
    """Runs tasks in the calling thread with `threads` torch threads.

    `kept` is what work would otherwise make for itself, by its key, such as a reader that is loaded.
    """

    def __init__(self, threads: int = 1, kept: Mapping[Hashable, Any] | None = None) -> None:
        self._threads = threads
        self._kept: dict[Hashable, Any] = dict(kept or {})
        self._lock = RLock()

    def run(
        self,
        tasks: Sequence[Task],
        *,
        progress: Callable[[float], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Done]:
        board = Board(tasks, progress)
        # All of them before the first: a description that is no JSON is no task's failure.
        specs = {task.id: as_json(task) for task in tasks}
        for task in tasks:
            if cancelled():
                raise Cancelled

            def told(share: float, task_id: str = task.id) -> None:
                board.tell(task_id, share)

            context = Context(self._kept, told, cancelled, self._lock)
            try:
                result = perform(task.work, specs[task.id], context, self._threads)
            except Cancelled:
                raise
            except Exception as error:
                raise TaskFailed(task.id, kinds_of(error), str(error)) from error
            board.tell(task.id, 1.0)
            yield Done(task.id, json.loads(result))

    def close(self) -> None:
        """Forget what work has kept."""
        self._kept.clear()


def as_json(task: Task) -> str:
    """The task's description as text. Raises ValueError for what is no plain JSON."""
    try:
        return json.dumps(dict(task.spec), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The description of task {task.id} is no plain JSON: {error}.") from error
