import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from store_samples import MemoryBlobs, make_cartridge, same_bits

import cartridge_store
from cartridge_store.blobs import Data, LocalBlobs
from cartridge_store.cartridge import Cartridge
from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.errors import (
    BeingPublished,
    CartridgeNotFound,
    CartridgeRefused,
    DocumentDeleted,
    InvalidId,
    LostRace,
    RegistryUnavailable,
    StorageFull,
    StoreUnavailable,
)
from cartridge_store.format import to_bytes
from cartridge_store.ids import blob_name
from cartridge_store.manifest import utc_now
from cartridge_store.registry import Registry, connect
from cartridge_store.residency import Budget
from cartridge_store.store import CartridgeStore
from cartridge_store.tombstones import Tombstone, tombstone_name


def child(parent: Cartridge, seed: int) -> Cartridge:
    return make_cartridge(parent.manifest.document_id, seed=seed, parent=parent.id)


def dated(cartridge: Cartridge, created_at: str) -> Cartridge:
    return replace(cartridge, manifest=replace(cartridge.manifest, created_at=created_at))


def damage(blobs: LocalBlobs | MemoryBlobs, cartridge_id: str) -> None:
    data = bytearray(blobs.get(blob_name(cartridge_id)))
    data[-1] ^= 1
    blobs.put(blob_name(cartridge_id), bytes(data))


def test_what_was_published_is_found_and_loaded(store: CartridgeStore) -> None:
    cartridge = make_cartridge()
    assert store.publish(cartridge) == cartridge.id
    assert store.current("house", ["boiler.md", "other.md"]) == {"boiler.md": cartridge.id}
    assert same_bits(store.load(cartridge.id), cartridge)
    assert store.verify() == []
    assert not store.degraded


def test_evict_and_reload_is_bit_identical(blobs: LocalBlobs, registry: Registry) -> None:
    first, second = make_cartridge("a", seed=1), make_cartridge("b", seed=2)
    store = CartridgeStore(blobs, registry, node="node-1", budget=Budget(host_bytes=first.nbytes))
    for cartridge in (first, second):
        store.publish(cartridge)
    loaded = store.load(first.id)
    assert store.load(first.id) is loaded
    assert [place.node for place in store.describe(first.id).locations] == ["node-1"]
    store.load(second.id)
    assert store.describe(first.id).locations == ()
    again = store.load(first.id)
    assert again is not loaded
    assert same_bits(again, loaded)


def test_a_cartridge_larger_than_the_cache_is_served_and_not_kept(
    blobs: LocalBlobs, registry: Registry
) -> None:
    small, large = make_cartridge("a"), make_cartridge("b", shape=(2, 1, 30, 4))
    store = CartridgeStore(blobs, registry, budget=Budget(host_bytes=small.nbytes))
    store.publish(small)
    store.publish(large)
    kept = store.load(small.id)
    assert same_bits(store.load(large.id), large)
    assert store.load(small.id) is kept
    assert store.describe(large.id).locations == ()


def test_the_swap_keeps_the_old_version(store: CartridgeStore) -> None:
    first = make_cartridge(seed=1)
    second = child(first, seed=2)
    store.publish(first)
    store.publish(second)
    assert store.current("house", ["boiler.md"]) == {"boiler.md": second.id}
    assert same_bits(store.load(first.id), first)
    assert store.describe(second.id).manifest == second.manifest


def test_publishing_again_is_no_change(store: CartridgeStore, blobs: LocalBlobs) -> None:
    cartridge = make_cartridge()
    store.publish(cartridge)
    store.publish(make_cartridge())
    assert blobs.names() == [blob_name(cartridge.id)]


def test_the_loser_of_a_race_leaves_no_blob(store: CartridgeStore, blobs: LocalBlobs) -> None:
    first, late = make_cartridge(seed=1), make_cartridge(seed=2)
    store.publish(first)
    with pytest.raises(LostRace):
        store.publish(late)
    assert blobs.names() == [blob_name(first.id)]
    second = child(first, seed=3)
    store.publish(second)
    with pytest.raises(LostRace):
        store.publish(first)
    assert len(blobs.names()) == 2


