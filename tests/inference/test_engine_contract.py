"""What every engine promises: the same tests for the local one and for one over a vLLM server."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from app.vllm_engine import VllmEngine
from cartridge_store.cartridge import Cartridge
from cartridge_store.errors import CartridgeRefused
from inference.composer import CompositionRefused
from inference.engine import (
    Completion,
    Engine,
    EngineClosed,
    LocalEngine,
    Request,
    RequestRefused,
    Sampling,
)
from inference.reader import Reader
from tests.vllm_serving import VllmServer, document_cartridge, first_of_each, sheets


@dataclass(frozen=True)
class Shelf:
    """Cartridges of sheets, their texts, and a question about each."""

    cartridges: list[Cartridge]
    texts: list[str]
    questions: list[str]


@pytest.fixture(scope="module")
def shelf(exact_reader: Reader) -> Shelf:
    drawn = sheets(exact_reader, 3, seed=8)
    texts = [sheet.text for sheet in drawn.sheets]
    cartridges = [document_cartridge(exact_reader, text) for text in texts]
    return Shelf(cartridges, texts, first_of_each(drawn, range(3)))


@pytest.fixture(params=["local", "vllm"], scope="module")
def engine(request: pytest.FixtureRequest, exact_reader: Reader, shelf: Shelf) -> Iterator[Engine]:
    made: Engine
    if request.param == "local":
        made = LocalEngine(exact_reader, max_batch=8)
    else:
        server: VllmServer = request.getfixturevalue("vllm")
        for cartridge in shelf.cartridges:
            server.keep(cartridge)
        made = VllmEngine(exact_reader, server.url)
    yield made
    made.close()


def requests(shelf: Shelf) -> list[Request]:
    sampling = Sampling(max_tokens=8)
    one, two, _ = shelf.cartridges
    mounted: list[tuple[Cartridge, ...]] = [(one,), (two,), (two, one), (), (one,), ()]
    texts: list[tuple[str, ...]] = [(), (), (), (shelf.texts[2],), (shelf.texts[2],), ()]
    return [
        Request(shelf.questions[n % 3], mounted[n], texts[n], sampling) for n in range(len(mounted))
    ]


def test_every_engine_answers_alike(engine: Engine, shelf: Shelf, exact_reader: Reader) -> None:
    """Cartridges, texts, both, and neither; together and alone."""
    asked = requests(shelf)
    together = [stream.result().text for stream in [engine.submit(one) for one in asked]]
    assert [engine.submit(one).result().text for one in asked] == together
    other = LocalEngine(exact_reader)
    try:
        assert [other.submit(one).result().text for one in asked] == together
    finally:
        other.close()
    assert len(set(together)) > 2


def test_threads_each_get_their_own_answer(engine: Engine, shelf: Shelf) -> None:
    asked = requests(shelf)
    solo = [engine.submit(request).result().text for request in asked]
    got: dict[int, str] = {}

    def ask(index: int) -> None:
        got[index] = engine.submit(asked[index % len(asked)]).result().text

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {index: solo[index % len(asked)] for index in range(12)}


def test_pieces_make_the_answer(engine: Engine, shelf: Shelf) -> None:
    stream = engine.submit(requests(shelf)[0])
    pieces = list(stream)
    assert len(pieces) > 1
    assert stream.completion is not None
    assert "".join(pieces).strip() == stream.completion.text


def test_accounts_are_alike(engine: Engine, shelf: Shelf, exact_reader: Reader) -> None:
    one, two, _ = shelf.cartridges
    question = shelf.questions[0]
    asked = Request(question, (one, two), sampling=Sampling(max_tokens=5, ignore_end=True))
    completion = engine.submit(asked).result()
    assert completion.completion_tokens == 5
    assert len(completion.token_ms) == 5
    assert completion.cartridge_slots == one.slots + two.slots
    assert completion.prompt_tokens == len(exact_reader.chat.question(question))
    columns = 1 + completion.cartridge_slots + completion.prompt_tokens + 4
    column_bytes = sum(k.nbytes + v.nbytes for k, v in exact_reader.sink)
    assert completion.kv_bytes == column_bytes * columns
    assert 0 < completion.first_token_ms <= completion.total_ms


def test_a_cancelled_request_ends_and_the_others_go_on(engine: Engine, shelf: Shelf) -> None:
    long = Request("Who?", sampling=Sampling(max_tokens=1_500, ignore_end=True))
    short = Request(shelf.questions[0], shelf.cartridges[:1], sampling=Sampling(8))
    expected = engine.submit(short).result().text
    gone = engine.submit(long)
    stays = engine.submit(short)
    next(iter(gone))
    gone.cancel()  # long before its end: a fast server says hundreds of tokens to a busy client
    assert stays.result().text == expected
    assert gone.result().completion_tokens < 1_500
    until = time.monotonic() + 10
    while engine.load().running and time.monotonic() < until:
        time.sleep(0.02)
    assert engine.load().running == engine.load().waiting == 0


def test_a_stop_string_ends_the_answer_before_it(engine: Engine, shelf: Shelf) -> None:
    whole = engine.submit(Request("Who?", sampling=Sampling(20, ignore_end=True))).result().text
    stop = whole[len(whole) // 2 :][:3]
    sampling = Sampling(20, stop=("⊥", stop), ignore_end=True)
    stream = engine.submit(Request("Who?", sampling=sampling))
    text = "".join(stream)
    assert text.strip() == whole[: whole.index(stop)].strip()
    assert stream.completion is not None
    assert stop not in stream.completion.text


def test_the_likeliest_tokens_of_every_step(
    engine: Engine, shelf: Shelf, exact_reader: Reader
) -> None:
    asked = Request(shelf.questions[0], shelf.cartridges[:1], sampling=Sampling(5, logprobs=3))
    completion = engine.submit(asked).result()
    assert len(completion.tops) == completion.completion_tokens
    assert all(len(top.ids) == 3 for top in completion.tops)
    said = exact_reader.decode([int(top.ids[0]) for top in completion.tops])
    assert said.strip() == completion.text
    assert all((top.logprobs[:-1] >= top.logprobs[1:]).all() for top in completion.tops)


def test_how_sure_the_reader_was_and_where_it_is_not_sure_enough(
    engine: Engine, shelf: Shelf
) -> None:
    """The probability of the answer; it ends before a token with which that is too little."""
    question, mounted = shelf.questions[0], shelf.cartridges[:1]

    def ask(sure_at: float | None) -> Completion:
        sampling = Sampling(6, logprobs=2, sure_at=sure_at, ignore_end=True)
        return engine.submit(Request(question, mounted, sampling=sampling)).result()

    whole = ask(0.0)
    likely = np.exp(np.cumsum([top.logprobs[0] for top in whole.tops])).tolist()
    assert whole.certainty == pytest.approx(likely[-1], rel=1e-3)
    assert (whole.completion_tokens, whole.cut) == (6, True)
    assert ask(likely[-1] * 0.9).text == whole.text
    between = (likely[-1] + 1) / 2
    stopped = ask(between)
    first = next(n for n, share in enumerate(likely) if share < between)
    assert (stopped.completion_tokens, stopped.cut) == (first, False)
    assert stopped.certainty == pytest.approx(likely[first], rel=1e-3)
    assert whole.text.startswith(stopped.text)
    assert ask(None).certainty is None


def test_sampling_follows_its_seed(engine: Engine) -> None:
    def ask(seed: int) -> str:
        sampling = Sampling(max_tokens=12, temperature=2.0, seed=seed, ignore_end=True)
        return engine.submit(Request("Who?", sampling=sampling)).result().text

    assert ask(1) == ask(1)
    assert len({ask(seed) for seed in range(4)}) > 1


def test_tiny_temperatures_and_shares_are_greedy(engine: Engine, shelf: Shelf) -> None:
    def ask(sampling: Sampling) -> str:
        return engine.submit(Request(shelf.questions[1], sampling=sampling)).result().text

    greedy = ask(Sampling(8))
    assert ask(Sampling(8, temperature=1e-40)) == greedy
    assert ask(Sampling(8, temperature=2.0, top_p=1e-6)) == greedy


def test_what_cannot_be_asked_is_refused_at_once(
    engine: Engine, shelf: Shelf, exact_reader: Reader
) -> None:
    with pytest.raises(RequestRefused, match="positions"):
        engine.submit(Request("x " * 20_000))
    other = document_cartridge(exact_reader, shelf.texts[0], slots=4, fingerprint="ab" * 32)
    with pytest.raises(CartridgeRefused, match="was trained for the reader"):
        engine.submit(Request("Who?", (other,)))
    visible = document_cartridge(exact_reader, shelf.texts[0], slots=4, offset=None)
    with pytest.raises(CompositionRefused, match="position rules"):
        engine.submit(Request("Who?", (visible, shelf.cartridges[1])))


def test_a_closed_engine_refuses_and_finishes_what_runs(
    engine: Engine, exact_reader: Reader, request: pytest.FixtureRequest
) -> None:
    again: Engine
    if isinstance(engine, LocalEngine):
        again = LocalEngine(exact_reader)
    else:
        again = VllmEngine(exact_reader, request.getfixturevalue("vllm").url)
    running = again.submit(Request("Who?", sampling=Sampling(30, ignore_end=True)))
    next(iter(running))
    assert again.trouble() is None
    again.close()
    assert "restart" in (again.trouble() or "")
    assert running.result().completion_tokens == 30
    with pytest.raises(EngineClosed, match="shut down"):
        again.submit(Request("Who?"))
