"""/v1/answers: modes, sources, streams, and what is refused."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from app.jobs import Jobs
from app.settings import Settings
from cartridge_store import residency
from cartridge_store.cartridge import Cartridge
from cartridge_store.errors import CartridgeRefused
from cartridge_store.registry import connect
from inference.composer import CompositionRefused
from inference.engine import Completion, Request, RequestRefused, Sampling, Stream
from tests.app.app_fakes import FakeEngine, make_parts

SHEETS = {
    "boiler": "# The garden flat\n\nThe boiler of the garden flat was serviced by Franz Huber.",
    "choir": "# The choir\n\nThe choir rehearses on Tuesdays in the old mill. Mira Tolen leads it.",
    "vague": "# The shed\n\nThe shed is VAGUE and nobody knows its colour.",
}


@pytest.fixture
def house(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> TestClient:
    """Two documents with a cartridge and one whose check failed."""
    with worker():
        for id, text in SHEETS.items():
            accepted = client.post("/v1/documents", json={"id": id, "text": text}).json()
            wait_for(client, accepted["job"]["id"])
    return client


def ask(client: TestClient, question: str, **fields: Any) -> dict[str, Any]:
    response = client.post("/v1/answers", json={"question": question} | fields)
    assert response.status_code == 200, response.text
    return dict(response.json())


def vias(answer: dict[str, Any]) -> dict[str, str]:
    return {source["document_id"]: source["via"] for source in answer["sources"]}


def events(client: TestClient, **body: Any) -> list[tuple[str, dict[str, Any]]]:
    response = client.post("/v1/answers", json=body | {"stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = response.text.replace("\r\n", "\n").strip().split("\n\n")
    pairs = (block.split("\n") for block in blocks if block.startswith("event:"))
    return [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data in pairs
    ]


def test_auto_mounts_the_best_documents_cartridge(house: TestClient, engine: FakeEngine) -> None:
    answer = ask(house, "Who serviced the boiler of the garden flat?")
    assert vias(answer) == {"boiler": "cartridge"}
    assert answer["mode"] == "auto"
    assert answer["usage"] == {
        "prompt_tokens": 0,
        "cartridge_slots": 4,
        "completion_tokens": 3,
        "kv_bytes": 512,
    }
    assert set(answer["timings_ms"]) == {"retrieve", "load", "compose", "first_token", "total"}
    assert answer["sources"][0]["passages"][0]["text"].endswith("Franz Huber.")
    assert engine.requests[-1].cartridges[0].manifest.document_id == "boiler"


def test_auto_reads_the_text_of_a_document_whose_check_failed(house: TestClient) -> None:
    assert house.get("/v1/documents/vague").json()["status"] == "failed"
    answer = ask(house, "What colour is the shed?")
    assert (vias(answer), answer["notices"]) == ({"vague": "text"}, [])


def test_cartridge_mode_composes_the_named_documents(house: TestClient, engine: FakeEngine) -> None:
    answer = ask(
        house,
        "Who leads the choir and who serviced the boiler?",
        mode="cartridge",
        documents=["boiler", "choir"],
    )
    assert (vias(answer), answer["notices"]) == ({"boiler": "cartridge", "choir": "cartridge"}, [])
    assert (len(engine.requests[-1].cartridges), len(engine.requests[-1].texts)) == (2, 0)


def test_beside_a_text_no_cartridge_is_mounted(house: TestClient, engine: FakeEngine) -> None:
    question = "Who leads the choir and who serviced the boiler?"
    answer = ask(house, question, mode="cartridge", documents=["boiler", "choir", "vague"])
    assert vias(answer) == {"boiler": "text", "choir": "text", "vague": "text"}
    missing, why = answer["notices"]
    assert missing == "Document vague has no cartridge; its text was read."
    assert why.startswith("Not all of these documents have a trained cartridge")
    assert (len(engine.requests[-1].cartridges), len(engine.requests[-1].texts)) == (0, 3)


def test_rag_gives_passages_as_one_text_per_document(house: TestClient, engine: FakeEngine) -> None:
    answer = ask(house, "Who leads the choir?", mode="rag", top_k=1)
    assert vias(answer) == {"choir": "text"}
    assert answer["usage"]["cartridge_slots"] == 0
    assert engine.requests[-1].texts == (SHEETS["choir"],)
    ask(house, "Who leads the choir?", mode="rag")
    assert len(engine.requests[-1].texts) == 3


def test_rag_heads_passages_with_the_title_and_tells_overlaps_once(
    client: TestClient, engine: FakeEngine
) -> None:
    sentences = [f"Gate number {n} was painted in colour number {n * 7}." for n in range(60)]
    client.post(
        "/v1/documents", json={"id": "gates", "title": "Gates", "text": " ".join(sentences)}
    )
    ask(client, "Which colour has gate number 30?", mode="rag", top_k=20)
    text = engine.requests[-1].texts[0]
    assert text.startswith("# Gates\n\n")
    assert all(text.count(sentence) == 1 for sentence in sentences)


def test_icl_gives_the_whole_text(house: TestClient, engine: FakeEngine) -> None:
    answer = ask(house, "Who leads the choir?", mode="icl", documents=["choir", "boiler"])
    assert set(engine.requests[-1].texts) == {SHEETS["choir"], SHEETS["boiler"]}
    assert set(vias(answer).values()) == {"text"}


def test_none_asks_the_reader_alone(house: TestClient, engine: FakeEngine) -> None:
    answer = ask(house, "Who leads the choir?", mode="none")
    assert (answer["sources"], answer["abstained"]) == ([], False)
    assert engine.requests[-1].texts == engine.requests[-1].cartridges == ()


def test_naming_documents_restricts_the_search(house: TestClient) -> None:
    answer = ask(house, "Who serviced the boiler?", documents=["choir"])
    assert vias(answer) == {"choir": "cartridge"}
    missing = house.post("/v1/answers", json={"question": "x", "documents": ["nowhere"]})
    assert missing.status_code == 404


def test_not_stated_is_an_abstention(house: TestClient) -> None:
    assert ask(house, "How is the weather in the garden?")["abstained"]
    assert house.put("/v1/collections/empty").status_code == 201
    empty = ask(house, "Who leads the choir?", collection="empty")
    assert (empty["abstained"], empty["answer"]) == (True, "That is not stated.")
    assert empty["usage"]["completion_tokens"] == 0


def test_a_collection_that_is_not_there_is_no_abstention(house: TestClient) -> None:
    for mode in ("auto", "rag", "none"):
        body = {"question": "Who leads the choir?", "collection": "defualt", "mode": mode}
        missing = house.post("/v1/answers", json=body)
        assert missing.status_code == 404
        assert missing.json()["detail"] == "There is no collection defualt."
    chat = {"model": "cartridge-qa", "messages": [{"role": "user", "content": "Who?"}]}
    missing = house.post("/v1/chat/completions", json=chat | {"collection": "defualt"})
    assert missing.status_code == 404
    assert missing.json()["error"]["message"] == "There is no collection defualt."


def test_an_answer_that_was_cut_says_so(house: TestClient, engine: FakeEngine) -> None:
    assert ask(house, "Who leads the choir?")["finish_reason"] == "stop"
    engine.cut = True
    assert ask(house, "Who leads the choir?")["finish_reason"] == "length"
    assert events(house, question="Who leads the choir?")[-1][1]["finish_reason"] == "length"


def test_sampling_reaches_the_engine(house: TestClient, engine: FakeEngine) -> None:
    ask(house, "Who leads the choir?", max_tokens=7, temperature=0.5)
    assert engine.requests[-1].sampling == Sampling(7, 0.5, seed=0)


def test_a_stream_ends_with_the_whole_answer(house: TestClient) -> None:
    seen = events(house, question="Who leads the choir?")
    names = [name for name, _ in seen]
    assert (names[0], names[-1], set(names[1:-1])) == ("sources", "done", {"token"})
    said = "".join(data["text"] for name, data in seen if name == "token")
    assert said == seen[-1][1]["answer"] == "1 cartridges and 0 texts"
    assert seen[0][1]["sources"] == seen[-1][1]["sources"]


def test_a_stream_over_nothing_abstains(client: TestClient) -> None:
    seen = events(client, question="Who leads the choir?")
    assert [name for name, _ in seen] == ["sources", "token", "done"]
    assert seen[-1][1]["abstained"]


def test_a_stream_that_breaks_off_says_so(house: TestClient, engine: FakeEngine) -> None:
    def broken(request: Any) -> Stream:
        stream = Stream()
        stream.put("It is")
        stream.put(RuntimeError("a secret of the inside"))
        return stream

    engine.submit = broken  # type: ignore[method-assign]
    name, problem = events(house, question="Who leads the choir?")[-1]
    assert (name, problem["status"], problem["code"]) == ("error", 500, "internal")
    # Its status was said before it broke.
    assert 'cartridges_answers_broken_total{code="internal"} 1.0' in house.get("/metrics").text
    assert "secret" not in json.dumps(problem)


def test_an_answer_is_given_up_when_nobody_reads_it(house: TestClient, engine: FakeEngine) -> None:
    ask(house, "Who leads the choir?")
    events(house, question="Who leads the choir?")
    assert all(stream.cancelled.is_set() for stream in engine.streams)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["answers", "chat/completions"])
def test_who_goes_while_nothing_is_said_yet_is_not_answered(
    engine: FakeEngine, listening: Callable[..., Any], path: str, stream: bool
) -> None:
    asked, waiting = threading.Event(), Stream()

    def silent(request: Any) -> Stream:
        asked.set()
        return waiting

    engine.submit = silent  # type: ignore[method-assign]
    fields: dict[str, Any] = {"question": "Who leads the choir?", "mode": "none"}
    if path != "answers":
        messages = [{"role": "user", "content": "Who leads the choir?"}]
        fields = {"model": "cartridge-qa", "messages": messages, "mode": "none"}

    def ask() -> None:
        with contextlib.suppress(httpx.TimeoutException):
            httpx.post(f"{address}/v1/{path}", json=fields | {"stream": stream}, timeout=1.0)

    with listening() as address:
        thread = threading.Thread(target=ask)
        thread.start()
        assert asked.wait(10)
        gone = waiting.cancelled.wait(10)
        waiting.put(
            Completion("", 1, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)
        )  # as engines end what is cancelled
        thread.join()
        time.sleep(0.3)
        # What nobody has read is no answer, least of all a fast one.
        assert "cartridges_answers_total{" not in httpx.get(f"{address}/metrics").text
    assert gone


def test_of_a_named_document_no_more_is_read_than_what_fits_the_question(
    client: TestClient, engine: FakeEngine
) -> None:
    """The search's passages are all of the other one, and none has a cartridge."""
    boiler = "\n\n".join(f"The boiler {n} was serviced by Franz Huber." * 30 for n in range(40))
    choir = "\n\n".join(f"The choir sings in mill {n} on Tuesdays." * 30 for n in range(40))
    for id, text in (("boiler", boiler), ("choir", choir)):
        client.post("/v1/documents", json={"id": id, "text": text})
    for mode in ("cartridge", "rag", "auto"):
        ask(client, "Who serviced the boiler?", mode=mode, documents=["boiler", "choir"])
        for text in engine.requests[-1].texts:
            assert len(text) < len(choir) / 4
    assert len(engine.requests[-3].texts) == 2


