"""Several stores over one Redis: what one replaces or removes, the others let go of within a second."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_samples import MemoryBlobs, make_cartridge

from cartridge_store.blobs import LocalBlobs
from cartridge_store.cartridge import Cartridge
from cartridge_store.changes import Change
from cartridge_store.disk_tier import DiskTier
from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.ids import blob_name
from cartridge_store.registry import Registry, connect
from cartridge_store.store import CartridgeStore

WITHIN_SECONDS = 1.0


def soon(true: Callable[[], bool], seconds: float = WITHIN_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Replica:
    """A store with copies on its own disk, as an API process has it, and what its engine was told."""

    def __init__(self, blobs: MemoryBlobs | LocalBlobs, url: str, prefix: str, disk: Path) -> None:
        self.client = connect(url)
        self.told: list[str] = []
        self.disk = DiskTier(disk, 2**20)
        self.registry = Registry(self.client, prefix)
        self.store = CartridgeStore(blobs, self.registry, node=disk.name, disk=self.disk)
        self.changes = self.store.follow(self.told.append)

    def answers(self, document_id: str) -> str | None:
        """As a question does: the current version is looked up and loaded."""
        version = self.store.current("house", [document_id]).get(document_id)
        return version and self.store.load(version).id

    def holds(self, cartridge: Cartridge) -> bool:
        here = any(
            location.node == self.disk_node
            for location in self.registry.locations([cartridge.id])[cartridge.id]
        )
        return here or blob_name(cartridge.id) in self.disk.names()

    @property
    def disk_node(self) -> str:
        return self.store._node

    def close(self) -> None:
        self.changes.close()
        self.store.close()
        self.client.close()


@pytest.fixture
def replicas(
    redis_server: EmbeddedRedis, prefixes: Iterator[str], tmp_path: Path
) -> Iterator[tuple[Replica, Replica]]:
    blobs, prefix = LocalBlobs(tmp_path / "blobs"), next(prefixes)
    with contextlib.ExitStack() as open_:
        made = [
            Replica(blobs, redis_server.url, prefix, tmp_path / name) for name in ("one", "other")
        ]
        for replica in made:
            open_.callback(replica.close)
        assert soon(lambda: listeners(made[0], prefix) == 2)
        yield made[0], made[1]


def listeners(replica: Replica, prefix: str) -> int:
    return int(replica.client.pubsub_numsub(f"{prefix}changes")[0][1])


def versions() -> tuple[Cartridge, Cartridge]:
    first = make_cartridge("boiler", seed=1)
    return first, make_cartridge("boiler", seed=2, parent=first.id)


def test_what_is_promoted_here_is_let_go_of_there(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    first, second = versions()
    one.store.publish(first)
    assert (one.answers("boiler"), other.answers("boiler")) == (first.id, first.id)
    assert other.holds(first)
    one.store.publish(second)
    assert soon(lambda: first.id in other.told)
    assert soon(lambda: not other.holds(first))
    assert soon(lambda: first.id in one.told)  # its own engine keeps it no longer either
    assert other.answers("boiler") == second.id
    assert second.id not in other.told


def test_what_is_removed_here_is_gone_there(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    first, second = versions()
    for version in (first, second):
        one.store.publish(version)
    other.answers("boiler")
    one.store.remove_document("house", "boiler")
    assert soon(lambda: {first.id, second.id} <= set(other.told))
    assert soon(lambda: not other.holds(second))
    assert other.answers("boiler") is None


def test_what_is_collected_here_is_let_go_of_there(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    first, second = versions()
    for version in (first, second):
        one.store.publish(version)
    other.store.load(first.id)  # by a question that had asked just before
    other.told.clear()
    one.client.delete(f"{one.registry._prefix}leases")
    assert one.store.collect(0.0) == [first.id]
    assert soon(lambda: first.id in other.told)
    assert soon(lambda: not other.holds(first))
    assert other.answers("boiler") == second.id


def test_a_version_that_is_published_again_is_kept(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    first, _ = versions()
    one.store.publish(first)
    other.answers("boiler")
    one.store.publish(first)
    one.store.rebuild()
    time.sleep(0.3)
    assert other.told == []
    assert blob_name(first.id) in other.disk.names()


def test_a_message_that_nobody_heard_costs_nothing_but_time(
    replicas: tuple[Replica, Replica],
) -> None:
    one, other = replicas
    first, second = versions()
    one.store.publish(first)
    other.answers("boiler")
    other.changes.close()  # it hears nothing any more
    one.store.publish(second)
    time.sleep(0.3)
    assert other.told == []
    assert other.answers("boiler") == second.id  # the next question reads the registry
    assert other.told == [first.id]
    assert not other.holds(first)


def test_who_lost_the_connection_looks_at_what_was_missed(
    replicas: tuple[Replica, Replica],
) -> None:
    one, other = replicas
    first, second = versions()
    one.store.publish(first)
    other.answers("boiler")
    # While nobody listens, the registry changes; then both listen again.
    one.client.execute_command("CLIENT", "PAUSE", 300, "WRITE")
    one.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    one.store.publish(second)
    assert soon(lambda: first.id in other.told, 5.0)
    assert soon(lambda: not other.holds(first))
    assert other.answers("boiler") == second.id


def test_while_redis_is_away_a_version_that_was_replaced_is_not_remembered(
    tmp_path: Path, prefixes: Iterator[str]
) -> None:
    blobs, prefix = LocalBlobs(tmp_path / "blobs"), next(prefixes)
    first, second = versions()
    with contextlib.ExitStack() as open_:
        with EmbeddedRedis(tmp_path / "redis") as server:
            made = [Replica(blobs, server.url, prefix, tmp_path / name) for name in ("a", "b")]
            for replica in made:
                open_.callback(replica.close)
            assert soon(lambda: listeners(made[0], prefix) == 2)
            made[0].store.publish(first)
            made[1].answers("boiler")
            made[0].store.publish(second)
            assert soon(lambda: first.id in made[1].told)
        assert made[1].answers("boiler") == second.id  # it never asked for it, but it was told
        assert made[1].store.degraded


def test_a_change_as_it_is_sent() -> None:
    assert Change.parse("house/boiler c1 c0") == Change("house", "boiler", "c1", ("c0",))
    assert Change.parse("house/boiler - ") == Change("house", "boiler", None, ())
    with pytest.raises(ValueError):
        Change.parse("nothing of the kind")