def test_of_many_publishers_one_wins(
    blobs: LocalBlobs, redis_server: EmbeddedRedis, prefixes: Iterator[str]
) -> None:
    prefix = next(prefixes)
    clients = [connect(redis_server.url) for _ in range(6)]
    rivals = [make_cartridge(seed=seed) for seed in range(6)]
    barrier = threading.Barrier(6)

    def race(index: int) -> str | None:
        store = CartridgeStore(blobs, Registry(clients[index], prefix))
        barrier.wait()
        try:
            return store.publish(rivals[index])
        except (LostRace, BeingPublished):
            return None

    with ThreadPoolExecutor(6) as pool:
        won = [winner for winner in pool.map(race, range(6)) if winner]
    assert len(won) == 1
    assert blobs.names() == [blob_name(won[0])]
    for client in clients:
        client.close()


def test_removing_a_document_removes_every_version(
    store: CartridgeStore, blobs: LocalBlobs, registry: Registry
) -> None:
    first, other = make_cartridge(seed=1), make_cartridge("other.md")
    second = child(first, seed=2)
    for cartridge in (first, second, other):
        store.publish(cartridge)
    store.load(first.id)
    # A version that the registry does not know is removed by what its blob says.
    unknown = make_cartridge(seed=9)
    blobs.put(blob_name(unknown.id), to_bytes(unknown))
    # One whose blob cannot be read is removed by what the registry says.
    damage(blobs, second.id)
    removed = store.remove_document("house", "boiler.md")
    assert removed == sorted([first.id, second.id, unknown.id])
    stone = tombstone_name("house", "boiler.md")
    assert blobs.names() == [blob_name(other.id), stone]
    assert store.verify() == []
    assert store.current("house", ["boiler.md", "other.md"]) == {"other.md": other.id}
    with pytest.raises(CartridgeNotFound):
        store.load(first.id)
    assert store.remove_document("house", "boiler.md") == []
    assert store.rebuild() == 1
    assert store.current("house", ["boiler.md"]) == {}


def test_what_was_made_before_a_deletion_stays_deleted(
    store: CartridgeStore, blobs: LocalBlobs
) -> None:
    late = make_cartridge(seed=1)
    store.publish(make_cartridge(seed=2))
    store.remove_document("house", "boiler.md")
    with pytest.raises(DocumentDeleted, match="was deleted after"):
        store.publish(late)
    assert store.current("house", ["boiler.md"]) == {}
    again = make_cartridge(seed=3)  # the document came back
    store.publish(again)
    assert store.rebuild() == 1
    assert store.current("house", ["boiler.md"]) == {"boiler.md": again.id}


def test_a_version_that_is_withdrawn_gives_way_to_what_it_replaced(
    store: CartridgeStore, blobs: LocalBlobs, registry: Registry
) -> None:
    only = make_cartridge(seed=1)
    store.publish(only)
    assert store.withdraw(only.manifest)
    assert store.current("house", ["boiler.md"]) == {}
    assert blobs.names() == []
    assert store.rebuild() == 0
    first = make_cartridge(seed=2)
    store.publish(first)
    draft = child(first, 3)
    store.publish(draft)
    assert store.withdraw(draft.manifest)
    assert store.current("house", ["boiler.md"]) == {"boiler.md": first.id}
    assert registry.versions("house", "boiler.md") == {first.id}
    assert store.load(first.id).id == first.id
    assert store.collect(0.0) == []
    # One that has been replaced is deleted, and what replaced it stays.
    later = child(first, 4)
    store.publish(later)
    assert not store.withdraw(first.manifest)
    assert store.current("house", ["boiler.md"]) == {"boiler.md": later.id}
    assert blobs.names() == [blob_name(later.id)]
    # What a draft had replaced may be gone.
    last = child(later, 5)
    store.publish(last)
    blobs.delete(blob_name(later.id))
    assert store.withdraw(last.manifest)
    assert store.current("house", ["boiler.md"]) == {}


