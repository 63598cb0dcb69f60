"""A second look: when cartridges are doubted, what is read then, and what is heard of it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.second_look import SecondLook
from inference.engine import Completion, Request, RequestRefused, Stream
from inference.requests import GenerationFailed
from retrieval.retriever import Retriever
from tests.app.app_fakes import FakeEngine, fake_distil, make_parts
from training.pipeline import SURE as SURE_FIGURE

TEXTS = {
    "boiler": "# The garden flat\n\nThe boiler of the garden flat was serviced by Franz Huber.",
    "choir": "# The choir\n\nThe choir rehearses on Tuesdays in the old mill. Mira Tolen leads it.",
}
NOTICE = "The reader was not sure behind the cartridges, so it read passages."
SURE = [0.4, 0.6, 0.8, *[0.9] * 16]


class UnsureEngine(FakeEngine):
    """Of two minds about everything that it has from cartridges, where it is asked."""

    certainty, words = 0.3, "Somebody"
    refuses_texts = breaks = False

    def submit(self, request: Request) -> Stream:
        if self.refuses_texts and request.texts:
            raise RequestRefused("The prompt is too long.")
        return super().submit(request)

    def _say(self, request: Request, stream: Stream) -> None:
        if request.sampling.sure_at is None:
            super()._say(request, stream)
            return
        if self.breaks:
            stream.put(GenerationFailed("The reader's logits are not finite."))
            return
        stream.put(self.words)
        sure = self.certainty
        stream.put(Completion(self.words, 5, 4, 2, 64, 0.5, 0.1, 1.0, 20.0, certainty=sure))


@pytest.fixture
def engine() -> UnsureEngine:
    return UnsureEngine()


@pytest.fixture
def house(
    serve: Callable[..., TestClient],
    worker: Callable[..., Any],
    wait_for: Callable[..., Any],
) -> Iterator[TestClient]:
    """Two documents whose cartridges say how sure they are when they are right."""

    def distil(*args: Any, **fields: Any) -> Any:
        found = fake_distil(*args, **fields)
        return replace(found, figures=found.figures | {SURE_FIGURE: SURE})

    with serve() as client:
        with worker(make_parts(distil=distil)):
            for id, text in TEXTS.items():
                accepted = client.post("/v1/documents", json={"id": id, "text": text}).json()
                wait_for(client, accepted["job"]["id"])
        yield client


def ask(client: TestClient, **fields: Any) -> dict[str, Any]:
    body = {"question": "Who serviced the boiler of the garden flat?"} | fields
    response = client.post("/v1/answers", json=body)
    assert response.status_code == 200, response.text
    return dict(response.json())


def test_a_doubted_answer_is_read_again(house: TestClient, engine: UnsureEngine) -> None:
    answer = ask(house)
    assert answer["answer"] == "0 cartridges and 1 texts"
    assert [source["via"] for source in answer["sources"]] == ["text"]
    assert answer["notices"] == [NOTICE]
    first, second = engine.requests[-2:]
    assert (first.sampling.sure_at, second.sampling.sure_at) == (0.6, None)  # of 38 right ones
    assert (len(first.cartridges), len(second.texts)) == (1, 1)
    assert "Franz Huber" in second.texts[0]
    # What both took.
    words = len(second.texts[0].split())
    assert answer["usage"]["prompt_tokens"] == 5 + words
    assert answer["usage"]["cartridge_slots"] == 4
    assert answer["usage"]["completion_tokens"] == 2 + 3


def test_a_sure_answer_stays(house: TestClient, engine: UnsureEngine) -> None:
    engine.certainty = 0.8
    answer = ask(house)
    assert (answer["answer"], answer["notices"]) == ("Somebody", [])
    assert [source["via"] for source in answer["sources"]] == ["cartridge"]
    assert answer["timings_ms"]["first_token"] >= 20.0  # nothing was heard before


def test_what_cartridges_do_not_state_the_text_may(house: TestClient, engine: UnsureEngine) -> None:
    engine.certainty, engine.words = 0.99, "That is not stated."
    answer = ask(house)
    assert (answer["abstained"], answer["notices"]) == (False, [NOTICE])


@pytest.mark.parametrize("fields", [{"mode": "cartridge"}, {"temperature": 0.7}, {"mode": "rag"}])
def test_nobody_doubts_where_the_way_was_chosen(
    house: TestClient, engine: UnsureEngine, fields: dict[str, Any]
) -> None:
    assert ask(house, **fields)["notices"] == []
    assert engine.requests[-1].sampling.sure_at is None


def test_a_stream_says_nothing_that_it_takes_back(house: TestClient) -> None:
    body = {"question": "Who serviced the boiler?", "stream": True}
    lines = house.post("/v1/answers", json=body).text.replace("\r\n", "\n").split("\n\n")
    events = [line.split("\n") for line in lines if line.startswith("event:")]
    said = [json.loads(data[6:])["text"] for name, data in events if name == "event: token"]
    assert "".join(said) == "0 cartridges and 1 texts"
    done = json.loads(events[-1][1][6:])
    assert done["notices"] == [NOTICE]


def test_the_cartridges_answer_where_no_passage_fits(
    house: TestClient, engine: UnsureEngine
) -> None:
    engine.refuses_texts = True
    answer = ask(house)
    assert answer["answer"] == "1 cartridges and 0 texts"
    assert [source["via"] for source in answer["sources"]] == ["cartridge"]
    assert answer["notices"] == [
        "The cartridges were doubted, but no passage could be read. The prompt is too long."
    ]


def test_a_document_that_goes_between_the_looks_answers_nothing(
    house: TestClient, engine: UnsureEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The passages are of another document than the cartridge was: nobody knew that it would be read."""
    submit, search = UnsureEngine.submit, Retriever.search

    def deleting(self: UnsureEngine, request: Request) -> Stream:
        if request.texts:
            assert "Franz Huber" in request.texts[0]
            assert house.delete("/v1/documents/boiler").status_code == 204
        return submit(self, request)

    def searching(self: Retriever, collection: str, question: str, *more: Any, **named: Any) -> Any:
        again = engine.requests and engine.requests[-1].cartridges
        return search(self, collection, "boiler" if again else "choir", *more, **named)

    monkeypatch.setattr(UnsureEngine, "submit", deleting)
    monkeypatch.setattr(Retriever, "search", searching)
    response = house.post("/v1/answers", json={"question": "Who leads it?"})
    assert response.status_code == 404
    assert engine.requests[-2].cartridges[0].manifest.document_id == "choir"


