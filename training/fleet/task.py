"""A task of the fleet: named work on a plain description, JSON in and JSON out.

What a task makes lies in files, the store or Redis; its result only says what became of it, so that a
task that is done twice does no harm. This file knows no executor and no kind of work.
"""

import importlib
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any, TypeVar, cast

import torch

from training.settings import Cancelled

T = TypeVar("T")

Json = dict[str, Any]


class TaskFailed(RuntimeError):
    """A task's work raised an error; `kinds` are the names of its class and of those above, the message
    says which task and why."""

    def __init__(self, task_id: str, kinds: Sequence[str], message: str) -> None:
        super().__init__(f"Task {task_id} failed with {kinds[0]}: {message}")
        self.task_id, self.kinds, self.message = task_id, tuple(kinds), message

    @property
    def kind(self) -> str:
        """The name of the error's own class."""
        return self.kinds[0]


def kinds_of(error: BaseException) -> list[str]:
    """Names of an error's class and of those above it, as far as they are errors."""
    return [each.__name__ for each in type(error).__mro__ if issubclass(each, Exception)]


class WorkersLost(RuntimeError):
    """Workers died more often than is tolerated, or cannot be had; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Task:
    """Work to be done: `work` names a function as `module:function`, `spec` is its JSON description.

    `weight` is the task's share of the progress beside the others'.
    """

    id: str
    work: str
    spec: Mapping[str, Any]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Done:
    """A task's result."""

    task_id: str
    result: Json


class Context:
    """What work is given beside its description; one for each run of a task."""

    def __init__(
        self,
        kept: dict[Hashable, Any],
        told: Callable[[float], None],
        cancelled: Callable[[], bool],
        lock: RLock,
    ) -> None:
        self._kept, self._told, self._cancelled, self._lock = kept, told, cancelled, lock

    def report(self, done: float) -> None:
        """Say what share is done, 0 to 1. Raises Cancelled when the work is to stop."""
        if self._cancelled():
            raise Cancelled
        self._told(done)

    def cancelled(self) -> bool:
        """Whether the work is to stop."""
        return self._cancelled()

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` made for this worker the first time that it was asked for `key`, such as a reader."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make()
            return cast(T, self._kept[key])


Work = Callable[[Json, Context], Json]


def resolve(work: str) -> Work:
    """The function that `module:function` names. Raises ValueError."""
    module, _, name = work.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"There is no work {work!r} on this machine: every node needs this very version of the "
            f"package installed ({error})."
        ) from error
    return cast(Work, found)


def perform(work: str, spec: str, context: Context, threads: int) -> str:
    """Do named work on a JSON text with so many torch threads; the result as JSON text.

    The number of threads is fixed because sums depend on it: with it the same task gives the same
    bits wherever it runs on machines of one kind. Raises what the work raises.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        result = resolve(work)(json.loads(spec), context)
    finally:
        torch.set_num_threads(before)
    return json.dumps(result, allow_nan=False)