def test_a_store_that_is_away_when_a_version_is_withdrawn_loses_nothing(
    store: CartridgeStore, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_cartridge(seed=1)
    store.publish(first)
    draft = child(first, 2)
    store.publish(draft)

    def away(name: str, *_: object) -> Data:
        raise StoreUnavailable("Could not read it.")

    with monkeypatch.context() as broken:
        broken.setattr(store._blobs, "get", away)
        with pytest.raises(StoreUnavailable):
            store.withdraw(draft.manifest)
    assert store.current("house", ["boiler.md"]) == {"boiler.md": draft.id}
    assert blobs.exists(blob_name(draft.id))
    assert store.withdraw(draft.manifest)
    assert store.current("house", ["boiler.md"]) == {"boiler.md": first.id}


def test_a_current_version_without_a_blob_gives_way_to_the_newest(
    store: CartridgeStore, blobs: LocalBlobs
) -> None:
    first = make_cartridge(seed=1)
    store.publish(first)
    draft = child(first, 2)
    store.publish(draft)
    blobs.delete(blob_name(draft.id))  # whoever withdrew it died there
    assert store.collect(3600.0) == []
    assert store.current("house", ["boiler.md"]) == {"boiler.md": draft.id}
    assert store.collect(-1.0) == []
    assert store.current("house", ["boiler.md"]) == {"boiler.md": first.id}
    assert store.load(first.id).id == first.id


def test_a_deletion_stops_a_first_version_that_is_on_its_way(registry: Registry) -> None:
    cartridge = make_cartridge()

    class Deleting(MemoryBlobs):
        """Somebody deletes the document while its first cartridge is being written."""

        def put(self, name: str, data: Data) -> None:
            super().put(name, data)
            if name.startswith("c"):
                CartridgeStore(blobs, registry).remove_document("house", "boiler.md")

    blobs = Deleting()
    with pytest.raises(DocumentDeleted):
        CartridgeStore(blobs, registry).publish(cartridge)
    assert registry.current("house", ["boiler.md"]) == {}
    assert [name for name in blobs.names() if name.startswith("c")] == []


def test_a_late_version_of_a_deleted_document_takes_no_later_one_along(registry: Registry) -> None:
    late, later = make_cartridge(), make_cartridge(seed=1)
    writing, go_on = threading.Event(), threading.Event()

    class Slow(MemoryBlobs):
        """The late one is written until the later one, of the text that was sent again, is."""

        def put(self, name: str, data: Data) -> None:
            super().put(name, data)
            if name == blob_name(late.id):
                writing.set()
                go_on.wait(10)
            elif name == blob_name(later.id):
                go_on.set()
                publishing.join(10)

    def publish() -> None:
        with pytest.raises(DocumentDeleted):
            CartridgeStore(blobs, registry).publish(late)

    blobs = Slow()
    publishing = threading.Thread(target=publish)
    publishing.start()
    assert writing.wait(10)
    store = CartridgeStore(blobs, registry)
    store.remove_document("house", "boiler.md")
    sent_again = replace(later, manifest=replace(later.manifest, created_at=utc_now()))
    assert store.publish(sent_again) == later.id
    assert registry.current("house", ["boiler.md"]) == {"boiler.md": later.id}
    assert blobs.exists(blob_name(later.id))
    assert not blobs.exists(blob_name(late.id))


@pytest.mark.parametrize("rebuilt", [True, False])
def test_a_deletion_that_was_interrupted_is_completed(
    store: CartridgeStore,
    blobs: LocalBlobs,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    rebuilt: bool,
) -> None:
    first = make_cartridge()
    store.publish(first)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(registry, "retire", killed)
        with pytest.raises(KeyboardInterrupt):
            store.remove_document("house", "boiler.md")
    assert blob_name(first.id) in blobs.names()
    if rebuilt:
        assert store.rebuild() == 0  # the tombstone stands first
    else:
        assert store.current("house", ["boiler.md"]) == {"boiler.md": first.id}
        store.collect(grace_seconds=1e6)
        blobs.put(blob_name(first.id), to_bytes(first))
    assert store.current("house", ["boiler.md"]) == {}
    assert store.collect(grace_seconds=1e6) == [first.id]
    assert blobs.names() == [tombstone_name("house", "boiler.md")]
    assert store.verify() == []


def test_replaced_versions_are_collected_when_nobody_needs_them(
    store: CartridgeStore, blobs: LocalBlobs, registry: Registry
) -> None:
    first = make_cartridge(seed=1)
    second = child(first, seed=2)
    third = child(second, seed=3)
    for cartridge in (first, second, third, make_cartridge("other.md")):
        store.publish(cartridge)
    assert store.collect(grace_seconds=60) == []
    registry.lease("node-2", [second.id], 60)
    registry.lease("node-3", [second.id, first.id], -1)  # one that has run out
    assert store.collect(grace_seconds=0) == [first.id]
    registry.lease("node-2", [second.id], -1)  # a shorter one takes nothing back
    assert store.collect(grace_seconds=0) == []
    store.load(third.id)
    assert registry.leased() == {second.id, third.id}
    assert store.current("house", ["boiler.md"]) == {"boiler.md": third.id}
    assert store.rebuild() == 2
    assert store.current("house", ["boiler.md"]) == {"boiler.md": third.id}
    assert store.collect(grace_seconds=0) == [second.id]  # leases may be lost


def test_a_cartridge_that_is_made_again_after_a_deletion_stays(
    store: CartridgeStore, blobs: LocalBlobs
) -> None:
    """It is the same, bit for bit, and so is its name; only the time is another."""
    first = dated(make_cartridge(), "2026-01-01T00:00:00.000000Z")
    store.publish(first)
    assert store.collect(grace_seconds=0) == []  # and has looked at all that is there
    store.remove_document("house", "boiler.md")
    again = dated(first, "2099-01-01T00:00:00.000000Z")
    assert again.id == first.id
    store.publish(again)
    assert store.collect(grace_seconds=0) == []
    assert store.current("house", ["boiler.md"]) == {"boiler.md": again.id}
    assert blob_name(again.id) in blobs.names()


def test_an_empty_redis_lets_nothing_be_collected(
    store: CartridgeStore, blobs: LocalBlobs, registry: Registry
) -> None:
    first = make_cartridge(seed=1)
    second = child(first, seed=2)
    store.publish(first)
    store.publish(second)
    registry.forget_all()
    assert store.collect(grace_seconds=60) == []
    # A registry of yesterday, which knows the first version only.
    registry.promote(first.manifest, expected=None)
    assert store.collect(grace_seconds=60) == []
    assert len(blobs.names()) == 2
    assert store.collect(grace_seconds=0) == []  # what was stored to be current becomes so
    assert store.current("house", ["boiler.md"]) == {"boiler.md": second.id}
    registry.forget_all()
    store.collect(grace_seconds=0)
    assert store.current("house", ["boiler.md"]) == {"boiler.md": second.id}


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"collection": 3}', b"\xff"])
def test_a_damaged_tombstone_is_reported_and_publishes_nothing(
    store: CartridgeStore, blobs: LocalBlobs, content: bytes
) -> None:
    stone = tombstone_name("house", "boiler.md")
    blobs.put(stone, content)
    assert [problem.name for problem in store.verify()] == [stone]
    with pytest.raises(CartridgeRefused, match="no tombstone"):
        store.publish(make_cartridge())
    # The others are none the worse; what may have been deleted is not served.
    other = make_cartridge("other.md")
    store.publish(other)
    blobs.put(blob_name(make_cartridge().id), to_bytes(make_cartridge()))
    assert store.collect(grace_seconds=0) == []
    assert store.rebuild() == 1
    assert store.current("house", ["boiler.md", "other.md"]) == {"other.md": other.id}
    # As its message says: the document is deleted again, and a later one lives.
    blobs.delete(blob_name(make_cartridge().id))
    store.remove_document("house", "boiler.md")
    store.publish(again := make_cartridge(seed=8))
    assert store.current("house", ["boiler.md"]) == {"boiler.md": again.id}


