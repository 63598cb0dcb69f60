"""The OpenAPI document against the service: schemathesis, every check, stateful, with and without keys."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.keys import KeyRing
from app.settings import Settings

CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture
def address(listening: Callable[..., Any], worker: Callable[..., Any]) -> Iterator[str]:
    with listening(requests_per_minute=0) as url, worker():
        yield url


def _fill(address: str, key: str | None) -> None:
    """A document with its job, and a job that is of no document: what links begin from."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    questions = [{"question": "Who serviced the boiler?", "answers": ["Ann Lee"]}]
    with httpx.Client(base_url=address, headers=headers) as client:
        for path, body in (
            ("/v1/documents", {"title": "Boiler", "text": "Ann Lee serviced the boiler in May."}),
            ("/v1/reports", {"questions": questions, "arms": ["rag_1"]}),
        ):
            client.post(path, json=body).raise_for_status()


@pytest.mark.parametrize("keys", ["no key is needed", "no key is sent", "of one collection"])
def test_the_service_does_what_its_document_says(
    address: str, settings: Settings, keys: str
) -> None:
    options = ["--max-examples", "15"]
    key: str | None = None
    if keys != "no key is needed":
        _, key = KeyRing(settings.data).create("contract", "admin", ["default"])
        if keys == "of one collection":
            options += ["--header", f"Authorization: Bearer {key}"]
        else:
            # Whatever is asked is refused, which is not what positive data expects.
            options = ["--max-examples", "6", "--exclude-checks"]
            options += ["positive_data_acceptance,missing_required_header"]
    _fill(address, key)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
            *("run", f"{address}/openapi.json"),
            *("--exclude-path-regex", "events", "--seed", "1", "--request-timeout", "20"),
            *options,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=settings.data,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert "✅ Stateful" in run.stdout