def test_a_question_that_is_too_long_or_empty_is_refused(house: TestClient) -> None:
    long = house.post("/v1/answers", json={"question": "x" * 10_000})
    assert long.status_code == 422
    assert "8000" in long.json()["detail"]
    for question in ("", "   ", "\u0000", "\ud800"):
        for mode in ("auto", "none"):
            response = house.post(
                "/v1/answers",
                content=json.dumps({"question": question, "mode": mode}),
                headers={"content-type": "application/json"},
            )
            assert response.status_code == 422
            assert response.json()["code"] in ("question-refused", "invalid-request")
    assert house.post("/v1/answers", json={"question": "why " * 1999}).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"colour": "red"},
        {"mode": "magic"},
        {"documents": []},
        {"documents": ["d"] * 17},
        {"documents": ["../x"]},
        {"top_k": 0},
        {"max_tokens": 100_000},
        {"temperature": -1},
        {"stream": "perhaps"},
        {"collection": "A B"},
    ],
)
def test_fields_that_are_not_as_agreed_are_refused(
    client: TestClient, fields: dict[str, Any]
) -> None:
    response = client.post("/v1/answers", json={"question": "Who?"} | fields)
    assert (response.status_code, response.json()["code"]) == (422, "invalid-request")
    assert response.json()["errors"][0]["field"].startswith("body.")


