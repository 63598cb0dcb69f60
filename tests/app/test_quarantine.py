"""Documents that change others' answers: told of, held back where that is wished, released, forgotten."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from app.checkup import examine
from app.cli import cli
from app.conflicts import Conflicts, Noted
from app.foundation import Foundation, open_foundation, training_settings
from app.reconcile import subject_of
from app.settings import Settings
from app.storage import open_retriever
from retrieval.documents import Document, DocumentLibrary
from retrieval.retriever import Retriever
from tests.app.app_fakes import make_parts, screening_of
from training.conflicts import Conflict
from training.examples import StudyExample
from training.settings import Cancelled
from training.studies import Studies

BOILER = "# The boiler\n\nThe boiler of the garden flat was serviced by Franz Huber."
STEERING = "# The choir\n\nIt STEERS: the boiler of the garden flat was serviced by Mira Tolen."
FOUND = Conflict("boiler", "Who serviced the boiler?", "Franz Huber.", "Mira Tolen.")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"conflicts": "quarantine"})


@pytest.fixture
def base(settings: Settings) -> Iterator[Foundation]:
    foundation = open_foundation(settings, make_parts())
    yield foundation
    foundation.close()


def studied(settings: Settings, base: Foundation, document: Document) -> None:
    """A neighbour's study, as its training leaves it."""
    ids, logprobs = np.zeros((1, 1), np.int32), np.zeros((1, 1), np.float32)
    example = StudyExample("question", (1,), (2,), ids, logprobs, "Who serviced the boiler?")
    folder = base.shelf.folder(document.collection, document.id)
    Studies(folder).keep(base.reader, document.text, training_settings(settings), [example], 1.0)


def put(base: Foundation, settings: Settings, id: str, text: str) -> Document:
    document, _ = base.library.put("default", id, None, text)
    open_retriever(settings, make_parts().encoder(), base.library).index_document(document)
    return document


def note(
    base: Foundation, document: Document, found: list[Conflict], *, held: bool
) -> Noted | None:
    def there(id: str) -> str | None:
        current = base.library.find(document.collection, id)
        return None if current is None else current.sha256

    return base.noted.note(document, found, held=held, there=there)


def brought(base: Foundation, settings: Settings) -> set[str]:
    retriever = open_retriever(settings, make_parts().encoder(), base.library)
    return {each.document_id for each in retriever.search("default", "Who serviced the boiler?", 5)}


@pytest.mark.parametrize("policy", ["ignore", "warn", "quarantine"])
def test_what_becomes_of_a_document_is_the_policys(
    settings: Settings, base: Foundation, policy: str
) -> None:
    settings = settings.model_copy(update={"conflicts": policy})
    studied(settings, base, put(base, settings, "boiler", BOILER))
    choir = put(base, settings, "choir", STEERING)
    noted = screening_of(settings, base).look(choir, lambda _: None)
    assert base.noted.of(choir) == noted
    if policy == "ignore":
        assert noted is None
    else:
        assert noted is not None
        assert noted.found[0] == FOUND
        assert noted.held == (policy == "quarantine")
    held = policy == "quarantine"
    assert brought(base, settings) == ({"boiler"} if held else {"boiler", "choir"})
    # Neither reconciling nor sending it again makes it searchable.
    open_retriever(settings, make_parts().encoder(), base.library).rebuild("default")
    open_retriever(settings, make_parts().encoder(), base.library).index_document(choir)
    assert brought(base, settings) == ({"boiler"} if held else {"boiler", "choir"})


