"""What the fleet's benchmark counts: a document that was published twice is seen, whatever is current."""

from pathlib import Path

from benchmarks.fleet import published
from benchmarks.store_roles import sample
from cartridge_store.blobs import LocalBlobs
from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.registry import Registry, connect
from cartridge_store.store import CartridgeStore


def test_a_document_published_twice_is_counted(tmp_path: Path, redis_server: EmbeddedRedis) -> None:
    with connect(redis_server.url) as client:
        registry = Registry(client, "bench-fleet:registry:")
        store = CartridgeStore(LocalBlobs(tmp_path / "cartridges"), registry)
        once, first = sample("once"), sample("twice")
        second = sample("twice", seed=1, parent=first.id)
        for cartridge in (once, once, first, second):
            store.publish(cartridge)
        store.close()
    current, versions = published(tmp_path, redis_server.url, "bench")
    assert current == {"once": once.id, "twice": second.id}
    assert versions == {"once": 1, "twice": 2}
