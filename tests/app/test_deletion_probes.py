"""After a deletion: a probe for every layer that may still say what the document said."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from app.settings import Settings
from app.storage import open_retriever
from app.work_folders import WorkFolders
from retrieval.documents import DocumentLibrary
from tests.app.app_fakes import FakeEngine, make_parts

SECRET = "xanthippe"
TEXT = f"The boiler of the garden flat was serviced by {SECRET} on a Monday."
OTHER = "The ferry was painted green in May by Mira Tolen."


def files_that_say(folder: Path, word: str) -> list[Path]:
    return [
        path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()
    ]


def keys_that_say(settings: Settings, word: str) -> list[str]:
    """Every key of this service whose name or content has the word."""
    assert settings.redis_url is not None
    client = redis.Redis.from_url(settings.redis_url, decode_responses=True)
    reading: dict[str, Callable[[str], Any]] = {
        "string": client.get,
        "hash": client.hgetall,
        "set": client.smembers,
        "zset": lambda key: client.zrange(key, 0, -1),
        "list": lambda key: client.lrange(key, 0, -1),
    }
    found = []
    for key in client.scan_iter(f"{settings.redis_prefix}*"):
        held = reading[str(client.type(key))](key)
        if word in key or word in str(held):
            found.append(key)
    client.close()
    return found


def test_nothing_that_is_kept_says_what_a_deleted_document_said(
    serve: Callable[..., Any],
    settings: Settings,
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
) -> None:
    data = settings.data
    with serve() as client, worker():
        jobs = [
            client.post("/v1/documents", json={"id": id, "text": text}).json()["job"]["id"]
            for id, text in (("boiler", f"An older text, of {SECRET} too."), ("ferry", OTHER))
        ]
        for job in jobs:
            wait_for(client, job)
        job = client.post("/v1/documents", json={"id": "boiler", "text": TEXT}).json()["job"]["id"]
        wait_for(client, job)
        study = data / "studies" / "default" / "boiler"
        made = data / "reports" / "default" / "r1" / "runs" / "a" / "cartridges"
        left = data / "training" / job
        for folder in (study, made / "monolithic", left):
            folder.mkdir(parents=True, exist_ok=True)
        for path in (
            study / "study.parquet",
            made / "compaction-boiler.safetensors",
            made / "monolithic" / "boiler.parquet",
            made / "monolithic.safetensors",
            left / "examples.parquet",
        ):
            path.write_text(SECRET)
        (made / "compaction-ferry.safetensors").write_text("the ferry's")
        assert len(files_that_say(data, SECRET)) >= 7
        assert (
            len(keys_that_say(settings, "boiler")) >= 2
        )  # its id is in some, so that they are looked into
        assert client.delete("/v1/documents/boiler").status_code == 204
        assert files_that_say(data, SECRET) == []
        assert keys_that_say(settings, SECRET) == []
        # No cartridge of it is left, in whatever version, and the other document's is as it was.
        assert len([*(data / "cartridges").glob("*.safetensors")]) == 1
        assert (made / "compaction-ferry.safetensors").exists()
        assert client.get("/v1/documents/ferry").json()["status"] == "ready"


@pytest.mark.parametrize("mode", ["auto", "rag", "icl"])
def test_no_mode_finds_a_deleted_document(
    serve: Callable[..., Any], mode: str, engine: FakeEngine
) -> None:
    with serve() as client:
        for id, text in (("boiler", TEXT), ("ferry", OTHER)):
            client.post("/v1/documents", json={"id": id, "text": text})
        asked = {
            "question": "Who serviced the boiler of the garden flat?",
            "mode": mode,
            "top_k": 4,
        }
        assert (
            client.post("/v1/answers", json=asked).json()["sources"][0]["document_id"] == "boiler"
        )
        client.delete("/v1/documents/boiler")
        engine.requests.clear()
        answer = client.post("/v1/answers", json=asked).json()
        assert "boiler" not in {source["document_id"] for source in answer["sources"]}
        assert not any(SECRET in text for request in engine.requests for text in request.texts)
        named = client.post("/v1/answers", json=asked | {"documents": ["boiler"]})
        assert named.status_code == 404


def streamed(url: str, answer: list[tuple[str, dict[str, Any]]], begun: threading.Event) -> None:
    asked = {"question": "Say the boiler for ever.", "stream": True, "documents": ["boiler"]}
    with httpx.stream("POST", f"{url}/v1/answers", json=asked, timeout=30) as response:
        event = ""
        for line in response.iter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            if line.startswith("data: "):
                answer.append((event, json.loads(line.removeprefix("data: "))))
                if event == "token":
                    begun.set()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["by this replica", "by another"])
def test_a_running_answer_ends_when_its_document_is_deleted(
    listening: Callable[..., Any],
    serve: Callable[..., Any],
    engine: FakeEngine,
    elsewhere: bool,
) -> None:
    engine.delay = 0.01
    with listening() as url, serve(node="other") as other:
        for id, text in (("boiler", TEXT), ("ferry", OTHER)):
            assert other.post("/v1/documents", json={"id": id, "text": text}).status_code == 202
        answer: list[tuple[str, dict[str, Any]]] = []
        begun = threading.Event()
        reading = threading.Thread(target=streamed, args=(url, answer, begun))
        reading.start()
        assert begun.wait(20)
        # What is deleted beside it is none of its business.
        assert other.delete("/v1/documents/ferry").status_code == 204
        time.sleep(0.3)
        assert reading.is_alive()
        if elsewhere:
            assert other.delete("/v1/documents/boiler").status_code == 204
        else:
            assert httpx.delete(f"{url}/v1/documents/boiler").status_code == 204
        reading.join(10)
        assert not reading.is_alive()
    event, problem = answer[-1]
    assert event == "error"
    assert (problem["status"], problem["code"]) == (404, "not-found")
    assert "deleted while it answered" in problem["detail"]
    assert len(answer) < 5_000  # of ten thousand words


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[WorkFolders]:
    work = WorkFolders(tmp_path / "training")
    for id in ("under-way", "over", "at-work"):
        with work.exclusive(id) as mine:
            assert mine
            (work.folder(id) / "examples.parquet").write_text(SECRET)
    return work


def test_folders_of_jobs_that_are_over_are_cleared(folders: WorkFolders) -> None:
    with folders.exclusive("at-work") as mine:
        assert mine
        with folders.exclusive("at-work") as again:
            assert not again
        folders.clear(lambda id: id == "under-way")
        folders.remove("at-work")
        folders.remove("never-was")
    left = sorted(path.name for path in folders.folder("x").parent.iterdir())
    assert left == ["at-work", "under-way"]


def test_what_is_no_jobs_id_is_no_folder(folders: WorkFolders, tmp_path: Path) -> None:
    kept = tmp_path / "documents"
    kept.mkdir()
    for id in ("../documents", str(kept), "..", ".", "", "a/b", "a\n", "x" * 65):
        with pytest.raises(ValueError, match="no job's id"):
            folders.folder(id)
        with pytest.raises(ValueError, match="no job's id"):
            folders.remove(id)
    assert kept.is_dir()


def test_what_was_replaced_leaves_the_index_with_the_next_purge(
    settings: Settings, tmp_path: Path
) -> None:
    library = DocumentLibrary(tmp_path / "documents")
    retriever = open_retriever(settings, make_parts().encoder(), library)
    folder = settings.data / "indexes" / "default"
    for text in (TEXT, OTHER):
        document, _ = library.put("default", "boiler", None, text)
        retriever.index_document(document)
    assert files_that_say(folder, SECRET)
    assert not retriever.purge("default", most_bytes=10)
    assert files_that_say(folder, SECRET)
    assert retriever.purge("default")
    assert files_that_say(folder, SECRET) == []
    before = sorted(folder.rglob("*"))
    assert retriever.purge("default")  # and nothing more is written
    assert sorted(folder.rglob("*")) == before
    assert retriever.purge("unknown")
    assert [
        hit.document_id for hit in retriever.search("default", "Who painted the ferry?", 1)
    ] == ["boiler"]