def test_cartridges_that_cannot_stand_together_are_read_as_texts(
    house: TestClient, engine: FakeEngine
) -> None:
    def strict(request: Request) -> Stream:
        if len(request.cartridges) > 1:
            raise CompositionRefused("They were trained under different position rules.")
        return FakeEngine.submit(engine, request)

    engine.submit = strict  # type: ignore[method-assign]
    answer = ask(house, "Who?", mode="cartridge", documents=["boiler", "choir"])
    assert vias(answer) == {"boiler": "text", "choir": "text"}
    assert answer["answer"] == "0 cartridges and 2 texts"
    assert "different position rules" in answer["notices"][0]


def test_cartridges_that_do_not_fit_are_read_as_texts(
    house: TestClient, engine: FakeEngine
) -> None:
    def strict(request: Request) -> Stream:
        if request.cartridges or "novel" in request.question:
            raise RequestRefused("The question stands beyond the reader's positions.")
        return FakeEngine.submit(engine, request)

    engine.submit = strict  # type: ignore[method-assign]
    answer = ask(house, "Who?", mode="auto", documents=["boiler"])
    assert vias(answer) == {"boiler": "text"}
    assert "beyond the reader's positions" in answer["notices"][0]
    for mode in ("auto", "rag"):
        refused = house.post("/v1/answers", json={"question": "Which novel?", "mode": mode})
        assert refused.status_code == 422


