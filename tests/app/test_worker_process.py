"""Workers as processes: killed, stopped, started again; and a Redis that was emptied."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.foundation import open_foundation
from app.jobs import Subject
from app.reconcile import subject_of
from app.settings import Settings
from app.storage import open_store
from cartridge_store.registry import connect
from tests.app.app_fakes import STEPS, make_parts

SLOW = "The boiler was serviced. SLOW."


@pytest.fixture
def start_worker(settings: Settings) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    """Starts worker processes with a fake distillation; ends those that are left."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.app.worker_with_fakes"],
            env=os.environ | settings.environment(),
            cwd=Path(__file__).parents[2],
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def add(client: TestClient, text: str, id: str) -> str:
    response = client.post("/v1/documents", json={"text": text, "id": id})
    return str(response.json()["job"]["id"])


def wait_until_ready(client: TestClient, id: str) -> None:
    deadline = time.monotonic() + 20
    while client.get(f"/v1/documents/{id}").json()["status"] != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_for_progress(client: TestClient, job: str, least: float) -> None:
    deadline = time.monotonic() + 120
    while client.get(f"/v1/jobs/{job}").json()["progress"] < least:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_workers_job_goes_on_from_its_checkpoint_in_another_one(
    client: TestClient,
    settings: Settings,
    start_worker: Callable[[], "subprocess.Popen[bytes]"],
    wait_for: Callable[..., Any],
) -> None:
    job = add(client, SLOW, "boiler")
    killed = start_worker()
    wait_for_progress(client, job, 0.3)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    checkpoint = settings.data / "training" / job / "steps.json"
    done_before = len(json.loads(checkpoint.read_text()))
    assert 0 < done_before < STEPS
    began = time.time()
    start_worker()
    ended = wait_for(client, job, 40)
    assert ended["status"] == "succeeded", ended
    # 40 steps in all, those of the first worker not done again.
    assert ended["result"]["figures"]["steps"] == STEPS
    assert ended["result"]["figures"]["first_step_at"] < began
    assert client.get("/v1/documents/boiler").json()["status"] == "ready"
    assert not checkpoint.exists()


def test_a_stopped_worker_gives_its_job_back_at_once(
    client: TestClient,
    settings: Settings,
    start_worker: Callable[[], "subprocess.Popen[bytes]"],
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
) -> None:
    job = add(client, SLOW, "boiler")
    first = start_worker()
    wait_for_progress(client, job, 0.2)
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 0
    given_back = client.get(f"/v1/jobs/{job}").json()
    assert (given_back["status"], given_back["error"]) == ("queued", None)
    done = len(json.loads((settings.data / "training" / job / "steps.json").read_text()))
    assert 0 < done < STEPS
    began = time.time()
    with worker():
        # Well before a lost heartbeat would be noticed.
        ended = wait_for(client, job, 8)
    assert ended["status"] == "succeeded"
    assert ended["result"]["figures"]["first_step_at"] < began


def test_two_messages_for_one_version_train_once(
    client: TestClient,
    settings: Settings,
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
) -> None:
    trained = []

    def counting(*arguments: Any, **options: Any) -> Any:
        from tests.app.app_fakes import fake_distil

        trained.append(options["workdir"])
        return fake_distil(*arguments, **options)

    job = add(client, SLOW, "boiler")
    base = open_foundation(settings, make_parts())
    for _ in range(3):
        base.queue.send(job)
    parts = make_parts(distil=counting)
    with contextlib.ExitStack() as workers:
        for _ in range(2):
            workers.enter_context(worker(parts))
        wait_for(client, job)
        deadline = time.monotonic() + 10
        while base.queue.job_ids():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    base.close()
    assert len(trained) == 1


def test_an_emptied_redis_is_filled_again_from_the_disk(
    client: TestClient,
    settings: Settings,
    serve: Callable[..., Any],
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
) -> None:
    with worker():
        wait_for(client, add(client, "A trained text.", "trained"))
    waiting = add(client, "A text that waits.", "waiting")
    redis = connect(settings.redis_url or "")
    keys = list(redis.scan_iter(f"{settings.redis_prefix}*"))
    assert keys
    redis.delete(*keys)
    redis.close()
    with serve() as restarted:
        assert restarted.get("/v1/documents/trained").json()["status"] == "ready"
        job = restarted.get(f"/v1/jobs/{waiting}").json()
        assert job["status"] == "queued"
        with worker():
            assert wait_for(restarted, waiting)["status"] == "succeeded"


