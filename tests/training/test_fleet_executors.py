"""The contract of an executor, for every implementation, and what a Ray fleet does when workers die."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from training.fleet.executor import Executor
from training.fleet.in_process import InProcessExecutor
from training.fleet.ray_executor import Placement, RayExecutor
from training.fleet.ray_worker import RayWorker
from training.fleet.task import Task, TaskFailed, WorkersLost
from training.settings import Cancelled

WORK = "tests.training.fleet_work"


@pytest.fixture(params=["in-process", "ray"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "ray":
        yield request.getfixturevalue("ray_fleet")
    else:
        here = InProcessExecutor()
        yield here
        here.close()


def slow(tmp_path: Path, name: str, steps: int) -> Task:
    spec = {"log": str(tmp_path / "log"), "name": name, "steps": steps}
    return Task(name, f"{WORK}:slowly", spec, weight=steps)


def test_every_result_comes_once_by_its_task(executor: Executor) -> None:
    tasks = [Task(f"t{n}", f"{WORK}:double", {"number": n}) for n in range(7)]
    done = list(executor.run(tasks))
    assert {d.task_id: d.result["double"] for d in done} == {f"t{n}": 2 * n for n in range(7)}
    assert len(done) == 7
    assert list(executor.run([])) == []


def test_work_has_the_threads_that_were_chosen(executor: Executor) -> None:
    (done,) = executor.run([Task("t", f"{WORK}:double", {"number": 1})])
    assert done.result["threads"] == 1


def test_progress_is_of_all_tasks_together(executor: Executor, tmp_path: Path) -> None:
    told: list[float] = []
    tasks = [slow(tmp_path, "long", 30), slow(tmp_path, "short", 10)]
    list(executor.run(tasks, progress=told.append))
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    assert any(0 < share < 0.74 for share in told)  # told while the long one was at work


def test_an_error_names_its_task_and_its_kind(executor: Executor) -> None:
    with pytest.raises(TaskFailed, match="Task bad failed with LookupError: no luck") as caught:
        list(executor.run([Task("bad", f"{WORK}:failing", {"what": "luck"})]))
    assert (caught.value.task_id, caught.value.kind) == ("bad", "LookupError")
    assert list(executor.run([Task("t", f"{WORK}:double", {"number": 1})]))  # nothing is broken


def test_what_is_no_json_and_no_work_is_refused(executor: Executor) -> None:
    with pytest.raises(ValueError, match="no plain JSON"):
        list(executor.run([Task("t", f"{WORK}:double", {"number": object()})]))
    with pytest.raises(ValueError, match="one id"):
        list(executor.run([Task("t", f"{WORK}:double", {"number": 1})] * 2))
    with pytest.raises(TaskFailed, match="TypeError"):
        list(executor.run([Task("t", f"{WORK}:no_json", {})]))
    with pytest.raises(TaskFailed, match="this very version of the package"):
        list(executor.run([Task("t", f"{WORK}:nowhere", {})]))


def test_cancelling_stops_what_runs_and_begins_nothing_more(
    executor: Executor, tmp_path: Path
) -> None:
    stop = threading.Event()
    tasks = [slow(tmp_path, f"t{n}", 400) for n in range(4)]
    log = tmp_path / "log"

    def cancelled() -> bool:
        if log.exists():
            stop.set()
        return stop.is_set()

    began = time.monotonic()
    with pytest.raises(Cancelled):
        list(executor.run(tasks, cancelled=cancelled))
    assert time.monotonic() - began < 15  # one alone takes twenty seconds
    assert len(log.read_text().split()) <= 2
    # The same tasks again are new turns.
    assert len(list(executor.run([slow(tmp_path, "t0", 1), slow(tmp_path, "t1", 1)]))) == 2


def test_a_worker_keeps_what_it_made(executor: Executor) -> None:
    tasks = [Task(f"t{n}", f"{WORK}:once_for_all", {}) for n in range(6)]
    times = [done.result["times"] for done in executor.run(tasks)]
    assert max(times) > 2  # six tasks, at most two workers


def test_a_task_that_kills_every_worker_is_given_up(ray_fleet: RayExecutor, tmp_path: Path) -> None:
    spec = {"log": str(tmp_path / "log"), "times": 99}
    with pytest.raises(WorkersLost, match="Task dies lost its worker 2 times"):
        list(ray_fleet.run([Task("dies", f"{WORK}:dying", spec)]))
    assert len((tmp_path / "log").read_text()) == 2
    assert list(ray_fleet.run([Task("t", f"{WORK}:double", {"number": 1})]))


def test_a_worker_killed_from_outside_costs_one_more_attempt(
    ray_fleet: RayExecutor, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    killed: list[int] = []

    def kill_one() -> bool:
        if not killed and log.exists() and len(log.read_text().split()) == 2:
            killed.append(ray_fleet.pids[0])
            os.kill(killed[0], signal.SIGKILL)
        return False

    results = list(
        ray_fleet.run([slow(tmp_path, f"t{n}", 20) for n in range(4)], cancelled=kill_one)
    )
    assert {done.task_id for done in results} == {"t0", "t1", "t2", "t3"}
    assert len(log.read_text().split()) == 5
    assert killed


def test_a_placement_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Placement(workers=0)
    with pytest.raises(ValueError, match="at least 0"):
        Placement(gpus=-0.5)


def test_a_worker_that_no_node_has_room_for_is_not_waited_for_for_ever(
    ray_fleet: RayExecutor,
) -> None:
    greedy = RayExecutor("local", Placement(gpus=0.25, patience_seconds=1.0))
    with pytest.raises(WorkersLost, match=r"room for a worker of 1 CPU and 0.25 GPU"):
        list(greedy.run([Task("t", f"{WORK}:double", {"number": 1})]))
    greedy.close()


def test_a_worker_ends_what_the_driver_gave_up_before_it_begins_anew(tmp_path: Path) -> None:
    worker = RayWorker(1, {})
    log = tmp_path / "log"
    spec = json.dumps({"log": str(log), "name": "old", "steps": 600})
    said: list[str] = []
    old = threading.Thread(
        target=lambda: said.append(worker.run(0, f"{WORK}:slowly", spec)), daemon=True
    )
    old.start()
    deadline = time.monotonic() + 30
    while not log.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert json.loads(worker.run(1, f"{WORK}:double", '{"number": 2}'))["result"]["double"] == 4
    old.join(5)
    assert [json.loads(each) for each in said] == [{"cancelled": True}]