def test_a_cartridge_of_another_reader_is_refused_and_the_text_answers(
    house: TestClient, serve: Callable[..., Any]
) -> None:
    with serve(make_parts(reader="another")) as client:
        answer = ask(client, "Who serviced the boiler?")
        assert vias(answer) == {"boiler": "text"}
        assert "trained for the reader" in answer["notices"][0]
        assert client.get("/v1/documents/boiler").json()["status"] == "text"


@pytest.mark.parametrize("damaged", [-1, 20], ids=["its tensors", "even its manifest"])
def test_a_damaged_cartridge_is_trained_anew_and_the_text_answers_meanwhile(
    house: TestClient,
    serve: Callable[..., Any],
    settings: Settings,
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
    damaged: int,
) -> None:
    id = house.get("/v1/documents/boiler").json()["cartridge"]["id"]
    blob = settings.data / "cartridges" / f"{id}.safetensors"
    data = bytearray(blob.read_bytes())
    data[damaged] ^= 1
    blob.write_bytes(data)
    with serve() as client:
        for place in range(2):
            answer = ask(client, "Who serviced the boiler?")
            assert vias(answer) == {"boiler": "text"}
            if not place:
                assert "was refused" in answer["notices"][0]
        # One job, however often it was asked about.
        jobs = client.get("/v1/jobs").json()["jobs"]
        (again,) = [job for job in jobs if job["status"] == "queued"]
        assert again["document_id"] == "boiler"
        with worker():
            wait_for(client, again["id"])
        assert client.get("/v1/documents/boiler").json()["status"] == "ready"
        assert vias(ask(client, "Who serviced the boiler?")) == {"boiler": "cartridge"}


def test_a_cartridge_that_only_its_collection_could_train_is_trained_anew(
    house: TestClient, serve: Callable[..., Any], settings: Settings
) -> None:
    view = house.get("/v1/documents/boiler").json()
    with connect(settings.redis_url or "") as client:
        jobs = Jobs(client, settings.redis_prefix)
        own = jobs.last_of("default", ["boiler"])["boiler"]
        # Its own training did not pass; its collection's, which has no job of this document, did.
        assert own.subject is not None
        again = jobs.open(own.subject, "unpublished")
        assert jobs.start(again.id)
        jobs.succeed(again.id, {"published": False, "reason": "It agreed in too few answers."})
        blob = settings.data / "cartridges" / f"{view['cartridge']['id']}.safetensors"
        data = bytearray(blob.read_bytes())
        data[-1] ^= 1
        blob.write_bytes(data)
        with serve() as client_:
            assert vias(ask(client_, "Who serviced the boiler?")) == {"boiler": "text"}
        job = jobs.last_of("default", ["boiler"])["boiler"]
        assert (job.status, job.id != again.id) == ("queued", True)


def test_a_cartridge_that_could_not_be_read_once_stays(
    house: TestClient, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    id = house.get("/v1/documents/boiler").json()["cartridge"]["id"]
    verified, reads = residency.verified, list[str]()

    def once_wrong(data: Any, cartridge_id: str) -> Cartridge:
        reads.append(cartridge_id)
        if len(reads) == 1:
            raise CartridgeRefused("The tensors do not match their checksum; the file is damaged.")
        return verified(data, cartridge_id)

    monkeypatch.setattr(residency, "verified", once_wrong)
    with serve() as client:
        ask(client, "Who serviced the boiler?")
        assert client.get("/v1/documents/boiler").json()["cartridge"]["id"] == id
        assert vias(ask(client, "Who serviced the boiler?")) == {"boiler": "cartridge"}


def test_a_cartridge_that_is_not_there_is_no_reason_not_to_answer(
    house: TestClient, serve: Callable[..., Any], settings: Settings
) -> None:
    id = house.get("/v1/documents/boiler").json()["cartridge"]["id"]
    with serve() as client:
        (settings.data / "cartridges" / f"{id}.safetensors").unlink()
        assert vias(ask(client, "Who serviced the boiler?")) == {"boiler": "text"}


def test_a_number_that_an_answer_cuts_off_is_told_of(client: TestClient) -> None:
    """The engine's stand-in says how many cartridges and texts it was given."""
    for id, text in (("fee", "The fee is 1,000 euros."), ("room", "Room 1 is to let.")):
        client.post("/v1/documents", json={"id": id, "text": text})
    said = ask(client, "What is the fee?", documents=["fee"])
    assert said["answer"] == "0 cartridges and 1 texts"
    (notice,) = said["notices"]
    assert notice.startswith("The answer says 1, the text 1,000")
    assert ask(client, "Which room?", documents=["room"])["notices"] == []