@pytest.fixture
def at_work(
    client: TestClient,
    start_worker: Callable[[], "subprocess.Popen[bytes]"],
    wait_for: Callable[..., Any],
) -> None:
    """A worker that has trained a document and waits for more."""
    start_worker()
    wait_for(client, add(client, "A trained text.", "trained"))


@pytest.mark.usefixtures("at_work")
def test_a_running_worker_notices_an_emptied_redis(client: TestClient, settings: Settings) -> None:
    base = open_foundation(settings, make_parts())
    base.library.put("default", "waiting", None, "A text that waits.")
    base.client.delete(*base.client.scan_iter(f"{settings.redis_prefix}*"))
    for id in ("waiting", "trained"):
        wait_until_ready(client, id)
    base.close()


def test_reconciling_twice_sends_nothing_twice(client: TestClient, settings: Settings) -> None:
    base = open_foundation(settings, make_parts())
    for number in range(3):
        base.library.put("default", f"d{number}", None, f"Text {number}.")
    assert base.reconciler.run().requeued == 3
    assert base.reconciler.run().requeued == 0
    assert len(base.queue.job_ids()) == 3
    base.close()


@pytest.mark.usefixtures("at_work")
def test_a_message_that_was_lost_with_its_machine_is_looked_for_now_and_then(
    client: TestClient, settings: Settings
) -> None:
    base = open_foundation(settings, make_parts())
    document, _ = base.library.put("default", "waiting", None, "A text that waits.")
    base.jobs.open(subject_of(document, base.reader))
    assert not base.reconciler.is_due()
    assert base.reconciler.resend() == 0  # it was looked for lately
    base.client.delete(f"{settings.redis_prefix}reconciled-lately")  # as after a quarter of an hour
    wait_until_ready(client, "waiting")
    base.close()


def test_an_older_folder_beside_a_newer_redis_is_trained_as_it_is(
    serve: Callable[..., Any],
    settings: Settings,
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """What a backup that is put back lacks is trained again: a lost cartridge, an overtaken version."""

    with serve() as client, worker():
        wait_for(client, add(client, "A lasting text.", "lasting"))
        wait_for(client, add(client, "A first text.", "changed"))
        shutil.copytree(settings.data, tmp_path / "backup")
        wait_for(client, add(client, "A second text.", "changed"))
        lost = add(client, "A text that the backup lacks.", "lost")
        wait_for(client, lost)
    shutil.rmtree(settings.data)
    shutil.copytree(tmp_path / "backup", settings.data)
    shutil.rmtree(settings.data / "cartridges")
    with open_store(settings) as store:
        store.rebuild()
    with serve() as client, worker():
        for id, version in (("lasting", 1), ("changed", 1)):
            wait_until_ready(client, id)
            assert client.get(f"/v1/documents/{id}").json()["version"] == version
        again = add(client, "A text that the backup lacks.", "lost")
        assert again != lost
        assert wait_for(client, again)["result"]["published"]
        newer = add(client, "A second text.", "changed")
        assert wait_for(client, newer)["result"]["published"]
        assert client.get("/v1/documents/changed").json()["version"] == 2
        # All stands: nothing is trained once more.
        assert add(client, "A second text.", "changed") == newer
    base = open_foundation(settings, make_parts())
    assert base.reconciler.run().requeued == 0
    base.close()


def test_jobs_that_ended_are_not_started_again(client: TestClient, settings: Settings) -> None:
    base = open_foundation(settings, make_parts())
    document, _ = base.library.put("default", "d", None, "Text.")
    subject = Subject("default", "d", 1, document.sha256, base.reader.fingerprint)
    job = base.jobs.open(subject)
    base.jobs.fail(job.id, "It cannot be trained.")
    assert base.reconciler.run().requeued == 0
    assert base.jobs.open(subject).status == "failed"
    assert not base.jobs.start(job.id)
    base.close()
