"""The service's fleet: a job's parts are done by workers on other processes and nodes.

Every node has the data folder at the same path and the service's `CARTRIDGES_*` variables. Knows jobs'
parts and executors; knows no job and no Redis.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.jobs import Subject
from app.settings import Settings
from inference.reader import Reader
from training.collection import Find, Text
from training.fleet.collection import Finish, FleetTraining
from training.fleet.executor import Executor
from training.fleet.ray_executor import Placement, RayExecutor
from training.fleet.task import Task, TaskFailed, WorkersLost
from training.fleet.work import ReaderSpec
from training.settings import Progress, TrainingSettings

_WORK = "app.fleet_work"
_QUESTIONS_TOGETHER = 20
# What may be otherwise in a minute, by name: a task's errors travel as words.
_PASSING = frozenset(
    {
        *("StorageFull", "BeingPublished", "RegistryUnavailable", "StoreUnavailable"),
        *("RedisError", "ConnectionError", "TimeoutError", "EngineUnavailable"),
    }
)


class FleetTrouble(RuntimeError):
    """The fleet could not do its part now; trying again later may help."""


@dataclass(frozen=True)
class Fleet:
    """Does jobs with an executor that is opened for each of them."""

    open_executor: Callable[[], Executor]
    reader: ReaderSpec
    settings: TrainingSettings
    group: int

    def train(
        self,
        texts: Sequence[Text],
        subjects: Mapping[str, Subject],
        find: Find,
        *,
        workdir: Path,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Train texts beside each other and publish them; what became of each, by its name.

        `subjects` are what may be published, by name. Raises TrainingRefused, Cancelled, FleetTrouble.
        """

        def subject_of(text: Text) -> dict[str, Any]:
            subject = subjects.get(text.name)
            wanted = subject is not None and subject.sha256 == text.digest
            return {"subject": asdict(subject) if subject is not None and wanted else None}

        with self._working() as executor:
            fleet = FleetTraining(
                executor,
                self.reader,
                self.settings,
                workdir,
                self.group,
                Finish(f"{_WORK}:publish", subject_of),
                progress,
                cancelled,
            )
            for each in fleet.together(texts, find):
                yield each.name, each.result or {"published": False, "reason": each.reason}

    def ask(
        self,
        report_id: str,
        run: str,
        questions: int,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Have a report's questions asked, some at a time, each by every arm in turn: what else a node
        does then falls on all arms alike. `run` names where the answers go: what the collection was
        when the report began. Raises Cancelled, FleetTrouble.
        """
        tasks = [
            Task(
                f"questions-{first}",
                f"{_WORK}:ask",
                {
                    "report": report_id,
                    "run": run,
                    "first": first,
                    "last": min(first + _QUESTIONS_TOGETHER, questions),
                    "reader": asdict(self.reader),
                },
                weight=min(_QUESTIONS_TOGETHER, questions - first),
            )
            for first in range(0, questions, _QUESTIONS_TOGETHER)
        ]
        with self._working() as executor:
            for _ in executor.run(
                tasks,
                progress=lambda done: progress(Progress("asking", 0.9 * done)),
                cancelled=cancelled,
            ):
                pass

    @contextlib.contextmanager
    def _working(self) -> Iterator[Executor]:
        try:
            with contextlib.closing(self.open_executor()) as executor:
                yield executor
        except WorkersLost as error:
            raise FleetTrouble(str(error)) from error
        except TaskFailed as error:
            if _PASSING & {*error.kinds}:
                raise FleetTrouble(error.message) from error
            raise


def open_fleet(settings: Settings, reader: Reader, training: TrainingSettings) -> Fleet | None:
    """The fleet that the settings name; None where jobs are done in the worker itself."""
    address = settings.fleet
    if address is None:
        return None
    threads = settings.threads or 1
    placement = Placement(
        workers=settings.fleet_workers,
        cpus=threads,
        gpus=settings.fleet_gpus,
        threads=threads,
        # Other nodes have variables of their own; what is started here has this service's.
        environment=settings.environment() if address == "local" else {},
    )
    # Not `auto`: nodes of several kinds must not train one collection in several formats.
    dtype = str(reader.dtype).removeprefix("torch.")
    told = reader.chat.instructions
    named = ReaderSpec(settings.reader, settings.device, dtype, reader.fingerprint, told)
    return Fleet(lambda: RayExecutor(address, placement), named, training, settings.fleet_group)
