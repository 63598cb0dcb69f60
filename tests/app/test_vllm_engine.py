"""The engine over vLLM when the server is not there, is another one, or fails; and how it is chosen."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.parts import Parts
from app.problems import problem_of
from app.settings import Settings
from app.vllm_agreement import Probe
from app.vllm_engine import VllmEngine
from inference.engine import EngineClosed, LocalEngine, Request, Stream
from inference.reader import Reader, load_reader
from inference.requests import EngineUnavailable, GenerationFailed, RequestRefused, ServerStumbled
from inference.sampling import Sampling
from tests.models import write_tiny_model


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return load_reader(write_tiny_model(tmp_path_factory.mktemp("reader")), dtype="float32")


class Server:
    """Answers as it is told, over real HTTP."""

    def __init__(self, reader: Reader) -> None:
        probe = Probe.of(reader)
        self.logprobs = list(probe.logprobs)
        self.probe = probe
        self.lines: list[str] = [line([], finish_reason="stop"), "data: [DONE]"]
        self.status = self.listing = 200
        self.models = json.dumps({"data": [{"id": "served"}]})
        self.breaks = False  # answers end before they begin
        self.gate = threading.Event()  # answers wait for it
        self.gate.set()
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.keys.append(self.headers["Authorization"])
                self._send(outer.listing, outer.models)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if body.get("prompt_logprobs") is not None:
                    rows = [
                        {str(id): {"logprob": value}}
                        for id, value in zip(outer.probe.ids[1:], outer.logprobs, strict=True)
                    ]
                    answer = {"choices": [{"prompt_logprobs": [None, *rows]}]}
                    self._send(200, json.dumps(answer))
                    return
                outer.asked.append(body)
                outer.gate.wait(30)
                if outer.breaks:
                    self.close_connection = True
                    return
                self._send(outer.status, "\n\n".join(outer.lines))

            def _send(self, status: int, text: str) -> None:
                data = text.encode()
                with contextlib.suppress(ConnectionError):  # whoever asked may have gone
                    self._write(status, data)

            def _write(self, status: int, data: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                """Nothing is written."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.gate.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server(reader: Reader) -> Iterator[Server]:
    server = Server(reader)
    yield server
    server.close()


@pytest.fixture
def engine(reader: Reader, server: Server) -> Iterator[VllmEngine]:
    engine = VllmEngine(reader, f"{server.url}/v1/", api_key="secret")
    yield engine
    engine.close()


def line(ids: list[int], **said: str) -> str:
    return "data: " + json.dumps({"choices": [{"text": "", "token_ids": ids} | said]})


@pytest.mark.parametrize(
    "lines",
    [
        [line([5]), line([], finish_reason="abort"), "data: [DONE]"],
        [line([5])],
        ["data: [DONE]"],
        ['data: {"error": "boom"}'],
        ['data: {"error": {"message": "x", "code": "invalid_request"}}'],
        ["data: oops"],
        ['data: {"choices": [{"text": "", "token_ids": 5}]}'],
    ],
)
def test_an_answer_that_breaks_off_is_no_answer(
    engine: VllmEngine, server: Server, lines: list[str]
) -> None:
    server.lines = lines
    with pytest.raises(GenerationFailed, match="vLLM server"):
        engine.submit(Request("Who?", sampling=Sampling(8))).result()


def test_an_answer_that_the_server_has_no_room_for_is_cut(
    engine: VllmEngine, server: Server
) -> None:
    server.lines = [line([5]), line([6], finish_reason="length"), "data: [DONE]"]
    assert engine.submit(Request("Who?", sampling=Sampling(8))).result().cut
    server.lines = [line([5]), line([6], finish_reason="stop"), "data: [DONE]"]
    assert not engine.submit(Request("Who?", sampling=Sampling(8))).result().cut


def test_tokens_become_text_and_the_end_ends_it(
    reader: Reader, engine: VllmEngine, server: Server
) -> None:
    ids = reader.tokenizer("The north gate", add_special_tokens=False).input_ids
    server.lines = [line(ids[:1]), line([*ids[1:], reader.end_id, 9]), "data: [DONE]"]
    completion = engine.submit(Request("Who?", sampling=Sampling(40, seed=3))).result()
    assert completion.text == "The north gate"
    assert completion.completion_tokens == len(ids)
    (asked,) = server.asked
    assert (asked["model"], asked["seed"]) == ("served", 3)
    assert asked["prompt"] == [reader.chat.sink_id, *reader.chat.bare_question("Who?")]
    assert server.keys == ["Bearer secret"]


def test_what_json_need_not_escape_ends_no_event(
    reader: Reader, engine: VllmEngine, server: Server
) -> None:
    ids = reader.tokenizer("The north gate", add_special_tokens=False).input_ids
    event = line([*ids, reader.end_id]).replace(
        '"choices"', '"text": "a\u2028b\u2029c\x85d", "choices"'
    )
    server.lines = [f"{event}\r", "data: [DONE]"]
    assert engine.submit(Request("Who?", sampling=Sampling(40))).result().text == "The north gate"


def test_a_server_that_does_not_answer_is_trouble(engine: VllmEngine, server: Server) -> None:
    assert engine.trouble() is None
    server.listing = 404  # of servers without such a path nothing is known
    assert engine.trouble() is None
    server.listing = 503
    assert "503" in (engine.trouble() or "")
    server.close()
    assert "check that it runs" in (engine.trouble() or "")