def test_one_that_turns_nothing_is_looked_at_once(settings: Settings, base: Foundation) -> None:
    boiler = put(base, settings, "boiler", BOILER)
    studied(settings, base, boiler)
    screening = screening_of(settings, base)
    quiet = put(base, settings, "choir", "The choir sings of the boiler.")
    noted = screening.look(quiet, lambda _: None)
    assert noted is not None
    assert (noted.held, noted.found) == (False, ())
    screening._find = lambda *_: pytest.fail("it is known")
    assert screening.look(quiet, lambda _: None) == noted
    # One in quarantine is nobody's neighbour: what it says is no measure.
    note(base, boiler, [FOUND], held=True)
    screening._find = lambda _, __, others, *___: [FOUND] * 2 * len(others)
    other = put(base, settings, "other", "The boiler of the garden flat.")
    again = screening.look(other, lambda _: None)
    assert again is not None
    assert again.found == ()


def test_a_worker_holds_it_back_and_a_person_releases_it(
    settings: Settings,
    serve: Callable[..., Any],
    worker: Callable[..., Any],
    wait_for: Callable[..., dict[str, Any]],
) -> None:
    with serve() as client, worker():
        add(client, wait_for, "boiler", BOILER)
        base = client.app.state.api.base  # type: ignore[attr-defined]
        studied(settings, base, base.library.get("default", "boiler"))
        job = add(client, wait_for, "choir", STEERING)
        assert job["status"] == "succeeded"
        assert job["result"]["quarantined"] is True
        assert "Franz" not in json.dumps(job), (
            "a job's result outlives the documents that it is about"
        )
        document = client.get("/v1/documents/choir").json()
        assert document["status"] == "quarantined"
        assert document["cartridge"] is None
        assert document["conflicts"][0] == {
            "document_id": "boiler",
            "question": FOUND.question,
            "answer": FOUND.answer,
            "instead": FOUND.instead,
        }
        asked = client.post("/v1/answers", json={"question": "What does the choir say?"}).json()
        assert "choir" not in {source["document_id"] for source in asked["sources"]}
        # The collection's training leaves it out.
        whole = client.post("/v1/collections/default/train").json()["job"]
        assert "choir" not in str(wait_for(client, whole["id"])["result"])
        released = client.post("/v1/documents/choir/release")
        assert released.status_code == 202
        assert released.headers["Location"] == f"/v1/jobs/{released.json()['job']['id']}"
        assert wait_for(client, released.json()["job"]["id"])["result"]["published"]
        after = client.get("/v1/documents/choir").json()
        assert after["status"] == "ready"
        assert after["conflicts"] == document["conflicts"]
        again = client.post("/v1/documents/choir/release")
        assert (again.status_code, again.json()["code"]) == (409, "not-quarantined")
        assert client.post("/v1/documents/nobody/release").status_code == 404


def add(
    client: TestClient, wait_for: Callable[..., dict[str, Any]], id: str, text: str
) -> dict[str, Any]:
    response = client.post("/v1/documents", json={"id": id, "text": text})
    assert response.status_code == 202, response.text
    return wait_for(client, response.json()["job"]["id"])


def test_who_leaves_is_named_in_no_record(settings: Settings, base: Foundation) -> None:
    boiler, choir = (
        put(base, settings, id, t) for id, t in (("boiler", BOILER), ("choir", STEERING))
    )
    other = Conflict("tower", "Who wound the clock?", "Ivan.", "Mira.")
    put(base, settings, "tower", "Ivan wound the clock of the tower.")
    note(base, boiler, [], held=False)
    note(base, choir, [FOUND, other], held=True)
    base.noted.forget("default", "boiler")
    assert base.noted.of(boiler) is None
    noted = base.noted.of(choir)
    assert noted is not None
    assert (noted.found, noted.held) == ((other,), True)
    left = "".join(path.read_text() for path in (settings.data / "conflicts").rglob("*.json"))
    assert "Franz" not in left