def test_a_tombstone_of_another_document_is_damaged(
    store: CartridgeStore, blobs: LocalBlobs
) -> None:
    store.publish(make_cartridge("a"))
    store.remove_document("house", "a")
    stone = blobs.get(tombstone_name("house", "a"))
    blobs.put(tombstone_name("house", "b"), stone)
    assert [problem.name for problem in store.verify()] == [tombstone_name("house", "b")]


def test_a_document_removed_while_it_loads_does_not_stay(registry: Registry) -> None:
    cartridge = make_cartridge()

    class Slow(MemoryBlobs):
        def get(self, name: str, length: int | None = None) -> bytes:
            data = super().get(name, length)
            if length is None:
                store.remove_document("house", "boiler.md")
            return data

    store = CartridgeStore(Slow(), registry)
    store.publish(cartridge)
    for _ in range(2):
        with pytest.raises(CartridgeNotFound):
            store.load(cartridge.id)


def test_a_damaged_blob_is_refused_and_reported(store: CartridgeStore, blobs: LocalBlobs) -> None:
    good, bad = make_cartridge("good"), make_cartridge("bad")
    store.publish(good)
    store.publish(bad)
    damage(blobs, bad.id)
    with pytest.raises(CartridgeRefused, match="checksum"):
        store.load(bad.id)
    blobs.put("notes.txt", b"not a cartridge")
    stranger = blob_name("c" + "0" * 40)
    blobs.put(stranger, to_bytes(good))
    problems = {problem.name: problem.reason for problem in store.verify()}
    assert set(problems) == {blob_name(bad.id), "notes.txt", stranger}
    assert "checksum" in problems[blob_name(bad.id)]
    assert f"document {bad.manifest.document_id} of" in problems[blob_name(bad.id)]
    assert good.id in problems[stranger]
    with pytest.raises(CartridgeRefused, match="holds cartridge"):
        store.load("c" + "0" * 40)
    with pytest.raises(CartridgeRefused, match="holds cartridge"):
        store.describe("c" + "0" * 40)
    # Publishing again mends it.
    store.publish(bad)
    assert same_bits(store.load(bad.id), bad)


