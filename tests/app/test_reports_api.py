"""/v1/reports: ordered, made by a worker, resumed, read in three forms, and kept apart by collection."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.foundation import open_foundation
from app.keys import KeyRing
from app.report_files import ReportFiles
from app.reporting import Reporting
from app.schemas import DEFAULT_ARMS
from app.settings import Settings
from app.wiring import Api, open_api
from cartridge_store.ids import blob_name
from evaluation.report.records import RecordFolder
from inference.requests import Request, ServerStumbled, Stream
from retrieval.errors import DocumentCorrupt
from tests.app.app_fakes import FakeEngine, make_parts
from training.settings import Cancelled, Progress, TrainingSettings

SHEETS = {
    "boiler": "# The garden flat\n\nThe boiler of the garden flat was serviced by Franz Huber.",
    "choir": "# The choir\n\nThe choir rehearses on Tuesdays in the old mill. Mira Tolen leads it.",
}
QUESTIONS = [
    {
        "id": f"{name}-{number}",
        "question": f"{words} ({number})?",
        "answers": ["1 cartridges and 0 texts"],
        "documents": [name],
    }
    for number in range(3)
    for name, words in (
        ("boiler", "Who serviced the boiler"),
        ("choir", "When does the choir sing"),
    )
]
NOBODY = {"id": "weather", "question": "How is the weather?", "answers": []}


@pytest.fixture
def house(
    client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> TestClient:
    with worker():
        for id, text in SHEETS.items():
            sent = client.post("/v1/documents", json={"id": id, "text": text}).json()
            wait_for(client, sent["job"]["id"])
    return client


def order(client: TestClient, **fields: Any) -> dict[str, Any]:
    body = {"questions": [*QUESTIONS, NOBODY]} | fields
    response = client.post("/v1/reports", json=body)
    assert response.status_code == 202, response.text
    return dict(response.json()["job"])


def test_questions_about_documents_that_are_not_there_are_not_asked(house: TestClient) -> None:
    """They would score nothing, and the comparison with them."""
    wrong = [each | {"id": f"w{n}", "documents": [f"x{n}"]} for n, each in enumerate(QUESTIONS)]
    answer = house.post("/v1/reports", json={"questions": [*QUESTIONS, *wrong]})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown-documents")
    assert "no document x0, x1, x2, x3, x4 and 1 more" in answer.json()["detail"]
    assert house.get("/v1/reports").json()["reports"] == []


def test_a_report_is_made_and_read_in_three_forms(
    house: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    job = order(house, title="Flat <script>alert(1)</script>")
    assert (job["kind"], job["status"], job["document_id"]) == ("report", "queued", None)
    early = house.get(f"/v1/reports/{job['id']}")
    assert (early.status_code, early.json()["code"]) == (409, "not-finished")
    with worker():
        ended = wait_for(house, job["id"])
    assert ended["status"] == "succeeded", ended
    assert ended["result"]["lead"]
    found = house.get(f"/v1/reports/{job['id']}").json()
    arms = {arm["name"]: arm for arm in found["arms"]}
    assert set(arms) == {*DEFAULT_ARMS}
    assert arms["oracle_cartridge"]["score"]["mean"] == 1.0
    page = house.get(f"/v1/reports/{job['id']}", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'; style-src" in page.headers["content-security-policy"]
    assert "<script>alert" not in page.text
    text = house.get(f"/v1/reports/{job['id']}", headers={"Accept": "text/markdown"})
    assert text.text.startswith("# ")
    (listed,) = house.get("/v1/reports").json()["reports"]
    assert (listed["id"], listed["questions"], listed["finished"]) == (job["id"], 7, True)


def test_a_stopped_report_goes_on_where_it_was(
    house: TestClient, settings: Settings, engine: FakeEngine
) -> None:
    job = order(house, arms=["rag_3", "cartridges_1"], concurrency=0)
    files = ReportFiles(settings.data / "reports")
    api = open_api(settings, make_parts(engine=engine))
    base = api.base
    reporting = Reporting(
        answering=lambda: api.answering,
        library=base.library,
        store=base.store,
        reader=base.reader,
        files=files,
        settings=TrainingSettings(),
        shelf=base.shelf,
    )
    engine.requests.clear()
    with pytest.raises(Cancelled):
        reporting.run(job["id"], cancelled=lambda: len(engine.requests) >= 5)
    folder = files.find(job["id"])
    assert folder is not None
    (run,) = folder.runs.iterdir()
    assert len(RecordFolder(run / "records").read()) == 5
    told: list[Progress] = []
    result = reporting.run(job["id"], told.append)
    assert result["questions"] == 7
    assert len(engine.requests) == 14  # nothing was asked twice
    assert [each.done for each in told] == sorted(each.done for each in told)
    api.close()


@pytest.fixture
def api(settings: Settings, engine: FakeEngine) -> Iterator[Api]:
    opened = open_api(settings, make_parts(engine=engine))
    yield opened
    opened.close()


@pytest.fixture
def reporting(api: Api) -> Reporting:
    base = api.base
    return Reporting(
        answering=lambda: api.answering,
        library=base.library,
        store=base.store,
        reader=base.reader,
        files=api.reports,
        settings=TrainingSettings(),
        shelf=base.shelf,
    )


def test_nothing_of_a_report_outlives_its_collection(
    house: TestClient, settings: Settings, engine: FakeEngine, reporting: Reporting
) -> None:
    job = order(house, arms=["rag_3"], concurrency=0)
    engine.requests.clear()

    def gone() -> bool:
        if len(engine.requests) == 3:
            house.delete("/v1/collections/default")
        return len(engine.requests) >= 3

    with pytest.raises(Cancelled):
        reporting.run(job["id"], cancelled=gone)
    assert not list((settings.data / "reports").iterdir())


def test_a_report_whose_collection_goes_as_it_is_written_did_not_fail(
    house: TestClient, settings: Settings, reporting: Reporting
) -> None:
    job = order(house, arms=["rag_3"], concurrency=0)

    def told(progress: Progress) -> None:
        if progress.stage == "report":
            house.delete("/v1/collections/default")

    with pytest.raises(Cancelled):
        reporting.run(job["id"], told)
    assert not list((settings.data / "reports").iterdir())


def test_a_damaged_document_ends_no_report(
    house: TestClient, settings: Settings, api: Api, reporting: Reporting
) -> None:
    job = order(house, arms=["rag_3", "icl"], concurrency=0)
    for path in (settings.data / "documents").rglob("*"):
        if path.is_file() and b"choir" in (content := path.read_bytes()):
            path.write_bytes(content.replace(b"rehearses", b"rehearsed"))
    with pytest.raises(DocumentCorrupt):
        api.base.library.get("default", "choir")
    assert reporting.run(job["id"])["questions"] == 7


def test_a_question_that_a_server_stumbled_over_is_asked_again(
    house: TestClient,
    settings: Settings,
    engine: FakeEngine,
    reporting: Reporting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = order(house, arms=["rag_3"], concurrency=0)
    engine.requests.clear()
    submit = FakeEngine.submit
    never = QUESTIONS[2]["question"]

    def stumbling(self: FakeEngine, request: Request) -> Stream:
        stream = submit(self, request)
        if len(self.requests) == 2 or never in request.question:
            stream = Stream()
            stream.put(ServerStumbled("The vLLM server could not answer: busy"))
        return stream

    monkeypatch.setattr(FakeEngine, "submit", stumbling)
    assert reporting.run(job["id"])["questions"] == 7
    assert len(engine.requests) == 7 + 2  # those two once more
    folder = ReportFiles(settings.data / "reports").find(job["id"])
    assert folder is not None
    (run,) = folder.runs.iterdir()
    answers = {each.question_id: each.answer for each in RecordFolder(run / "records").read()}
    assert [id for id, answer in answers.items() if not answer] == [QUESTIONS[2]["id"]]


def test_throughput_is_measured_once(
    house: TestClient, settings: Settings, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    job = order(house, arms=["rag_3", "cartridges_1"], concurrency=3)
    with worker():
        assert wait_for(house, job["id"])["status"] == "succeeded"
    found = house.get(f"/v1/reports/{job['id']}").json()
    assert {row["arm"] for row in found["throughput"]} == {"rag_3", "cartridges_1"}
    assert all(row["concurrency"] == 3 and row["answers_per_s"] > 0 for row in found["throughput"])
    folder = ReportFiles(settings.data / "reports").find(job["id"])
    assert folder is not None
    (run,) = folder.runs.iterdir()
    kept = json.loads((run / "throughput.json").read_text())
    assert kept == found["throughput"]


def test_every_seed_asks_every_question(
    house: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    job = order(house, arms=["rag_3"], seeds=[3, 5], temperature=0.7, concurrency=0)
    with worker():
        assert wait_for(house, job["id"])["status"] == "succeeded"
    found = house.get(f"/v1/reports/{job['id']}").json()
    assert found["summary"]["seeds"] == [3, 5]
    assert found["summary"]["records"] == 2 * 7
    assert "--seed 3 --seed 5 --temperature 0.7" in found["command"]


def test_reports_are_listed_a_page_at_a_time(house: TestClient) -> None:
    ids = [order(house)["id"] for _ in range(3)]
    first = house.get("/v1/reports", params={"limit": 2}).json()
    rest = house.get("/v1/reports", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [each["id"] for each in first["reports"] + rest["reports"]] == ids[::-1]
    assert rest["next_cursor"] is None


def test_a_broken_cartridge_is_in_the_first_paragraph(
    house: TestClient,
    settings: Settings,
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
) -> None:
    current = house.get("/v1/documents/boiler").json()["cartridge"]["id"]
    path = settings.data / "cartridges" / blob_name(current)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    job = order(house)
    with worker():
        lead = wait_for(house, job["id"])["result"]["lead"]
    assert "boiler" in lead
    assert "cartridge" in lead.lower()
    assert "choir" not in lead


def test_what_cannot_be_ordered_is_said(house: TestClient) -> None:
    for body in (
        {"questions": []},
        {"questions": [{"question": " "}]},
        {"questions": [{"question": "Who?"}], "arms": ["magic"]},
        {"questions": [{"question": "Who?", "answer": "me"}]},
        {"questions": [{"question": "Who?"}] * 2001},
        {"questions": [{"question": "Who?", "answers": ["me"], "options": ["me", "me"]}]},
        {"questions": [{"question": "Who?", "answers": ["you"], "options": ["me", "us"]}]},
        {"questions": [{"question": "Who?"}], "seeds": [1, 1], "temperature": 1},
        {"questions": [{"question": "Who?"}], "seeds": [1, 2]},
    ):
        assert house.post("/v1/reports", json=body).status_code == 422
    body = {"questions": [{"question": "Who?"}], "collection": "nowhere"}
    assert house.post("/v1/reports", json=body).status_code == 404
    for id in ("r" + "0" * 31, "..", "x"):
        assert house.get(f"/v1/reports/{id}").status_code == 404


def test_a_report_ordered_before_it_had_seeds_is_read(tmp_path: Path) -> None:
    files = ReportFiles(tmp_path)
    old = {"collection": "default", "questions": [], "seed": 4, "max_tokens": 8}
    found = files.create("r" + "2" * 31, old).request()
    assert (found["seeds"], found["temperature"], found["concurrency"]) == ([4], 0.0, 0)


def test_vllm_is_given_no_cartridge_that_it_cannot_find(
    serve: Callable[..., Any], engine: FakeEngine
) -> None:
    with serve(make_parts(engine=engine), vllm_url="http://127.0.0.1:9") as client:
        client.post("/v1/documents", json={"text": "The boiler."})
        body = {"questions": QUESTIONS, "arms": ["icl", "monolithic"]}
        refused = client.post("/v1/reports", json=body)
        assert (refused.status_code, refused.json()["code"]) == (422, "arm-unavailable")
        assert "monolithic" in refused.json()["detail"]


def test_a_report_is_its_collections_own(house: TestClient, settings: Settings) -> None:
    job = order(house)
    ring = KeyRing(settings.data)
    (_, mine), (_, other) = ring.create("a", "write"), ring.create("b", "write", ["else"])
    for key, status in ((mine, 409), (other, 404)):
        headers = {"Authorization": f"Bearer {key}"}
        assert house.get(f"/v1/reports/{job['id']}", headers=headers).status_code == status
        assert house.get("/v1/reports", headers=headers).status_code == {409: 200, 404: 403}[status]


def test_a_report_is_deleted_with_its_answers(
    house: TestClient, settings: Settings, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    with worker():
        made, kept = order(house), order(house)
        for job in (made, kept):
            wait_for(house, job["id"])
    waiting = order(house)
    _, other = (ring := KeyRing(settings.data)).create("b", "write", ["else"])
    _, mine = ring.create("a", "write")
    headers = {"Authorization": f"Bearer {mine}"}
    for job in (made, waiting):
        path = f"/v1/reports/{job['id']}"
        foreign = house.delete(path, headers={"Authorization": f"Bearer {other}"})
        assert foreign.status_code == 404
        assert house.delete(path, headers=headers).status_code == 204
        assert house.delete(path, headers=headers).status_code == 404
    assert house.get(f"/v1/jobs/{waiting['id']}", headers=headers).json()["status"] == "cancelled"
    listed = house.get("/v1/reports", headers=headers).json()["reports"]
    assert [each["id"] for each in listed] == [kept["id"]]
    assert [path.name for path in (settings.data / "reports").glob("*/*")] == [kept["id"]]
    jobs = house.get("/v1/jobs", headers=headers).json()["jobs"]
    assert {job["id"] for job in jobs}.isdisjoint({made["id"], waiting["id"]})


def test_reports_go_with_their_collection(
    house: TestClient, settings: Settings, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    with worker():
        made = order(house)
        wait_for(house, made["id"])
    waiting = order(house)
    assert house.delete("/v1/collections/default").status_code == 204
    for job in (made, waiting):
        assert house.get(f"/v1/reports/{job['id']}").status_code == 404
    assert house.get(f"/v1/jobs/{waiting['id']}").json()["status"] == "cancelled"
    house.post("/v1/documents", json={"id": "new", "text": "Another tenant's text."})
    assert house.get("/v1/reports").json() == {"reports": [], "next_cursor": None}
    assert not list((settings.data / "reports").glob("*/*"))


def test_a_question_that_cannot_be_asked_scores_nothing_and_ends_nothing(
    house: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    gone = {"id": "gone", "question": "Who?", "answers": ["me"], "documents": ["shed"]}
    house.post("/v1/documents", json={"id": "shed", "text": "The shed is low."})
    some = order(house, questions=[*QUESTIONS, gone], arms=["oracle_cartridge", "rag_3"])
    # Nor does an arm that can ask nothing at all.
    none = order(house, questions=[gone], arms=["icl", "oracle_cartridge", "cartridges_1"])
    assert house.delete("/v1/documents/shed").status_code == 204
    with worker():
        for job in (some, none):
            assert wait_for(house, job["id"])["status"] == "succeeded"
    twice = {"questions": [gone, gone]}
    assert house.post("/v1/reports", json=twice).status_code == 422


def test_a_report_that_redis_forgot_is_made_all_the_same(
    house: TestClient, settings: Settings, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    job = order(house)
    base = open_foundation(settings, make_parts())
    base.client.delete(*base.client.keys(f"{settings.redis_prefix}*"))
    assert house.get(f"/v1/jobs/{job['id']}").status_code == 404
    base.reconciler.run()
    base.close()
    with worker():
        assert wait_for(house, job["id"])["status"] == "succeeded"


def test_a_cancelled_report_is_done_again(
    house: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    job = order(house)
    assert house.delete(f"/v1/jobs/{job['id']}").json()["status"] == "cancelled"
    (listed,) = house.get("/v1/jobs?status=cancelled").json()["jobs"]
    assert listed["id"] == job["id"]
    again = house.post(f"/v1/jobs/{job['id']}/retry").json()["job"]
    assert (again["id"], again["status"]) == (job["id"], "queued")
    with worker():
        assert wait_for(house, job["id"])["status"] == "succeeded"


def test_a_report_that_went_with_its_collection_is_not_done_again(house: TestClient) -> None:
    job = order(house)
    assert house.delete("/v1/collections/default").status_code == 204
    refused = house.post(f"/v1/jobs/{job['id']}/retry")
    assert (refused.status_code, refused.json()["code"]) == (404, "not-found")


def test_reports_that_were_cancelled_stand_in_nobodys_way(house: TestClient) -> None:
    for _ in range(20):
        assert house.delete(f"/v1/jobs/{order(house)['id']}").json()["status"] == "cancelled"
    for _ in range(20):
        order(house)
    refused = house.post("/v1/reports", json={"questions": QUESTIONS})
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-reports")


def test_files_of_reports_survive_strangers(tmp_path: Path) -> None:
    files = ReportFiles(tmp_path / "reports")
    assert list(files.of_collection("default")) == []
    request = {"collection": "default", "created_at": "2026-01-01"}
    folder = files.create("r" + "1" * 31, request)
    (tmp_path / "reports" / "default" / "notes").mkdir()
    (tmp_path / "reports" / "lost+found").mkdir()
    (tmp_path / "reports" / ".DS_Store").touch()
    assert [each.id for each in files.unfinished()] == [folder.id]
    assert [each.id for each in files.of_collection("default")] == [folder.id]
    assert json.loads((folder.path / "request.json").read_text()) == request


def test_an_idempotency_key_orders_one_report(client: TestClient) -> None:
    for id, text in SHEETS.items():
        client.post("/v1/documents", json={"id": id, "text": text})

    def post(key: str | None) -> dict[str, Any]:
        headers = {} if key is None else {"Idempotency-Key": key}
        response = client.post("/v1/reports", json={"questions": QUESTIONS}, headers=headers)
        assert response.status_code == 202, response.text
        assert response.headers["location"] == f"/v1/jobs/{response.json()['job']['id']}"
        return dict(response.json()["job"])

    first = post("one")
    assert post("one") == first
    assert len({first["id"], post("two" * 85)["id"], post(None)["id"], post(None)["id"]}) == 4
    for key in ("", "k" * 256):
        refused = client.post(
            "/v1/reports", json={"questions": QUESTIONS}, headers={"Idempotency-Key": key}
        )
        assert (refused.status_code, refused.json()["code"]) == (422, "bad-idempotency-key")
    assert len(client.get("/v1/reports").json()["reports"]) == 4
