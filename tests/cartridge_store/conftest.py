from collections.abc import Iterator
from pathlib import Path

import pytest

from cartridge_store.blobs import LocalBlobs
from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.registry import Registry, connect
from cartridge_store.store import CartridgeStore


@pytest.fixture
def registry(redis_server: EmbeddedRedis, prefixes: Iterator[str]) -> Iterator[Registry]:
    """An empty registry: every test has its own keys on the one server."""
    client = connect(redis_server.url)
    yield Registry(client, next(prefixes))
    client.close()


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def store(blobs: LocalBlobs, registry: Registry) -> CartridgeStore:
    return CartridgeStore(blobs, registry)