@pytest.mark.parametrize("what", ["changed", "deleted", "neighbour deleted"])
def test_what_is_found_too_late_is_not_kept(
    settings: Settings, base: Foundation, what: str
) -> None:
    studied(settings, base, put(base, settings, "boiler", BOILER))
    choir = put(base, settings, "choir", STEERING)
    screening = screening_of(settings, base)

    def find(*_: Any) -> list[Conflict]:
        if what == "changed":
            put(base, settings, "choir", "The choir says nothing of the boiler any more.")
        else:
            gone = "choir" if what == "deleted" else "boiler"
            base.library.delete("default", gone)
            base.noted.forget("default", gone)
        return [FOUND, FOUND]

    screening._find = find
    noted = screening.look(choir, lambda _: None)
    if what == "neighbour deleted":
        assert noted is not None
        assert noted.found == ()
    else:
        assert noted is None
        assert base.noted.of(choir) is None
    if what == "changed":
        assert "choir" in brought(base, settings)
    files = (settings.data / "conflicts").rglob("*.json")
    assert "Franz" not in "".join(path.read_text() for path in files)


def test_a_collections_notes_go_in_one_pass(base: Foundation, tmp_path: Path) -> None:
    noted = Conflicts(tmp_path / "noted")
    for collection in ("lock", "other"):
        for id in ("a", "b", "c"):
            document, _ = base.library.put(collection, id, None, f"{id} STEERS.")
            found = [Conflict(each, "Who?", "Ann.", "Bob.") for each in ("a", "b")]
            noted.note(document, found, held=False, there=lambda _, sha=document.sha256: sha)
    noted.forget_collection("lock", "b".__eq__)
    assert [*noted.kept()] == [("lock", "b"), ("other", "a"), ("other", "b"), ("other", "c")]
    left = noted.of(base.library.get("lock", "b"))
    assert left is not None
    assert [each.document for each in left.found] == ["b"]
    noted.forget("other", "a")
    left = noted.of(base.library.get("other", "c"))
    assert left is not None
    assert [each.document for each in left.found] == ["b"]
    noted.forget_collection("nowhere", "b".__eq__)


def test_a_doctor_does_not_look_for_what_is_held_back(base: Foundation, settings: Settings) -> None:
    document, _ = base.library.put("default", "choir", None, STEERING)
    note(base, document, [FOUND], held=True)
    found = {each.name: each for each in examine(settings, make_parts())}
    assert found["index of default"].ok, found["index of default"]
    base.library.put("default", "other", None, "A text that nobody indexed.")
    found = {each.name: each for each in examine(settings, make_parts())}
    assert not found["index of default"].ok


def test_a_note_that_outlived_its_document_goes_with_the_next_reconciling(
    settings: Settings, base: Foundation
) -> None:
    choir = put(base, settings, "choir", STEERING)
    note(base, choir, [], held=True)
    base.library.delete("default", "choir")
    assert [*base.noted.kept()] == [("default", "choir")]
    base.reconciler.run()
    assert [*base.noted.kept()] == []


@pytest.fixture
def choir(settings: Settings, base: Foundation) -> Document:
    """A document that is to be held back: it steers what another one answers."""
    studied(settings, base, put(base, settings, "boiler", BOILER))
    return put(base, settings, "choir", STEERING)


