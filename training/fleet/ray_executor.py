"""The executor of a Ray cluster: long-lived workers take tasks, on however many nodes there are.

A worker is a Ray actor. Ray starts it where there is room and starts it again when it dies
(`max_restarts`); workers for which there is no room yet wait, and join when a node does. A task whose
worker died goes to whichever worker is free, at most `max_task_retries` times: left to Ray it would
wait for its own worker, which with a lost node may never come back. Only plain text travels through
Ray. Ray is imported when an executor is opened. This file knows no kind of work.
"""

import json
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any

from training.fleet.executor import Board
from training.fleet.in_process import as_json
from training.fleet.ray_worker import RayWorker
from training.fleet.task import Done, Task, TaskFailed, WorkersLost
from training.settings import Cancelled

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25
_STOP_SECONDS = 30.0
_MOST_FAILED_STARTS = 5


@dataclass(frozen=True, slots=True)
class Placement:
    """What workers there are and what each takes of a node. Raises ValueError.

    `workers` at most at a time; `cpus` and `gpus` (fractions too: four workers share a GPU with 0.25)
    and further Ray `resources` of each; `threads` of torch; `environment` are variables that its node
    lacks. A worker is restarted `max_restarts` times (-1: always), a task is given to another worker
    `max_task_retries` times. Where no worker could be placed for `patience_seconds`, a run gives up.
    """

    workers: int = 2
    cpus: float = 1.0
    gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    max_restarts: int = -1
    max_task_retries: int = 3
    patience_seconds: float = 600.0

    def __post_init__(self) -> None:
        if self.workers < 1 or self.threads < 1:
            raise ValueError("workers and threads must be at least 1.")
        if min(self.cpus, self.gpus, self.max_task_retries) < 0 or self.max_restarts < -1:
            raise ValueError(
                "cpus, gpus and max_task_retries: at least 0; max_restarts: at least -1."
            )


@dataclass(eq=False, slots=True)
class _Hand:
    """A worker as the driver sees it: what it was last asked, and the task it is at."""

    actor: Any
    asked: Any = None  # the answer that is awaited, of a greeting or of a task
    task: Task | None = None
    turn: int = 0
    looked: Any = None  # the answer to how far it is
    pid: int | None = None
    idle: bool = False
    greet_at: float = 0.0


