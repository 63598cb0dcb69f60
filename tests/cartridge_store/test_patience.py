"""A server that hangs: waited for once, and asked again by one call at a time."""

import copy
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.patience import Patience
from cartridge_store.registry import connect


class Server:
    def __init__(self) -> None:
        self.hangs = False
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.hangs:
            raise redis.TimeoutError("Timeout reading from socket")
        return "PONG"


def ask(patience: Patience, do: Callable[[], str]) -> str:
    return patience.call_with_retry(do, lambda _: None)


def test_a_server_that_hangs_is_waited_for_once() -> None:
    now, server = [100.0], Server()
    patience = Patience(lambda: now[0])
    assert ask(patience, server) == "PONG"
    server.hangs = True
    with pytest.raises(redis.TimeoutError):
        ask(patience, server)
    assert server.calls == 3  # one more try, as ever
    for _ in range(10):
        with pytest.raises(redis.ConnectionError, match="a moment ago"):
            ask(copy.deepcopy(patience), server)  # as another connection does
    assert server.calls == 3
    now[0] += 6
    with pytest.raises(redis.TimeoutError):
        ask(patience, server)
    with pytest.raises(redis.ConnectionError, match="a moment ago"):
        ask(patience, server)
    now[0] += 6
    server.hangs = False
    for _ in range(3):  # its connection, the command, and all that follow
        assert ask(patience, server) == "PONG"
    with ThreadPoolExecutor(1) as other:
        assert other.submit(ask, patience, server).result() == "PONG"


def test_while_one_looks_the_others_do_not_wait() -> None:
    now, server = [100.0], Server()
    patience = Patience(lambda: now[0])
    server.hangs = True
    with pytest.raises(redis.TimeoutError):
        ask(patience, server)
    now[0] += 6

    def looking() -> str:
        # Made anew for this very call, its connection is not refused; another thread's call is.
        assert ask(patience, lambda: "connected") == "connected"
        refused_elsewhere()
        return "PONG"

    def refused_elsewhere() -> None:
        with (
            ThreadPoolExecutor(1) as other,
            pytest.raises(redis.ConnectionError, match="a moment ago"),
        ):
            other.submit(ask, patience, server).result()

    assert ask(patience, looking) == "PONG"
    refused_elsewhere()  # that its connection was open says nothing yet
    assert ask(patience, looking) == "PONG"
    server.hangs = False
    with ThreadPoolExecutor(1) as other:
        assert other.submit(ask, patience, server).result() == "PONG"


def test_a_refusal_is_an_answer() -> None:
    patience = Patience()

    def refused() -> str:
        raise redis.ConnectionError("Connection refused")

    for _ in range(3):
        with pytest.raises(redis.ConnectionError, match="refused"):
            ask(patience, refused)


def test_a_client_has_it_for_all_its_connections(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server, connect(server.url) as client:
        client.set("a", "1")
        patience = client.get_retry()
        assert isinstance(patience, Patience)
        patience._away_until = time.monotonic() + 60
        with pytest.raises(redis.ConnectionError, match="a moment ago"):
            client.get("a")
        with pytest.raises(redis.ConnectionError, match="a moment ago"):
            client.pipeline().get("a").execute()
        patience._away_until = time.monotonic() - 1
        assert client.pipeline().get("a").execute() == ["1"]
        assert patience._away_until is None
