"""One real Redis server for all tests, where each takes a prefix of its own, and one Ray cluster."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from moto.server import ThreadedMotoServer
from xdist.scheduler import LoadFileScheduling

from cartridge_store.embedded import EmbeddedRedis
from inference.reader import Reader, load_reader
from reader.paths import bundled_reader
from tests.vllm_serving import VllmServer, vllm_server
from training.fleet.ray_executor import Placement, RayExecutor

_WITH_VLLM = (
    "tests/inference/test_engine_contract.py",
    "tests/inference/vllm/test_demonstration.py",
    "tests/inference/vllm/test_serving_cartridges.py",
)


_COVERED = ("cartridge_store", "inference", "retrieval", "training")


# How long an example takes is the machine's, and whatever runs beside it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


class _OneServer(LoadFileScheduling):  # type: ignore[misc]  # it comes without types
    """A file's tests in one process, and those that ask the vLLM server in the same: it starts once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "vllm" if file in _WITH_VLLM else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _OneServer | None:
    return _OneServer(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is measured is how a folder's own tests cover it; tracing all takes half as long again."""
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).parts[0] not in _COVERED:
            item.add_marker("no_cover")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def prefixes() -> Iterator[str]:
    return (f"test{number}:" for number in count())


@pytest.fixture(scope="session")
def s3_options() -> Iterator[dict[str, object]]:
    """A real HTTP server that speaks S3, and how to reach it."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "key": "test",
        "secret": "test",
        "endpoint_url": f"http://{host}:{port}",
        "client_kwargs": {"region_name": "eu-central-1"},
    }
    server.stop()


@pytest.fixture(scope="session")
def ray_fleet() -> Iterator[RayExecutor]:
    """Two workers on a Ray cluster of this machine, for whoever asks for it."""
    with RayExecutor("local", Placement(workers=2, cpus=0.5, max_task_retries=1)) as executor:
        yield executor


@pytest.fixture(scope="session")
def exact_reader() -> Reader:
    """The bundled reader in float32."""
    return load_reader(bundled_reader(), device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def vllm(exact_reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """A vLLM server of the bundled reader; skips where there is no vLLM."""
    with vllm_server(exact_reader, tmp_path_factory.mktemp("vllm")) as server:
        yield server
