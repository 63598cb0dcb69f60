"""The main job with nothing faked but size: a tiny random reader, trained and asked."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.parts import Parts
from app.settings import Settings
from app.wiring import open_worker
from app.worker import working
from retrieval.encoder import LexicalEncoder
from tests.models import TEXT, write_tiny_model

TINY = {
    "min_slots": 4,
    "question_offset": 128,
    "min_conversations": 16,
    "conversations_per_token": 0.01,
    "max_question": 8,
    "max_answer": 8,
    "batch": 8,
    "min_steps": 12,
    "steps_per_conversation": 0.1,
    "held_out": 4,
    # A random reader learns nothing that a check could find.
    "accept_at": 0.0,
}


@pytest.fixture(scope="module")
def tiny_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("reader") / "tiny")


@pytest.fixture
def tiny(settings: Settings, tiny_reader: Path) -> Settings:
    return settings.model_copy(
        update={"reader": str(tiny_reader), "device": "cpu", "training": TINY, "threads": 1}
    )


@pytest.fixture
def parts() -> Parts:
    return Parts(encoder=LexicalEncoder)


@pytest.fixture
def client(tiny: Settings, parts: Parts) -> Iterator[TestClient]:
    tiny.data.mkdir(parents=True)
    with TestClient(create_app(tiny, parts), base_url="http://127.0.0.1") as client:
        yield client


def test_a_document_becomes_a_cartridge_and_answers(
    client: TestClient, tiny: Settings, parts: Parts, wait_for: Any
) -> None:
    with working(open_worker(tiny, parts)):
        posted = client.post("/v1/documents", json={"id": "boiler", "text": TEXT}).json()
        ended = wait_for(client, posted["job"]["id"], 60)
    assert ended["status"] == "succeeded", ended
    assert ended["result"]["published"] is True
    cartridge = client.get("/v1/documents/boiler").json()["cartridge"]
    assert cartridge["slots"] >= 4
    body = {"question": "Who serviced the boiler?", "max_tokens": 6}
    answers = {
        mode: client.post("/v1/answers", json=body | {"mode": mode}).json()
        for mode in ("auto", "rag", "icl", "none")
    }
    assert answers["auto"]["sources"][0]["via"] == "cartridge"
    assert answers["auto"]["usage"]["cartridge_slots"] == cartridge["slots"]
    assert answers["rag"]["usage"]["cartridge_slots"] == 0
    assert answers["auto"]["usage"]["prompt_tokens"] < answers["icl"]["usage"]["prompt_tokens"]
    assert client.post("/v1/answers", json=body).json()["answer"] == answers["auto"]["answer"]
    streamed = client.post("/v1/answers", json=body | {"stream": True}).text
    assert json.dumps(answers["auto"]["answer"], ensure_ascii=False) in streamed


def test_a_prompt_beyond_the_reader_is_refused(client: TestClient) -> None:
    client.post("/v1/documents", json={"id": "long", "text": "The north gate is red. " * 3000})
    response = client.post("/v1/answers", json={"question": "Which gate?", "mode": "icl"})
    assert (response.status_code, response.json()["code"]) == (422, "prompt-too-long")


def test_ingest_starts_a_service_when_there_is_none(tiny: Settings, tmp_path: Path) -> None:
    (tmp_path / "boiler.md").write_text(TEXT)
    environment = os.environ | tiny.model_copy(update={"data": tmp_path / "own"}).environment()
    environment.pop("CARTRIDGES_REDIS_URL")
    ended = subprocess.run(
        [sys.executable, "-m", "app.cli", "ingest", str(tmp_path / "boiler.md"), "--json"],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    (document,) = json.loads(ended.stdout)["documents"]
    assert (document["status"], document["outcome"]) == ("ready", "ready")
    # Nothing is left running and nothing says that it is.
    assert not (tmp_path / "own" / "service.json").exists()
    assert not (tmp_path / "own" / "redis" / "redis.url").exists()