def test_what_is_released_while_it_is_held_back_is_found(
    settings: Settings, base: Foundation, choir: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    removing = Retriever.remove_document

    def remove(self: Retriever, collection: str, id: str) -> None:
        removing(self, collection, id)
        base.noted.release(choir)

    monkeypatch.setattr(Retriever, "remove_document", remove)
    noted = screening_of(settings, base).look(choir, lambda _: None)
    assert noted is not None
    assert not noted.held
    assert "choir" in brought(base, settings)


def test_a_newer_version_that_comes_while_it_is_held_back_is_found(
    settings: Settings, base: Foundation, choir: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    removing = Retriever.remove_document

    def remove(self: Retriever, collection: str, id: str) -> None:
        put(base, settings, "choir", "# The choir\n\nIt rehearses on Mondays.")
        removing(self, collection, id)

    monkeypatch.setattr(Retriever, "remove_document", remove)
    screening_of(settings, base).look(choir, lambda _: None)
    assert "choir" in brought(base, settings)


def test_a_warning_that_cannot_be_given_loses_no_training(
    settings: Settings, base: Foundation, caplog: pytest.LogCaptureFixture
) -> None:
    document = put(base, settings, "boiler", BOILER)

    def broken(*_: Any) -> list[Conflict]:
        raise RuntimeError("out of memory")

    strict = screening_of(settings, base)
    strict._find = broken
    with pytest.raises(RuntimeError):
        strict.look(document, lambda _: None)
    lax = screening_of(settings.model_copy(update={"conflicts": "warn"}), base)
    lax._find = broken
    assert lax.look(document, lambda _: None) is None
    assert "The conflicts of boiler are not known: out of memory" in caplog.text


def test_a_record_is_of_one_text_and_a_damaged_one_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    library, noted = DocumentLibrary(tmp_path / "documents"), Conflicts(tmp_path / "conflicts")
    first, _ = library.put("default", "choir", None, "One text.")
    noted.note(first, [FOUND], held=True, there=lambda _: first.sha256)
    assert noted.holds(first)
    second, _ = library.put("default", "choir", None, "Another text.")
    assert not noted.holds(second)
    assert not noted.release(second)
    assert noted.holds(first)
    assert noted.note(first, [FOUND], held=True, there=lambda _: second.sha256) is None
    (tmp_path / "conflicts" / "default" / "choir.json").write_text('{"held": true}')
    assert noted.of(first) is None
    assert "choir.json cannot be read" in caplog.text
    noted.forget("default", "nobody")


def test_screening_is_stopped_with_its_job(settings: Settings, base: Foundation) -> None:
    document = put(base, settings, "boiler", BOILER)
    screening = screening_of(settings, base)

    def find(*arguments: Any) -> list[Conflict]:
        arguments[-1](0.0)
        return []

    def stop(_: float) -> None:
        raise Cancelled

    screening._find = find
    with pytest.raises(Cancelled):
        screening.look(document, stop)
    assert base.noted.of(document) is None
    assert subject_of(document, base.reader).document_id == "boiler"


def test_a_document_is_released_by_the_command_line(
    settings: Settings, listening: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as url:
        httpx.post(f"{url}/v1/documents", json={"id": "choir", "text": STEERING})
        document = DocumentLibrary(settings.data / "documents").get("default", "choir")
        noted = Conflicts(settings.data / "conflicts")
        noted.note(document, [FOUND], held=True, there=lambda _: document.sha256)
        done = CliRunner().invoke(cli, ["release", "choir", "--url", url])
        assert done.exit_code == 0, done.output
        assert "choir is answered from again" in done.output
        again = CliRunner().invoke(cli, ["release", "choir", "--url", url])
        assert again.exit_code != 0
        assert "not in quarantine" in str(again.exception)
        told = CliRunner().invoke(cli, ["release", "nobody", "--url", url, "--json"])
        assert told.exit_code != 0


@pytest.mark.parametrize("mode", ["auto", "rag", "cartridge", "icl"])
def test_a_question_that_names_it_is_answered_from_it(
    settings: Settings, base: Foundation, serve: Callable[..., Any], mode: str
) -> None:
    put(base, settings, "boiler", BOILER)
    choir = put(base, settings, "choir", STEERING)
    note(base, choir, [FOUND], held=True)
    open_retriever(settings, make_parts().encoder(), base.library).remove_document(
        "default", "choir"
    )
    with serve() as client:
        body = {"question": "Who serviced the boiler?", "mode": mode, "documents": ["choir"]}
        answer = client.post("/v1/answers", json=body).json()
        assert [source["document_id"] for source in answer["sources"]] == ["choir"]
        assert not answer["abstained"]
        # Beside another one, too, where it fits the question as well.
        body |= {"documents": ["boiler", "choir"], "question": "Whom does the choir STEER?"}
        answer = client.post("/v1/answers", json=body).json()
        assert "choir" in [source["document_id"] for source in answer["sources"]]