def completion(text: str, certainty: float | None = None) -> Completion:
    return Completion(text, 3, 0, 2, 8, 0.0, 0.0, 1.0, 2.0, certainty=certainty)


def test_where_a_cartridge_breaks_the_text_answers(
    house: TestClient, engine: UnsureEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.breaks = True
    answer = ask(house)
    assert [source["via"] for source in answer["sources"]] == ["text"]
    assert answer["answer"] == "0 cartridges and 1 texts"
    assert answer["notices"] == [NOTICE]
    assert answer["usage"]["cartridge_slots"] == 0
    assert "not finite" in caplog.text


def test_nobody_looks_again_for_one_who_has_gone() -> None:
    first = Stream()
    look = SecondLook(first, lambda said: True, lambda: pytest.fail("nobody reads any more"))
    look.cancel()
    first.put(completion("half"))
    assert "".join(look) == "half"


def test_a_second_look_is_cancelled_with_the_first() -> None:
    first, second = Stream(), Stream()
    first.put(completion("no", 0.1))
    look = SecondLook(first, lambda said: True, lambda: second)
    second.put("ye")
    pieces = iter(look)
    assert next(pieces) == "ye"
    look.cancel()
    assert second.cancelled.is_set()
    second.put(completion("yes"))
    assert list(pieces) == []
    assert look.completion is not None
    assert (look.completion.text, look.completion.certainty) == ("yes", 0.1)


def test_who_goes_is_noticed_before_anything_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    for every, silences in ((-1.0, 3), (60.0, 1)):  # at each piece of text; as seldom as that
        monkeypatch.setattr("app.second_look._SECONDS_OF_SILENCE", every)
        first = Stream()
        look = SecondLook(first, lambda said: False, lambda: Stream())
        for piece in ("It was", " Mira", "."):
            first.put(piece)
        first.put(completion("It was Mira."))
        assert [*look] == [""] * silences + ["It was Mira."]


def test_what_broke_is_told_to_whoever_asks_again() -> None:
    first, second = Stream(), Stream()
    first.put(completion("no", 0.1))
    second.put(RuntimeError("broke"))
    look = SecondLook(first, lambda said: True, lambda: second)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broke"):
            list(look)