def test_a_link_among_the_blobs_is_reported(
    store: CartridgeStore, blobs: LocalBlobs, tmp_path: Path
) -> None:
    cartridge = make_cartridge()
    outside = tmp_path / "outside"
    outside.write_bytes(to_bytes(cartridge))
    (tmp_path / "blobs" / blob_name(cartridge.id)).symlink_to(outside)
    with pytest.raises(CartridgeRefused, match="regular file"):
        store.load(cartridge.id)
    assert [problem.name for problem in store.verify()] == [blob_name(cartridge.id)]


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "c" + "0" * 39, "C" + "0" * 40])
def test_ids_that_are_none_are_refused(store: CartridgeStore, name: str) -> None:
    with pytest.raises(InvalidId):
        store.load(name)
    with pytest.raises(InvalidId):
        store.describe(name)


@pytest.mark.parametrize(("collection", "document_id"), [("../x", "a"), ("a", "../x"), ("a", "")])
def test_names_that_are_none_are_refused(
    store: CartridgeStore, collection: str, document_id: str
) -> None:
    with pytest.raises(InvalidId):
        store.current(collection, [document_id])
    with pytest.raises(InvalidId):
        store.remove_document(collection, document_id)


def test_what_is_not_there_is_not_found(store: CartridgeStore) -> None:
    with pytest.raises(CartridgeNotFound):
        store.load("c" + "0" * 40)
    with pytest.raises(CartridgeNotFound):
        store.describe("c" + "0" * 40)


def test_a_hundred_threads_cause_one_read(registry: Registry) -> None:
    gate = threading.Event()

    class Gated(MemoryBlobs):
        def get(self, name: str, length: int | None = None) -> bytes:
            gate.wait(10)
            return super().get(name, length)

    blobs = Gated()
    store = CartridgeStore(blobs, registry)
    cartridge = make_cartridge()
    store.publish(cartridge)
    barrier = threading.Barrier(101)

    def ask() -> Cartridge:
        barrier.wait()
        return store.load(cartridge.id)

    with ThreadPoolExecutor(100) as pool:
        answers = [pool.submit(ask) for _ in range(100)]
        barrier.wait()
        time.sleep(0.05)
        gate.set()
        assert {id(answer.result()) for answer in answers} == {id(store.load(cartridge.id))}
    assert blobs.whole_reads == 1


def test_a_failed_load_fails_for_all_and_is_tried_again(registry: Registry) -> None:
    blobs = MemoryBlobs()
    store = CartridgeStore(blobs, registry)
    cartridge = make_cartridge()
    for _ in range(2):
        with pytest.raises(CartridgeNotFound):
            store.load(cartridge.id)
    store.publish(cartridge)
    assert same_bits(store.load(cartridge.id), cartridge)