class RayExecutor:
    """Runs tasks on a cluster: `address` is `local` (one of its own), `auto`, `host:port` or `ray://`.

    A context; opening raises WorkersLost when Ray is not installed or no cluster is there.
    """

    def __init__(self, address: str = "local", placement: Placement | None = None) -> None:
        self._placement = placement or Placement()
        self._ray, self._mine = _connected(address)
        self._hands: list[_Hand] = []
        self._failed_starts = 0
        self._turns = count()
        self.given_again = 0
        """Tasks whose worker died, so far."""

    def __enter__(self) -> "RayExecutor":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """Process numbers of the workers that are there."""
        return [hand.pid for hand in self._hands if hand.pid is not None]

    def run(
        self,
        tasks: Sequence[Task],
        *,
        progress: Callable[[float], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Done]:
        board = Board(tasks, progress)
        specs = {task.id: as_json(task) for task in tasks}
        queue, losses = deque(tasks), Counter[str]()
        left = len(queue)
        placed = time.monotonic()  # when there last was a worker
        try:
            while left:
                if cancelled():
                    raise Cancelled
                self._hire(min(self._placement.workers, left))
                for hand in self._hands:
                    if hand.idle and queue:
                        self._give(hand, queue.popleft(), specs)
                for hand in self._answered():
                    done = self._heard(hand, queue, losses)
                    if done is not None:
                        left -= 1
                        board.tell(done.task_id, 1.0)
                        yield done
                self._look(board)
                if any(hand.pid is not None for hand in self._hands):
                    placed = time.monotonic()
                elif time.monotonic() - placed > self._placement.patience_seconds:
                    raise WorkersLost(
                        "No node of the Ray cluster has room for a worker of "
                        f"{self._placement.cpus:g} CPU and {self._placement.gpus:g} GPU; add a node or "
                        "ask for less."
                    )
        finally:
            self._stop_all()

    def close(self) -> None:
        """End all workers, and the cluster where it was started here."""
        try:
            for hand in self._hands:
                self._ray.kill(hand.actor)
        except self._ray.exceptions.RayError as error:
            logger.warning("Ray's workers were not ended: %s", error)
        finally:
            self._hands.clear()
            if self._mine:
                self._ray.shutdown()
                self._mine = False

    def _hire(self, wanted: int) -> None:
        """Ask for workers; those that cannot be placed yet wait for a node."""
        placement = self._placement
        while len(self._hands) < wanted:
            actor = (
                self._ray.remote(RayWorker)
                .options(
                    num_cpus=placement.cpus,
                    num_gpus=placement.gpus,
                    resources=dict(placement.resources) or None,
                    max_restarts=placement.max_restarts,
                    max_task_retries=0,  # see above: tasks go to whoever is free
                    max_concurrency=2,
                )
                .remote(placement.threads, dict(placement.environment))
            )
            self._hands.append(_Hand(actor))
        for hand in self._hands:
            waits = hand.asked is None and not hand.idle
            if waits and time.monotonic() >= hand.greet_at:
                hand.asked = hand.actor.hello.remote()

    def _give(self, hand: _Hand, task: Task, specs: Mapping[str, str]) -> None:
        hand.idle, hand.task, hand.turn = False, task, next(self._turns)
        hand.asked = hand.actor.run.remote(hand.turn, task.work, specs[task.id])

    def _answered(self) -> list[_Hand]:
        """Workers that have said something, or died."""
        asked = {hand.asked: hand for hand in self._hands if hand.asked is not None}
        if not asked:
            time.sleep(_LOOK_SECONDS)
            return []
        ready, _ = self._ray.wait([*asked], num_returns=1, timeout=_LOOK_SECONDS)
        return [asked[answer] for answer in ready]

    def _heard(self, hand: _Hand, queue: "deque[Task]", losses: "Counter[str]") -> Done | None:
        """What a worker said of its task; None for a greeting, or when the task has to be done anew."""
        answer, task, hand.asked, hand.task = hand.asked, hand.task, None, None
        errors = self._ray.exceptions
        try:
            said = self._ray.get(answer)
        except errors.RayTaskError as error:
            raise WorkersLost(f"A Ray worker could not do its part: {error}") from error
        except errors.RayError as error:
            self._lost(hand, error)
            if task is not None:
                losses[task.id] += 1
                self.given_again += 1
                if losses[task.id] > self._placement.max_task_retries:
                    raise WorkersLost(
                        f"Task {task.id} lost its worker {losses[task.id]} times; give workers more "
                        f"memory or find in Ray's logs why they die ({_first_line(error)})."
                    ) from error
                logger.warning("Task %s lost its worker; another one takes it.", task.id)
                queue.appendleft(task)
            return None
        hand.idle = True
        if task is None:
            hand.pid, self._failed_starts = said, 0
            return None
        outcome = json.loads(said)
        if "failed" in outcome:
            raise TaskFailed(task.id, outcome["failed"]["kinds"], outcome["failed"]["message"])
        if "cancelled" in outcome:
            raise Cancelled
        return Done(task.id, outcome["result"])

    def _lost(self, hand: _Hand, error: Exception) -> None:
        """A worker died: Ray starts it again, or it is replaced."""
        hand.pid, hand.looked = None, None
        hand.greet_at = time.monotonic() + _LOOK_SECONDS
        if isinstance(error, self._ray.exceptions.ActorUnavailableError):
            return  # it is on its way back
        self._hands.remove(hand)
        self._failed_starts += 1
        if self._failed_starts > _MOST_FAILED_STARTS:
            raise WorkersLost(
                "Ray's workers do not stay alive; every node needs this very version of the package "
                f"and of Ray ({_first_line(error)})."
            ) from error

    def _look(self, board: Board) -> None:
        """Ask those at work how far they are, without waiting for the answer."""
        for hand in self._hands:
            if hand.task is None:
                hand.looked = None
            elif hand.looked is None:
                hand.looked = hand.actor.share.remote()
            elif self._ray.wait([hand.looked], timeout=0)[0]:
                try:
                    board.tell(hand.task.id, self._ray.get(hand.looked))
                except self._ray.exceptions.RayError:
                    logger.debug("A worker did not say how far it is.")
                hand.looked = None

    def _stop_all(self) -> None:
        """Whoever is still at work stops at its next step, or is ended."""
        busy = [hand for hand in self._hands if hand.task is not None]
        for hand in busy:
            hand.actor.stop.remote(hand.turn)
        if busy:
            self._ray.wait(
                [hand.asked for hand in busy], num_returns=len(busy), timeout=_STOP_SECONDS
            )
        for hand in busy:
            if self._ray.wait([hand.asked], timeout=0)[0]:
                hand.asked, hand.task, hand.greet_at = None, None, 0.0
            else:
                self._ray.kill(hand.actor)
                self._hands.remove(hand)


def _connected(address: str) -> tuple[Any, bool]:
    """Ray, connected to a cluster; whether it was connected here."""
    # Read by Ray when it is imported: nothing is reported to its makers, and the accelerator that a
    # worker sees is left as it is where it asks for none.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise WorkersLost(
            "A fleet needs Ray: pip install -e '.[fleet]', or leave CARTRIDGES_FLEET unset."
        ) from error
    if ray.is_initialized():
        return ray, False
    try:
        ray.init(
            address=address,
            include_dashboard=False if address == "local" else None,
            log_to_driver=False,
            configure_logging=False,
        )
    except (
        *(ConnectionError, ValueError, RuntimeError, OSError),
        ray.exceptions.RayError,
    ) as error:
        raise WorkersLost(
            f"No Ray cluster answers at {address!r}; start one with 'ray start --head', or use "
            f"'local' ({_first_line(error)})."
        ) from error
    return ray, True


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
