"""A cluster of two nodes on this machine: one joins while tasks run, and dies while tasks run."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.service_process import children

ROOT = Path(__file__).parents[2]


def descendants(pid: int) -> list[tuple[int, str]]:
    found = children(pid)
    return found + [each for child, _ in found for each in descendants(child)]


class Nodes:
    """Nodes of one cluster, by name; each has a resource of its name."""

    def __init__(self, folder: Path) -> None:
        self._temp = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets' paths must be short
        self._log = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        where = [f"--address={self.address}"]
        if not self._started:
            where = ["--head", f"--port={self.address.split(':')[1]}", f"--temp-dir={self._temp}"]
            where += ["--include-dashboard=false", "--node-ip-address=127.0.0.1"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *where, "--num-cpus=1"]
        command += [f"--resources={json.dumps({name: 1})}", "--block"]
        with (self._log / f"{name}.log").open("wb") as log:
            self._started[name] = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """As when a machine goes away: its raylet first, then what it ran."""
        whole = descendants(self._started[name].pid)
        for pid, _ in sorted(whole, key=lambda each: "raylet" not in each[1]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        left = [pid for each in self._started.values() for pid, _ in descendants(each.pid)]
        for process in self._started.values():
            process.terminate()
        for process in self._started.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self._temp, ignore_errors=True)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path)
    try:
        yield nodes
    finally:
        nodes.stop()


def wait(what: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_node_joins_and_dies_while_tasks_run(nodes: Nodes, tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    nodes.start("left")
    wait_for_port(nodes.address)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.training.fleet_two_nodes", nodes.address, str(meeting)],
        env=nodes.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    ) as driver:
        try:
            assert driver.stdout is not None

            def there(names: str) -> bool:
                return len([*meeting.glob(f"{names}*-*")]) == 2

            # One node has room for one worker: nobody is met before the second node has joined.
            wait(lambda: bool([*meeting.glob("a?-*")]), driver)
            nodes.start("right")
            wait(lambda: there("a"), driver)
            (meeting / "go-a").touch()
            first = next_json(driver)
            assert len(set(first.values())) == 2
            wait(lambda: there("b"), driver)
            nodes.kill("right")
            (meeting / "go-b").touch()
            second = next_json(driver)
            (meeting / "go-c").touch()
            placed = next_json(driver)
            (left,) = placed.values()  # asked for what only this node has
            assert left in first.values()
            assert second.keys() == {"b0", "b1"}
            assert driver.wait(30) == 0
        finally:
            driver.kill()


def next_json(driver: "subprocess.Popen[str]") -> dict[str, str]:
    assert driver.stdout is not None
    said = []
    for line in driver.stdout:
        if line.startswith("{"):
            return dict(json.loads(line))
        said.append(line)
    raise AssertionError("".join(said))


def wait_for_port(address: str, seconds: float = 60) -> None:
    host, port = address.split(":")
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        assert time.monotonic() < deadline, "the head did not start"
        time.sleep(0.1)