def test_an_emptied_redis_is_rebuilt(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server, connect(server.url) as client:
        blobs = LocalBlobs(tmp_path / "blobs")
        store = CartridgeStore(blobs, Registry(client))
        first, other = make_cartridge(seed=1), make_cartridge("other.md", collection="garden")
        second = child(first, seed=2)
        for cartridge in (first, second, other):
            store.publish(cartridge)
        client.flushall()
        assert store.current("house", ["boiler.md"]) == {}
        assert store.rebuild() == 2
        assert store.current("house", ["boiler.md"]) == {"boiler.md": second.id}
        assert store.current("garden", ["other.md"]) == {"other.md": other.id}
        assert Registry(client).versions("house", "boiler.md") == {first.id, second.id}
        # A later version still finds its place.
        third = child(second, seed=3)
        store.publish(third)
        assert store.current("house", ["boiler.md"]) == {"boiler.md": third.id}


def test_a_store_that_is_out_of_reach_is_not_taken_for_an_empty_one(
    store: CartridgeStore, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, late = make_cartridge(seed=1), make_cartridge("other.md", seed=9, collection="garden")
    store.publish(first)
    read, went_on = blobs.get, list[int]()

    def away(name: str, *_: object) -> Data:
        raise StoreUnavailable("Could not read it.")

    monkeypatch.setattr(store._blobs, "get", away)
    with pytest.raises(StoreUnavailable):
        store.rebuild()
    assert store.current("house", ["boiler.md"]) == {"boiler.md": first.id}
    assert len(store.verify()) == 1  # there it is a finding

    def meanwhile(name: str, *more: object) -> Data:
        monkeypatch.setattr(store._blobs, "get", read)
        store.publish(late)
        return read(name)

    monkeypatch.setattr(store._blobs, "get", meanwhile)
    assert store.rebuild(lambda: went_on.append(1)) == 2
    assert store.current("garden", ["other.md"]) == {"other.md": late.id}
    assert len(went_on) == 2
    # While tombstones are read, too: this document was deleted and came again.
    store.remove_document("garden", "other.md")
    store.publish(back := make_cartridge("other.md", seed=10, collection="garden"))
    find = store._tombstones.find
    newer = make_cartridge("other.md", seed=11, collection="garden", parent=back.id)

    def slowly(*document: str) -> Tombstone | None:
        monkeypatch.setattr(store._tombstones, "find", find)
        store.publish(newer)
        return find(*document)

    monkeypatch.setattr(store._tombstones, "find", slowly)
    assert store.rebuild() == 2
    assert store.current("garden", ["other.md"]) == {"other.md": newer.id}


def test_what_is_gone_keeps_no_heat(store: CartridgeStore, registry: Registry) -> None:
    gone, stays = make_cartridge(seed=1), make_cartridge("other.md", seed=2)
    for cartridge in (gone, stays):
        store.publish(cartridge)
        store.load(cartridge.id)
    store.remove_document("house", "boiler.md")
    store.beat()
    assert registry.heat([gone.id, stays.id]) == {gone.id: 0.0, stays.id: 1.0}


def test_rebuild_respects_parents_before_clocks(store: CartridgeStore, blobs: LocalBlobs) -> None:
    first = make_cartridge(seed=1)
    second = child(first, seed=2)
    fork = child(first, seed=3)
    dates = {
        first: "2026-03-03T00:00:00.000000Z",
        second: "2026-02-02T00:00:00.000000Z",
        fork: "2026-01-01T00:00:00.000000Z",
    }
    for cartridge, created_at in dates.items():
        blobs.put(blob_name(cartridge.id), to_bytes(dated(cartridge, created_at)))
    assert store.rebuild() == 1
    assert store.current("house", ["boiler.md"]) == {"boiler.md": second.id}


def test_rebuild_leaves_damaged_versions_out(store: CartridgeStore, blobs: LocalBlobs) -> None:
    first = make_cartridge(seed=1)
    second = child(first, seed=2)
    store.publish(first)
    store.publish(second)
    damage(blobs, second.id)
    assert store.rebuild() == 1
    assert store.current("house", ["boiler.md"]) == {"boiler.md": first.id}


def test_without_redis_it_still_answers(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    with EmbeddedRedis(tmp_path / "redis") as server, connect(server.url) as client:
        store = CartridgeStore(blobs, Registry(client))
        seen, removed, unseen = (make_cartridge(name) for name in ("seen", "removed", "unseen"))
        store.publish(seen)
        CartridgeStore(blobs, Registry(client)).publish(unseen)
        assert store.current("house", ["seen", "removed"]) == {"seen": seen.id}
        blobs.put(blob_name(removed.id), to_bytes(removed))

        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        asked = ["seen", "removed", "unseen", "unknown"]
        # What was seen comes from memory (here: that there was no version), the rest from blobs.
        assert store.current("house", asked) == {"seen": seen.id, "unseen": unseen.id}
        assert store.degraded
        assert same_bits(store.load(unseen.id), unseen)
        assert store.describe(seen.id).locations == ()
        fresh = CartridgeStore(blobs, Registry(client))
        assert set(fresh.current("house", asked)) == {"seen", "removed", "unseen"}
        assert fresh.degraded

        # What must not be half done is refused.
        with pytest.raises(RegistryUnavailable):
            store.remove_document("house", "seen")
        with pytest.raises(RegistryUnavailable):
            store.rebuild()
        later = make_cartridge("later")
        with pytest.raises(RegistryUnavailable):
            store.publish(later)
        assert len(blobs.names()) == 3  # nothing that Redis did not allow

        server.start()
        assert store.current("house", ["seen"]) == {"seen": seen.id}
        assert not store.degraded
        store.publish(later)
        assert store.current("house", ["later"]) == {"later": later.id}


def test_a_full_disk_publishes_nothing(
    store: CartridgeStore, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_cartridge(seed=1)
    store.publish(first)

    def full(name: str, data: bytes) -> None:
        raise StorageFull("full")

    with monkeypatch.context() as patch:
        patch.setattr(blobs, "put", full)
        with pytest.raises(StorageFull):
            store.publish(child(first, seed=2))
    assert store.current("house", ["boiler.md"]) == {"boiler.md": first.id}


def test_a_killed_publisher_leaves_nothing_or_all(
    tmp_path: Path, redis_server: EmbeddedRedis, prefixes: Iterator[str]
) -> None:
    root, prefix, rng = tmp_path / "blobs", next(prefixes), random.Random(7)
    environment = os.environ | {"PYTHONPATH": str(Path(cartridge_store.__file__).parents[1])}
    script = Path(__file__).with_name("publish_forever.py")
    announced: list[str] = []
    with connect(redis_server.url) as client:
        for number in range(4):
            publisher = subprocess.Popen(
                [sys.executable, str(script), str(root), redis_server.url, prefix, f"r{number}"],
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            assert publisher.stdout is not None
            assert publisher.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.02, 0.3))
            publisher.kill()
            announced += [
                f"r{number}-{line.strip()}" for line in publisher.stdout if line[-1] == "\n"
            ]
            publisher.wait()
            publisher.stdout.close()

            blobs = LocalBlobs(root, grace_seconds=0)
            store = CartridgeStore(blobs, Registry(client, prefix), budget=Budget(host_bytes=0))
            assert store.verify() == []
            assert not list(root.glob(".*"))
            # What was said to be published is, and what is current can be loaded.
            current = store.current("house", announced)
            assert set(current) == set(announced)
            for cartridge_id in current.values():
                store.load(cartridge_id)
    assert announced


def test_collecting_asks_for_the_tombstones_that_there_are(registry: Registry) -> None:
    asked: list[str] = []

    class Noting(MemoryBlobs):
        def get(self, name: str, length: int | None = None) -> bytes:
            asked.append(name)
            return super().get(name, length)

    store = CartridgeStore(Noting(), registry, node="node-1")
    for number in range(5):
        store.publish(make_cartridge(f"doc-{number}", seed=number))
    store.remove_document("house", "doc-4")
    store.collect(grace_seconds=60)
    asked.clear()
    assert store.collect(grace_seconds=60) == []
    assert asked == []  # headers are remembered, and who lives has no tombstone
    store.publish(make_cartridge("doc-4", seed=9))
    asked.clear()
    store.collect(grace_seconds=60)
    assert tombstone_name("house", "doc-4") in asked


def test_a_document_deleted_while_its_successor_is_finished_stays_deleted(
    registry: Registry,
) -> None:
    blobs = MemoryBlobs()
    store = CartridgeStore(blobs, registry, node="node-1")
    first = make_cartridge(seed=1)
    second = child(first, seed=2)
    store.publish(first)
    store.publish(second)

    listed = blobs.names()

    class Late(MemoryBlobs):
        """Lists what was there before the document was deleted."""

        def names(self) -> list[str]:
            return listed

        def get(self, name: str, length: int | None = None) -> bytes:
            return blobs.get(name, length)

    late = CartridgeStore(Late(), registry, node="node-2")
    late.documents()  # the headers are remembered
    store.remove_document("house", "boiler.md")
    late.collect(grace_seconds=-1)
    assert store.current("house", ["boiler.md"]) == {}
