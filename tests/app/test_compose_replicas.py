"""The profile `replicas` of docker-compose.yml: its names agree, its commands find each other."""

import contextlib
import hashlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from app.settings import Settings
from cartridge_store.embedded import EmbeddedRedis

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
KEY = "a-key-of-this-test"


def test_every_replica_has_its_own_name_and_is_reached_by_it() -> None:
    replicas = [name for name, service in SERVICES.items() if "serve" in service.get("command", ())]
    assert replicas == ["api", "api-2"]
    for name in replicas:
        service = SERVICES[name]
        port = service["command"][service["command"].index("--port") + 1]
        assert service["environment"]["CARTRIDGES_NODE"] == name
        assert service["environment"]["CARTRIDGES_REPLICA_URL"] == f"http://{name}:{port}"
    shared = ("CARTRIDGES_REDIS_URL", "CARTRIDGES_DATA", "CARTRIDGES_API_KEYS")
    for variable in shared:
        values = {SERVICES[name]["environment"][variable] for name in (*replicas, "router")}
        assert len(values) == 1
    published = [port for s in SERVICES.values() for port in s.get("ports", ())]
    assert len(published) == len(set(published))
    assert {SERVICES[name]["profiles"][0] for name in ("api-2", "router")} == {"replicas"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def running(
    name: str, port: int, data: Path, redis: str, prefix: str
) -> Iterator[Callable[[], None]]:
    """A service's own command and variables, with the names of other services made addresses here.

    Gives what waits until it is healthy.
    """
    service = SERVICES[name]
    filled = {
        variable: re.sub(r"\$\{\w+:-(\w*)\}", r"\1", str(value))
        for variable, value in service["environment"].items()
    }
    here = {
        "CARTRIDGES_DATA": str(data),
        "CARTRIDGES_REDIS_URL": redis,
        "CARTRIDGES_REDIS_PREFIX": prefix,
        "CARTRIDGES_API_KEYS": hashlib.sha256(KEY.encode()).hexdigest(),
        "CARTRIDGES_REPLICA_URL": f"http://127.0.0.1:{port}",
        "HOME": str(data.parent),
    }
    command = [str(port) if part == "8000" else part for part in service["command"]]
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", *command], env=os.environ | filled | here, cwd=ROOT
    )
    health = service["healthcheck"]["test"][1:]
    check = shlex.join(health).replace("8000", str(port))
    check = check.replace("python", shlex.quote(sys.executable), 1)

    def healthy() -> None:
        deadline = time.monotonic() + 180
        while subprocess.run(["sh", "-c", check], capture_output=True, check=False).returncode:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.5)

    try:
        yield healthy
        process.terminate()
        grace = int(service["stop_grace_period"].removesuffix("s"))
        assert process.wait(timeout=grace) == 0
    finally:
        process.kill()
        process.wait()


def test_the_router_finds_the_replica_and_answers_as_it_does(
    tmp_path: Path, redis_server: EmbeddedRedis, prefixes: Iterator[str]
) -> None:
    data, prefix = tmp_path / "data", next(prefixes)
    data.mkdir()
    ports = free_port(), free_port()
    named = (data, redis_server.url, prefix)
    with (
        running("api-2", ports[0], *named) as replica,
        running("router", ports[1], *named) as router,
    ):
        replica()
        router()
        url = f"http://127.0.0.1:{ports[1]}"
        assert httpx.get(f"{url}/v1/documents").status_code == 401
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            sent = client.post("/v1/documents", json={"id": "x", "text": "The valve is green."})
            assert sent.status_code == 202
            body = {"question": "What is green?", "stream": True}
            with client.stream("POST", "/v1/answers", json=body) as answer:
                assert answer.status_code == 200
                assert answer.headers["x-replica"] == "api-2"
                lines = list(answer.iter_lines())
    assert [line for line in lines if line.startswith("event: ")][-1] == "event: done"
    done = json.loads(lines[lines.index("event: done") + 1].removeprefix("data: "))
    assert done["sources"][0]["document_id"] == "x"


@pytest.mark.parametrize("url", ["api:8000", "http://api:8000/v1", "ftp://api"])
def test_a_replicas_address_is_one_that_a_router_can_use(url: str) -> None:
    with pytest.raises(ValueError, match="replica_url"):
        Settings(replica_url=url)
