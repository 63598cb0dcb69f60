"""The service with its cartridges in an object store: a real S3 server, copies on the local disk."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import s3fs
from fastapi.testclient import TestClient

from app.checkup import examine
from app.foundation import open_foundation
from app.settings import Settings
from tests.app.app_fakes import make_parts

SHEETS = {
    "boiler": "# The garden flat\n\nThe boiler of the garden flat was serviced by Franz Huber.",
    "choir": "# The choir\n\nThe choir rehearses on Tuesdays in the old mill. Mira Tolen leads it.",
}


@pytest.fixture
def settings(settings: Settings, s3_options: dict[str, object]) -> Settings:
    """As everywhere, but for the cartridges: they lie in a bucket of their own."""
    bucket = f"b-{secrets.token_hex(6)}"
    s3fs.S3FileSystem(**s3_options, skip_instance_cache=True).mkdir(
        bucket, region_name="eu-central-1"
    )
    url = f"s3://{bucket}/cartridges"
    return settings.model_copy(update={"blobs_url": url, "blobs_options": s3_options})


def ask(client: TestClient, question: str) -> dict[str, Any]:
    response = client.post("/v1/answers", json={"question": question})
    assert response.status_code == 200, response.text
    return dict(response.json())


def test_cartridges_live_in_the_object_store_and_copies_outlive_it(
    serve: Callable[..., Any],
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
    settings: Settings,
) -> None:
    with serve() as client:
        with worker():
            for id, text in SHEETS.items():
                accepted = client.post("/v1/documents", json={"id": id, "text": text}).json()
                assert wait_for(client, accepted["job"]["id"])["status"] == "succeeded"
        answer = ask(client, "Who serviced the boiler of the garden flat?")
        assert [source["via"] for source in answer["sources"]] == ["cartridge"]
        places = client.get("/v1/documents/boiler").json()["cartridge"]["locations"]
        assert [place["tier"] for place in places] == ["disk", "host"]
    assert not list(settings.data.glob("cartridges/*"))
    assert len(list((settings.data / "copies" / settings.node).iterdir())) == 1
    assert all(finding.ok for finding in examine(settings, make_parts()))

    away = settings.blobs_options | {
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1},
    }
    with serve(blobs_options=away) as client:
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert ready.json()["dependencies"]["cartridges"] != "ok"
        listed = client.get("/v1/documents").json()["documents"]
        assert {document["id"] for document in listed} == set(SHEETS)
        answer = ask(client, "Who serviced the boiler of the garden flat?")
        assert [source["via"] for source in answer["sources"]] == ["cartridge"]
        answer = ask(client, "When does the choir rehearse?")
        assert [source["via"] for source in answer["sources"]] == ["text"]
        assert "out of reach" in answer["notices"][0]
        assert "127.0.0.1" not in answer["notices"][0]


def test_an_emptied_redis_is_rebuilt_from_the_bucket(
    client: TestClient,
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
    settings: Settings,
) -> None:
    with worker():
        accepted = client.post("/v1/documents", json={"id": "boiler", "text": SHEETS["boiler"]})
        wait_for(client, accepted.json()["job"]["id"])
    base = open_foundation(settings, make_parts())
    current = base.store.current("default", ["boiler"])
    base.client.delete(*base.client.keys(settings.redis_prefix + "registry:*"))
    assert base.store.current("default", ["boiler"]) == {}
    base.close()
    assert all(finding.ok for finding in examine(settings, make_parts(), rebuild=True))
    assert client.get("/v1/documents/boiler").json()["cartridge"]["id"] == current["boiler"]


def test_a_store_that_cannot_be_opened_is_one_sentence(tmp_path: Path, settings: Settings) -> None:
    (finding,) = [
        finding
        for finding in examine(settings.model_copy(update={"blobs_url": "/tmp/here"}), make_parts())
        if not finding.ok
    ]
    assert "looks like s3://bucket/folder" in finding.detail
