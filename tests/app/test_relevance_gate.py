"""The relevance gate: what it is calibrated by, what it refuses, and what it leaves alone."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from app.cli import cli
from app.conformal import threshold
from app.relevance import RelevanceGate, learn_relevance
from app.settings import Settings
from app.study_shelf import StudyShelf
from retrieval.documents import DocumentLibrary
from retrieval.encoder import LexicalEncoder
from retrieval.errors import EncoderUnavailable
from retrieval.retriever import Retriever
from tests.app.app_fakes import FakeEngine, FakeReader
from training.examples import StudyExample
from training.settings import TrainingSettings
from training.studies import Studies

TEXTS = {
    "boiler": "# The garden flat\n\nThe boiler of the garden flat was serviced by Franz Huber.",
    "choir": "# The choir\n\nThe choir rehearses on Tuesdays in the old mill. Mira Tolen leads it.",
}
ANSWERED = [
    f"Who {verb} the {thing}?"
    for verb in ("serviced", "leads", "saw")
    for thing in ("boiler of the garden flat", "choir in the old mill", "garden flat", "old mill")
] * 2
FOREIGN = "Which comet passed Jupiter in March?"
NOTICE = "No document fits the question well enough, so none was asked."


@pytest.fixture
def house(client: TestClient) -> TestClient:
    for id, text in TEXTS.items():
        assert client.post("/v1/documents", json={"id": id, "text": text}).status_code == 202
    return client


def ask(client: TestClient, question: str, **fields: Any) -> dict[str, Any]:
    response = client.post("/v1/answers", json={"question": question} | fields)
    assert response.status_code == 200, response.text
    return dict(response.json())


def calibrated(client: TestClient, questions: list[str]) -> dict[str, Any]:
    response = client.put("/v1/collections/default/relevance", json={"questions": questions})
    assert response.status_code == 200, response.text
    return dict(response.json())


@given(st.lists(st.floats(0, 2), min_size=1, max_size=80, unique=True), st.floats(0.01, 0.5))
def test_no_more_are_refused_than_may_be(values: list[float], share: float) -> None:
    """Each in turn is the one that is asked, all others what is known."""
    refused = 0
    for place, asked in enumerate(values):
        least = threshold(values[:place] + values[place + 1 :], share)
        refused += least is not None and asked < least
    assert refused <= share * len(values) + 1e-6


def test_what_is_about_something_else_is_refused_unread(
    house: TestClient, engine: FakeEngine
) -> None:
    assert ask(house, FOREIGN)["abstained"] is False  # nothing is known yet
    known = calibrated(house, ANSWERED)
    assert known["source"] == "questions"
    assert known["questions"] == len(ANSWERED)
    asked = len(engine.requests)
    answer = ask(house, FOREIGN)
    assert (answer["abstained"], answer["sources"], answer["notices"]) == (True, [], [NOTICE])
    assert answer["answer"] == "That is not stated."
    assert len(engine.requests) == asked
    assert ask(house, "Who serviced the boiler of the garden flat?")["notices"] == []


@pytest.mark.parametrize(
    "fields", [{"mode": "rag"}, {"mode": "cartridge"}, {"documents": ["choir"]}]
)
def test_who_chose_the_way_is_answered(house: TestClient, fields: dict[str, Any]) -> None:
    calibrated(house, ANSWERED)
    assert NOTICE not in ask(house, FOREIGN, **fields)["notices"]


def test_given_questions_go_when_none_are_given(house: TestClient, settings: Settings) -> None:
    calibrated(house, ANSWERED)
    assert calibrated(house, []) == {"source": "studies", "questions": 0, "least": None}
    assert house.get("/v1/collections/default/relevance").json()["least"] is None
    assert ask(house, FOREIGN)["abstained"] is False


def test_they_go_with_their_collection(house: TestClient, settings: Settings) -> None:
    calibrated(house, ANSWERED)
    given = settings.data / "relevance" / "default.json"
    assert given.exists()
    assert house.delete("/v1/collections/default").status_code == 204
    assert not given.exists()
    assert house.get("/v1/collections/default/relevance").status_code == 404
    refused = house.put("/v1/collections/default/relevance", json={"questions": ["Who?"]})
    assert refused.status_code == 404


def example(question: str, kind: Any = "question") -> StudyExample:
    return StudyExample(
        kind, (1,), (2,), np.zeros((1, 2), np.int32), np.zeros((1, 2), np.float32), question
    )


def test_studies_tell_without_being_asked(tmp_path: Path) -> None:
    """Held-out questions of what is kept; not those that the text leaves open."""
    library = DocumentLibrary(tmp_path / "library")
    retriever = Retriever(library, LexicalEncoder(), tmp_path / "indexes")
    shelf, settings, reader = StudyShelf(tmp_path / "studies"), TrainingSettings(), FakeReader()
    documents = [library.put("default", id, None, text)[0] for id, text in TEXTS.items()]
    retriever.index_documents(documents)
    kept: Any = reader
    for document in documents:
        studies = Studies(shelf.folder("default", document.id))
        examples = [example(question) for question in ANSWERED[:20]]
        examples[3] = example(FOREIGN, "unanswered")
        studies.keep(kept, document.text, settings, examples * 5, 1.0)
    gate = RelevanceGate(shelf, tmp_path / "relevance", 0.05)
    assert gate.known("default").least is None
    learn_relevance(shelf, library, lambda: retriever, kept, settings, documents)
    known = gate.known("default")
    assert (known.source, known.questions) == ("studies", 2 * 22)
    assert known.least is not None
    assert known.least > retriever.search("default", FOREIGN, 1)[0].score
    shelf.forget("default", "boiler")
    assert gate.known("default").questions == 22
    # Deleted while it was being learned: nothing of it stays, and nobody fails.
    library.delete("default", "choir")
    learn_relevance(shelf, library, lambda: retriever, kept, settings, documents)
    assert gate.known("default").questions == 0
    assert not shelf.folder("default", "choir").exists()


def test_a_training_is_not_lost_by_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    library = DocumentLibrary(tmp_path / "library")
    document, _ = library.put("default", "boiler", None, TEXTS["boiler"])
    shelf, settings, reader = StudyShelf(tmp_path / "studies"), TrainingSettings(), FakeReader()
    kept: Any = reader
    studies = Studies(shelf.folder("default", "boiler"))
    studies.keep(kept, document.text, settings, [example("Who?")] * 40, 1.0)

    def no_encoder() -> Retriever:
        raise EncoderUnavailable("The encoder is not installed.")

    learn_relevance(shelf, library, no_encoder, kept, settings, [document])
    assert "The encoder is not installed." in caplog.text
    assert shelf.folder("default", "boiler").exists()


def test_collections_are_calibrated_side_by_side(tmp_path: Path) -> None:
    gate = RelevanceGate(StudyShelf(tmp_path / "studies"), tmp_path / "relevance", 0.5)

    def give(collection: str, value: float) -> set[float | None]:
        return {gate.give(collection, [value] * 3).least for _ in range(60)}

    with ThreadPoolExecutor(2) as threads:
        ours, theirs = threads.submit(give, "a", 0.5), threads.submit(give, "b", 0.75)
        assert (ours.result(), theirs.result()) == ({0.5}, {0.75})


def test_what_is_as_sure_as_what_was_seen_is_let_in(tmp_path: Path) -> None:
    """What is kept is rounded, and not upwards."""
    gate = RelevanceGate(StudyShelf(tmp_path / "studies"), tmp_path / "relevance", 0.05)
    values = [0.71236 + n / 1e6 for n in range(40)]
    least = gate.give("default", values).least
    assert least is not None
    assert least <= min(values)


def test_what_is_known_is_read_again_after_a_while(tmp_path: Path) -> None:
    now = [0.0]
    shelf = StudyShelf(tmp_path / "studies")
    gate = RelevanceGate(shelf, tmp_path / "relevance", 0.05, clock=lambda: now[0])
    folder = shelf.folder("default", "a")
    folder.mkdir(parents=True)
    (folder / "relevance.json").write_text(json.dumps([0.5] * 20))
    assert gate.least("default") == 0.5
    (folder / "relevance.json").write_text(json.dumps([0.7] * 20))
    now[0] = 20.0
    assert gate.least("default") == 0.5
    now[0] = 60.0
    assert gate.least("default") == 0.7
    assert gate.give("default", [0.9] * 20).least == 0.9
    assert gate.least("default") == 0.9


@pytest.mark.parametrize("text", ["", "{}", "[null]", '["a"]', "[1", "[NaN]", "[1, Infinity]"])
def test_a_file_that_is_none_is_left_out(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = StudyShelf(tmp_path / "studies")
    folder = shelf.folder("default", "a")
    folder.mkdir(parents=True)
    (folder / "relevance.json").write_text(text)
    gate = RelevanceGate(shelf, tmp_path / "relevance", 0.05)
    assert gate.least("default") is None
    assert "is left out" in caplog.text


def test_the_command_says_what_holds(
    listening: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    file = tmp_path / "questions.jsonl"
    lines = [{"question": question, "answers": ["Huber"]} for question in ANSWERED]
    lines += [{"question": FOREIGN, "answers": []}]
    file.write_text("\n".join(json.dumps(line) for line in lines))

    def run(*options: str) -> SimpleNamespace:
        done = CliRunner().invoke(cli, ["calibrate", "default", "--url", url, *options])
        return SimpleNamespace(code=done.exit_code, out=done.output)

    with listening() as url:
        assert run().code == 1  # there is no such collection
        with httpx.Client(base_url=url, timeout=30) as http:
            for id, text in TEXTS.items():
                http.post("/v1/documents", json={"id": id, "text": text}).raise_for_status()
        assert "too few: nothing is refused" in run().out
        told = run("--questions", str(file)).out
        assert f"{len(ANSWERED)} questions, given ones; a relevance of " in told
        assert json.loads(run("--json").out)["source"] == "questions"
        assert "self-studies" in run("--forget").out
        assert run("--forget", "--questions", str(file)).code == 1
        assert run("--questions", str(tmp_path / "none.jsonl")).code == 1