def test_a_server_that_serves_another_model_is_not_used(engine: VllmEngine, server: Server) -> None:
    right = server.logprobs
    server.logprobs = [value - 0.2 for value in right]
    with pytest.raises(EngineUnavailable, match="does not serve the reader"):
        engine.submit(Request("Who?")).result()
    server.logprobs = right[::-1]
    with pytest.raises(EngineUnavailable, match="does not serve the reader"):
        engine.submit(Request("Who?")).result()
    assert not server.asked
    server.logprobs = [value + 0.01 for value in right]  # rounding
    server.lines = [line([5], finish_reason="stop")]
    assert engine.submit(Request("Who?")).result().completion_tokens == 1


@pytest.mark.parametrize("models", ["<html>", "{}", '{"data": []}', "[1]", '{"data": [1]}'])
def test_what_is_no_vllm_at_all_is_unavailable(
    engine: VllmEngine, server: Server, models: str
) -> None:
    """A proxy's page for logging in, or another service's port."""
    server.models = models
    with pytest.raises(EngineUnavailable, match="is not vLLM; set CARTRIDGES_VLLM_URL"):
        engine.submit(Request("Who?")).result()


def test_a_server_that_is_not_there_is_unavailable(reader: Reader, server: Server) -> None:
    engine = VllmEngine(reader, "http://127.0.0.1:9")
    try:
        with pytest.raises(EngineUnavailable, match="start it again") as caught:
            engine.submit(Request("Who?")).result()
    finally:
        engine.close()
    assert problem_of(caught.value).status == 503


@pytest.mark.parametrize(
    ("status", "lines", "kind"),
    [
        (400, ['{"error": {"message": "too long", "code": 400}}'], RequestRefused),
        (422, ['{"error": {"message": "no number", "code": 422}}'], RequestRefused),
        (500, ["Internal"], ServerStumbled),
        (200, [line([5]), 'data: {"error": {"message": "lost", "code": 500}}'], ServerStumbled),
    ],
    ids=str,
)
def test_errors_say_whose_fault_it_was(
    engine: VllmEngine, server: Server, status: int, lines: list[str], kind: type[Exception]
) -> None:
    server.status, server.lines = status, lines
    with pytest.raises(kind):
        engine.submit(Request("Who?")).result()
    server.status, server.lines = 200, [line([5], finish_reason="stop")]
    assert engine.submit(Request("Who?")).result().completion_tokens == 1
    assert engine.load().running == engine.load().waiting == 0


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "CARTRIDGES_VLLM_API_KEY"),
        (403, "CARTRIDGES_VLLM_API_KEY"),
        (404, "must see the same cartridges"),
        (429, "try again"),
        (503, "try again"),
    ],
)
def test_what_no_question_could_mend_is_not_the_askers_fault(
    engine: VllmEngine, server: Server, status: int, words: str
) -> None:
    server.status, server.lines = status, ['{"error": "Unauthorized"}']
    with pytest.raises(EngineUnavailable, match=words) as caught:
        engine.submit(Request("Who?")).result()
    assert problem_of(caught.value).status == 503
    assert "vLLM at" in str(caught.value)
    assert "vLLM" not in problem_of(caught.value).detail  # where it is is for the log
    server.listing, server.lines = status, [line([5], finish_reason="stop")]
    with pytest.raises(EngineUnavailable, match=words):  # and so when it is asked what it serves
        engine.submit(Request("Who?")).result()
    server.status = server.listing = 200
    assert engine.submit(Request("Who?")).result().completion_tokens == 1


def test_a_server_that_went_away_is_compared_again(engine: VllmEngine, server: Server) -> None:
    """Another model may be served when it is back."""
    server.lines = [line([5], finish_reason="stop")]
    assert engine.submit(Request("Who?")).result().completion_tokens == 1
    server.breaks = True
    with pytest.raises(EngineUnavailable, match="start it again"):
        engine.submit(Request("Who?")).result()
    server.breaks, server.logprobs = False, server.logprobs[::-1]
    with pytest.raises(EngineUnavailable, match="does not serve the reader"):
        engine.submit(Request("Who?")).result()
    assert len(server.asked) == 2


def waiting(reader: Reader, server: Server) -> tuple[VllmEngine, Stream]:
    """An engine with a request that the server has and does not answer."""
    server.gate.clear()
    engine = VllmEngine(reader, server.url)
    stream = engine.submit(Request("Who?"))
    until = time.monotonic() + 20
    while not server.asked and time.monotonic() < until:
        time.sleep(0.01)
    assert engine.load().waiting == 1
    return engine, stream


def test_closing_refuses_what_waits(reader: Reader, server: Server) -> None:
    engine, stream = waiting(reader, server)
    engine.close()
    with pytest.raises(EngineClosed, match="shut down before"):
        stream.result()


def test_a_request_that_waits_can_be_cancelled(reader: Reader, server: Server) -> None:
    engine, stream = waiting(reader, server)
    stream.cancel()
    assert stream.result().completion_tokens == 0
    assert engine.load().waiting == 0
    engine.close()


def test_it_is_chosen_by_its_address(reader: Reader, server: Server) -> None:
    chosen = Parts().engine(Settings(vllm_url=server.url), reader)
    chosen.close()
    assert isinstance(chosen, VllmEngine)
    local = Parts().engine(Settings(), reader)
    local.close()
    assert isinstance(local, LocalEngine)
