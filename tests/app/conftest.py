"""What the tests of the app share: one Redis server, and a service of fakes for each test."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from app.main import create_app
from app.parts import Parts
from app.settings import Settings
from app.wiring import open_worker
from app.worker import working
from cartridge_store.embedded import EmbeddedRedis
from tests.app.app_fakes import FakeEngine, make_parts, make_settings

FINISHED = ("succeeded", "failed", "cancelled")


@pytest.fixture
def settings(tmp_path: Path, redis_server: EmbeddedRedis, prefixes: Iterator[str]) -> Settings:
    return make_settings(tmp_path / "data", redis_url=redis_server.url, redis_prefix=next(prefixes))


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def serve(settings: Settings, engine: FakeEngine) -> Callable[..., Any]:
    """A client of the app, as a context: `with serve() as client`."""

    @contextlib.contextmanager
    def start(parts: Parts | None = None, **changes: Any) -> Iterator[TestClient]:
        chosen = settings.model_copy(update=changes)
        chosen.data.mkdir(parents=True, exist_ok=True)
        app = create_app(chosen, parts or make_parts(engine=engine))
        with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
            yield client

    return start


@pytest.fixture
def client(serve: Callable[..., Any]) -> Iterator[TestClient]:
    with serve() as client:
        yield client


@pytest.fixture
def listening(settings: Settings, engine: FakeEngine) -> Callable[..., Any]:
    """A real server of the app on a free port, as a context that gives its address."""

    @contextlib.contextmanager
    def start(**changes: Any) -> Iterator[str]:
        chosen = settings.model_copy(update=changes)
        chosen.data.mkdir(parents=True, exist_ok=True)
        app = create_app(chosen, make_parts(engine=engine))
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()

    return start


@pytest.fixture
def worker(settings: Settings) -> Callable[..., Any]:
    """A worker in threads of this process, as a context: `with worker()`."""

    @contextlib.contextmanager
    def start(parts: Parts | None = None) -> Iterator[None]:
        with working(open_worker(settings, parts or make_parts())):
            yield

    return start


@pytest.fixture
def wait_for() -> Callable[[TestClient, str], dict[str, Any]]:
    """A job when it has ended."""

    def wait(client: TestClient, job_id: str, seconds: float = 90.0) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").json()
            if job.get("status") in FINISHED:
                return job
            assert time.monotonic() < deadline, job
            time.sleep(0.05)

    return wait
