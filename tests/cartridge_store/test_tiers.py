"""Heat, memory and disk under byte budgets, and cartridges that move between them."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import MemoryBlobs, make_cartridge, same_bits

from cartridge_store.blobs import LocalBlobs
from cartridge_store.disk_tier import DiskTier
from cartridge_store.errors import CartridgeNotFound, CartridgeRefused, StorageFull, StoreError
from cartridge_store.format import to_bytes
from cartridge_store.heat import Heat
from cartridge_store.ids import blob_name
from cartridge_store.object_blobs import ObjectBlobs
from cartridge_store.registry import Registry
from cartridge_store.residency import Budget, Held, Residency
from cartridge_store.store import CartridgeStore
from cartridge_store.tier import Tier


def test_heat_fades_and_the_coldest_byte_leaves() -> None:
    heat = Heat(fades=0.5)
    heat.use("a")
    heat.use("a")
    heat.use("b")
    assert heat.of("a") == pytest.approx((1 * 0.5 + 1) * 0.5)
    assert heat.of("b") == 1
    assert heat.of("never") == 0
    assert heat.coldest({"a": 10, "b": 10}) == "a"
    assert heat.coldest({"a": 10, "b": 100}) == "b"  # warmer, but not for its size
    heat.forget(["a"])
    assert heat.of("a") == 0


def test_the_coldest_leaves_and_the_newcomer_stays() -> None:
    tier: Tier[bytes] = Tier(10, len)
    assert tier.put("often", b"1234") == []
    assert tier.put("once", b"1234") == []
    for _ in range(5):
        assert tier.get("often") == b"1234"
    assert tier.put("new", b"12345") == ["once"]
    assert tier.get("once") is None
    assert sorted(tier.names()) == ["new", "often"]
    assert tier.put("too large", b"x" * 11) == ["too large"]
    assert tier.nbytes == 9


@given(st.integers(0, 60), st.lists(st.tuples(st.sampled_from("pgd"), st.integers(0, 5))))
def test_a_tier_never_holds_more_than_it_may(capacity: int, steps: list[tuple[str, int]]) -> None:
    tier: Tier[bytes] = Tier(capacity, len)
    held: set[int] = set()
    for verb, index in steps:
        value = b"x" * (10 * index + 1)
        if verb == "p":
            left = tier.put(str(index), value)
            held = {i for i in held | {index} if str(i) not in left}
        elif verb == "g":
            assert (tier.get(str(index)) == value) == (index in held)
        else:
            tier.drop(str(index))
            held.discard(index)
        assert tier.nbytes == sum(10 * i + 1 for i in held) <= capacity
        assert sorted(tier.names()) == sorted(map(str, held))


class TestDisk:
    def test_copies_stay_within_their_budget_and_over_a_restart(self, tmp_path: Path) -> None:
        disk = DiskTier(tmp_path, 10)
        assert disk.put("a", b"1234") == []
        assert disk.put("b", b"1234") == []
        assert disk.get("a") == b"1234"
        assert disk.put("c", b"12345") == ["b"]
        assert disk.put("d", b"x" * 11) == ["d"]
        assert disk.nbytes == 9
        again = DiskTier(tmp_path, 10)
        assert sorted(again.names()) == ["a", "c"]
        assert again.get("c") == b"12345"
        assert DiskTier(tmp_path, 5).names() == ["c"]
        assert [path.name for path in tmp_path.iterdir()] == ["c"]

    def test_what_vanished_or_cannot_be_written_is_no_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        disk = DiskTier(tmp_path, 100)
        disk.put("a", b"1234")
        (tmp_path / "a").unlink()
        assert disk.get("a") is None
        assert disk.names() == []

        def full(*_: object) -> None:
            raise StorageFull("Full.")

        monkeypatch.setattr(LocalBlobs, "put", full)
        assert disk.put("b", b"1234") == ["b"]
        assert disk.nbytes == 0


@pytest.fixture
def remote() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def moves() -> tuple[list[Held], list[Held]]:
    return [], []


@pytest.fixture
def opened(
    remote: MemoryBlobs, tmp_path: Path, moves: tuple[list[Held], list[Held]]
) -> Iterator[Callable[..., Residency]]:
    """Makes a residency over `remote` that keeps its copies in one folder."""
    made: list[Residency] = []

    def moved(_: str, came: list[Held], left: list[Held]) -> None:
        moves[0].extend(came)
        moves[1].extend(left)

    def make(host_bytes: int = 2**20, disk_bytes: int = 2**20) -> Residency:
        disk = DiskTier(tmp_path / "copies", disk_bytes)
        made.append(Residency(remote, Budget(host_bytes=host_bytes), disk, moved))
        return made[-1]

    yield make
    for residency in made:
        residency.close()


class TestResidency:
    def test_memory_then_disk_then_the_remote(
        self,
        opened: Callable[..., Residency],
        remote: MemoryBlobs,
        moves: tuple[list[Held], list[Held]],
    ) -> None:
        one, two = make_cartridge("a", seed=1), make_cartridge("b", seed=2)
        for cartridge in (one, two):
            remote.put(blob_name(cartridge.id), to_bytes(cartridge))
        residency = opened(host_bytes=one.nbytes)
        assert same_bits(residency.load(one.id), one)
        assert residency.load(one.id) is residency.load(one.id)
        assert same_bits(residency.load(two.id), two)  # puts the first out of memory
        assert same_bits(residency.load(one.id), one)  # from the disk
        assert remote.whole_reads == 2
        came, left = moves
        assert came == [
            ("disk", one.id),
            ("host", one.id),
            ("disk", two.id),
            ("host", two.id),
            ("host", one.id),
        ]
        assert left == [("host", one.id), ("host", two.id)]
        assert same_bits(opened().load(one.id), one)  # another process, the same folder
        assert remote.whole_reads == 2
        residency.drop(one.id)
        assert residency.held() == [("disk", two.id)]

    def test_a_damaged_copy_is_read_again_from_the_remote(
        self, opened: Callable[..., Residency], remote: MemoryBlobs, tmp_path: Path
    ) -> None:
        cartridge = make_cartridge()
        remote.put(blob_name(cartridge.id), to_bytes(cartridge))
        residency = opened(host_bytes=0)
        residency.load(cartridge.id)
        path = tmp_path / "copies" / blob_name(cartridge.id)
        damaged = bytearray(path.read_bytes())
        damaged[-1] ^= 1
        path.write_bytes(damaged)
        assert same_bits(residency.load(cartridge.id), cartridge)
        assert path.read_bytes() == to_bytes(cartridge)
        assert remote.whole_reads == 2

    def test_a_damaged_blob_leaves_no_copy(
        self, opened: Callable[..., Residency], remote: MemoryBlobs, tmp_path: Path
    ) -> None:
        one, two = make_cartridge("a", seed=1), make_cartridge("b", seed=2)
        remote.put(blob_name(one.id), to_bytes(two))
        with pytest.raises(CartridgeRefused, match="rename or remove"):
            opened().load(one.id)
        assert list((tmp_path / "copies").iterdir()) == []

    def test_what_was_removed_is_in_no_tier(
        self, opened: Callable[..., Residency], remote: MemoryBlobs
    ) -> None:
        cartridge = make_cartridge()
        remote.put(blob_name(cartridge.id), to_bytes(cartridge))
        residency = opened(host_bytes=0)
        residency.load(cartridge.id)
        remote.delete(blob_name(cartridge.id))
        with pytest.raises(CartridgeNotFound):
            residency.load(cartridge.id)
        assert residency.held() == []

    def test_what_is_fetched_ahead_is_read_once(
        self, opened: Callable[..., Residency], remote: MemoryBlobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cartridges = [make_cartridge(f"d{n}", seed=n) for n in range(4)]
        for cartridge in cartridges:
            remote.put(blob_name(cartridge.id), to_bytes(cartridge))
        together = threading.Barrier(4, timeout=10)
        get = remote.get

        def met(name: str, length: int | None = None) -> bytes:
            together.wait()  # passes only when four reads are under way at once
            return get(name, length)

        monkeypatch.setattr(remote, "get", met)
        residency = opened()
        residency.prefetch([cartridge.id for cartridge in cartridges])
        for cartridge in cartridges:
            assert same_bits(residency.load(cartridge.id), cartridge)
        assert remote.whole_reads == 4

    def test_every_need_counts_once_by_where_it_was_found(
        self, opened: Callable[..., Residency], remote: MemoryBlobs
    ) -> None:
        cartridge = make_cartridge("d")
        remote.put(blob_name(cartridge.id), to_bytes(cartridge))
        residency = opened()
        residency.prefetch([cartridge.id])
        deadline = time.monotonic() + 30
        while ("host", cartridge.id) not in residency.held():
            assert time.monotonic() < deadline
        assert dict(residency.reads) == {}  # nobody has needed it
        residency.load(cartridge.id)
        assert dict(residency.reads) == {"blobs": 1}  # no hit: it was fetched for this
        residency.load(cartridge.id)
        assert dict(residency.reads) == {"blobs": 1, "host": 1}

    def test_what_cannot_be_fetched_ahead_is_said_when_it_is_asked_for(
        self, opened: Callable[..., Residency]
    ) -> None:
        residency = opened()
        residency.prefetch(["c" + "0" * 40, "no id"])
        with pytest.raises(CartridgeNotFound):
            residency.load("c" + "0" * 40)


class TestHeartbeat:
    def test_a_node_says_what_it_holds(
        self, registry: Registry, remote: MemoryBlobs, tmp_path: Path
    ) -> None:
        store = CartridgeStore(
            remote, registry, node="node-1", disk=DiskTier(tmp_path / "copies", 2**20)
        )
        one, two = make_cartridge("a", seed=1), make_cartridge("b", seed=2)
        for cartridge in (one, two):
            store.publish(cartridge)
            store.load(cartridge.id)
        store.load(one.id)
        registry.forget_all()
        store.beat()
        places = registry.locations([one.id, two.id])
        assert [p.tier for p in places[one.id]] == ["disk", "host"]
        assert registry.heat([one.id, two.id]) == {one.id: 2.0, two.id: 1.0}
        assert registry.leased() == {one.id, two.id}
        store.beat()
        assert registry.heat([one.id]) == {one.id: 2.0}  # uses are counted once
        store.close()

    def test_what_others_deleted_is_let_go(
        self, registry: Registry, remote: MemoryBlobs, tmp_path: Path
    ) -> None:
        copies = tmp_path / "copies"
        store = CartridgeStore(remote, registry, disk=DiskTier(copies, 2**20))
        cartridge = make_cartridge()
        store.publish(cartridge)
        store.load(cartridge.id)
        CartridgeStore(remote, registry, node="other").remove_document("house", "boiler.md")
        store.beat()
        assert list(copies.iterdir()) == []
        assert registry.locations([cartridge.id]) == {cartridge.id: ()}
        with pytest.raises(CartridgeNotFound):
            store.load(cartridge.id)

    def test_what_was_replaced_before_a_node_began_is_let_go(
        self, registry: Registry, remote: MemoryBlobs, tmp_path: Path
    ) -> None:
        disk = DiskTier(tmp_path / "copies", 2**20)
        before = CartridgeStore(remote, registry, disk=disk)
        old = make_cartridge(seed=1)
        before.publish(old)
        before.load(old.id)
        before.close()
        new = make_cartridge(seed=2, parent=old.id)
        worker = CartridgeStore(remote, registry, node="worker")
        worker.publish(new)
        registry._client.delete(f"{registry._prefix}leases")  # as if they had run out
        store = CartridgeStore(remote, registry, disk=disk)  # it begins with its copies
        store.beat()
        assert list((tmp_path / "copies").iterdir()) == []
        assert worker.collect(0) == [old.id]
        store.close()

    def test_what_was_brought_while_it_was_replaced_is_let_go_when_it_is_used_no_more(
        self, registry: Registry, remote: MemoryBlobs
    ) -> None:
        store = CartridgeStore(remote, registry)
        old = make_cartridge(seed=1)
        new = make_cartridge(seed=2, parent=old.id)
        for cartridge in (old, new):
            store.publish(cartridge)
        store.load(old.id)  # by who looked it up before
        store.load(new.id)
        store.beat()
        assert registry.leased() == {old.id, new.id}  # it was used since the last time
        store.beat()
        assert registry.locations([old.id, new.id])[old.id] == ()
        assert store.reads["host"] == 0
        store.load(new.id)
        assert store.reads["host"] == 1  # what is current stayed
        store.close()

    def test_a_registry_that_has_lost_its_versions_lets_go_of_none(
        self, registry: Registry, remote: MemoryBlobs
    ) -> None:
        store = CartridgeStore(remote, registry)
        cartridge = make_cartridge()
        store.publish(cartridge)
        kept = store.load(cartridge.id)
        store.beat()
        registry.forget_all()
        store.beat()
        assert store.load(cartridge.id) is kept
        store.close()

    def test_without_redis_or_blobs_it_waits_for_the_next_time(
        self, registry: Registry, remote: MemoryBlobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = CartridgeStore(remote, registry)
        cartridge = make_cartridge()
        store.publish(cartridge)
        kept = store.load(cartridge.id)

        def unreachable() -> list[str]:
            raise StoreError("Not there.")

        with monkeypatch.context() as patch:
            patch.setattr(remote, "names", unreachable)
            store.beat()
        assert store.load(cartridge.id) is kept


def test_a_node_that_is_silent_is_taken_to_be_gone(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    cartridge = make_cartridge()
    registry.beat("node-1", [("host", cartridge.id)], 60)
    assert len(registry.locations([cartridge.id])[cartridge.id]) == 1
    monkeypatch.setattr("cartridge_store.registry._STALE_SECONDS", -1.0)
    assert registry.locations([cartridge.id])[cartridge.id] == ()


def test_copies_answer_while_the_object_store_is_out_of_reach(
    new_s3: Callable[..., ObjectBlobs],
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blobs = new_s3()
    one, two = make_cartridge("a", seed=1), make_cartridge("b", seed=2)
    store = CartridgeStore(blobs, registry, disk=DiskTier(tmp_path, 2**20))
    for cartridge in (one, two):
        store.publish(cartridge)
    store.load(one.id)

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("No route to host")

    monkeypatch.setattr(blobs._fs, "info", unreachable)
    monkeypatch.setattr(blobs._fs, "cat_ranges", unreachable)
    later = CartridgeStore(blobs, registry, disk=DiskTier(tmp_path, 2**20))
    assert same_bits(later.load(one.id), one)
    with pytest.raises(StoreError, match="No route to host"):
        later.load(two.id)
