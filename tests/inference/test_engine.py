"""The local engine: batches equal solo runs, streams, cancellation, refusals, shutdown."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.decoding import Decoder
from inference.engine import (
    EngineClosed,
    LocalEngine,
    Request,
    RequestRefused,
    Sampling,
    build_prompt,
)
from inference.reader import Reader, ReaderError, load_reader
from tests.inference.test_composition import cartridge
from tests.models import TEXT, write_tiny_model

QUESTIONS = [f"Who painted the gate {'again ' * n}?" for n in range(6)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return load_reader(write_tiny_model(tmp_path_factory.mktemp("reader")), dtype="float32")


@pytest.fixture
def engine(reader: Reader) -> Iterator[LocalEngine]:
    engine = LocalEngine(reader, max_batch=4)
    yield engine
    engine.close()


def requests(reader: Reader) -> list[Request]:
    sampling = Sampling(max_tokens=8)
    one, two = cartridge(reader, 1), cartridge(reader, 2)
    mounted = [(one,), (two,), (one, two), (), (one,), ()]
    texts: list[tuple[str, ...]] = [(), (), (), (TEXT,), (), ()]
    return [
        Request(question, cartridges, text, sampling)
        for question, cartridges, text in zip(QUESTIONS, mounted, texts, strict=True)
    ]


def test_concurrent_requests_equal_solo_runs(reader: Reader, engine: LocalEngine) -> None:
    asked = requests(reader)
    solo = [engine.submit(request).result().text for request in asked]
    streams = [engine.submit(request) for request in asked]
    assert [stream.result().text for stream in streams] == solo


def test_many_threads_each_get_their_own_answer(reader: Reader, engine: LocalEngine) -> None:
    asked = requests(reader)
    solo = [engine.submit(request).result().text for request in asked]
    got: dict[int, str] = {}

    def ask(index: int) -> None:
        got[index] = engine.submit(asked[index % len(asked)]).result().text

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {index: solo[index % len(asked)] for index in range(24)}


def test_streamed_pieces_make_the_answer(reader: Reader, engine: LocalEngine) -> None:
    stream = engine.submit(Request(QUESTIONS[0], sampling=Sampling(max_tokens=12)))
    text = "".join(stream)
    assert stream.completion is not None
    assert text.strip() == stream.completion.text


def test_accounting(reader: Reader, engine: LocalEngine) -> None:
    one, two = cartridge(reader, 1), cartridge(reader, 2)
    request = Request(QUESTIONS[0], (one, two), sampling=Sampling(max_tokens=5))
    completion = engine.submit(request).result()
    assert completion.cartridge_slots == one.slots + two.slots
    assert completion.prompt_tokens == len(reader.chat.question(QUESTIONS[0]))
    columns = 1 + completion.cartridge_slots + completion.prompt_tokens
    column_bytes = sum(k.nbytes + v.nbytes for k, v in reader.sink)
    assert completion.kv_bytes == column_bytes * (columns + completion.completion_tokens)
    assert 0 < completion.first_token_ms <= completion.total_ms


def test_a_cancelled_request_ends_and_the_others_go_on(reader: Reader, engine: LocalEngine) -> None:
    long = Request(QUESTIONS[1], sampling=Sampling(max_tokens=400, temperature=1.0, seed=1))
    expected = engine.submit(long).result()
    gone, stays = engine.submit(long), engine.submit(long)
    gone.cancel()
    assert stays.result().text == expected.text
    assert gone.result().completion_tokens <= expected.completion_tokens


def test_a_prompt_that_does_not_fit_is_refused(reader: Reader, engine: LocalEngine) -> None:
    with pytest.raises(RequestRefused, match="positions"):
        engine.submit(Request("x " * 5_000))


def test_an_error_in_the_batch_reaches_the_caller_and_the_engine_lives(
    reader: Reader, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Decoder) -> dict[int, int]:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(Decoder, "step", broken)
        with pytest.raises(RuntimeError, match="out of memory"):
            engine.submit(Request(QUESTIONS[0])).result()
    assert engine.submit(Request(QUESTIONS[0])).result() is not None


def test_a_closed_engine_refuses(reader: Reader) -> None:
    engine = LocalEngine(reader)
    engine.close()
    with pytest.raises(EngineClosed):
        engine.submit(Request(QUESTIONS[0]))


def test_sampling_follows_its_seed(reader: Reader, engine: LocalEngine) -> None:
    def ask(seed: int) -> str:
        sampling = Sampling(max_tokens=20, temperature=2.0, seed=seed)
        return engine.submit(Request(QUESTIONS[0], sampling=sampling)).result().text

    assert ask(1) == ask(1)
    assert len({ask(seed) for seed in range(4)}) > 1


def test_texts_stand_before_the_question(reader: Reader) -> None:
    prompt = build_prompt(reader, Request(QUESTIONS[0], texts=(TEXT, "More.")))
    whole = reader.tokenizer.apply_chat_template(
        [
            {"role": "system", "content": f"{TEXT}\n\nMore."},
            {"role": "user", "content": QUESTIONS[0]},
        ],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )
    assert [reader.chat.sink_id, *prompt.ids] == whole


def test_models_with_sliding_windows_are_refused(tmp_path: Path) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    folder = write_tiny_model(tmp_path)
    torch.manual_seed(0)
    shape: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    model = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=320, num_attention_heads=2, num_key_value_heads=1, head_dim=8, **shape
        )
    )
    model.save_pretrained(folder)
    with pytest.raises(ReaderError, match="sliding_attention"):
        load_reader(folder)
