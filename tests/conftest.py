"""One real Redis server for all tests; every test takes a prefix of its own."""

from collections.abc import Iterator
from itertools import count

import pytest

from cartridge_store.embedded import EmbeddedRedis


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def prefixes() -> Iterator[str]:
    return (f"test{number}:" for number in count())
