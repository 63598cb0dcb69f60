"""The local engine: batches equal solo runs, streams, cancellation, refusals, shutdown."""

import json
import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cartridge_store.cartridge import Cartridge
from inference.batch import Batch, Row, Said, columns_of, pool_of
from inference.composer import compose
from inference.decoding import Prompt, decode
from inference.engine import (
    EngineClosed,
    LocalEngine,
    Request,
    RequestRefused,
    Sampling,
    Stream,
)
from inference.pages import PagePool, Span
from inference.prompting import build_prompt
from inference.reader import Reader, ReaderError, load_reader
from inference.requests import GenerationFailed
from inference.sampling import Chooser
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


def test_a_dropped_cartridge_is_copied_anew_and_answers_as_before(
    reader: Reader, engine: LocalEngine
) -> None:
    request = requests(reader)[0]
    first = engine.submit(request).result().text
    assert engine.submit(request).result().text == first
    assert engine.load().cartridges_copied == 1
    engine.drop(request.cartridges[0].id)
    engine.drop("one that was never here")
    assert engine.submit(request).result().text == first
    assert engine.load().cartridges_copied == 2


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
    assert completion.load_ms >= 0
    assert completion.cartridge_slots == one.slots + two.slots
    assert completion.prompt_tokens == len(reader.chat.question(QUESTIONS[0]))
    columns = 1 + completion.cartridge_slots + completion.prompt_tokens
    column_bytes = sum(k.nbytes + v.nbytes for k, v in reader.sink)
    # The last token was said, but nothing was to come behind it.
    assert completion.kv_bytes == column_bytes * (columns + completion.completion_tokens - 1)
    assert 0 < completion.first_token_ms <= completion.total_ms


def test_a_cancelled_request_ends_and_the_others_go_on(reader: Reader, engine: LocalEngine) -> None:
    sampling = Sampling(max_tokens=400, temperature=1.0, seed=1, ignore_end=True)
    long = Request(QUESTIONS[1], sampling=sampling)
    expected = engine.submit(long).result()
    gone, stays = engine.submit(long), engine.submit(long)
    gone.cancel()
    assert stays.result().text == expected.text
    assert gone.result().completion_tokens < expected.completion_tokens == 400


def test_a_prompt_that_does_not_fit_is_refused(reader: Reader, engine: LocalEngine) -> None:
    with pytest.raises(RequestRefused, match="positions"):
        engine.submit(Request("x " * 5_000))
    with pytest.raises(RequestRefused, match="positions"):
        engine.submit(Request("Who?", texts=(TEXT, "x " * 5_000)))


def test_books_are_refused_before_all_of_them_is_tokenised(
    reader: Reader, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenised: list[int] = []
    count = Reader.count

    def counted(self: Reader, text: str) -> int:
        tokenised.append(len(text))
        return count(self, text)

    monkeypatch.setattr(Reader, "count", counted)
    monkeypatch.setattr(type(reader.chat), "documents", lambda *_: pytest.fail("all of it"))
    with pytest.raises(RequestRefused, match="positions"):
        engine.submit(Request("Who?", texts=("word " * 400_000,) * 20))
    assert sum(tokenised) < 1_000_000


def test_an_error_in_the_batch_reaches_the_caller_and_the_engine_lives(
    reader: Reader, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Batch) -> list[Any]:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(Batch, "step", broken)
        with pytest.raises(RuntimeError, match="out of memory"):
            engine.submit(Request(QUESTIONS[0])).result()
    assert engine.submit(Request(QUESTIONS[0])).result() is not None


def test_a_closed_engine_refuses(reader: Reader) -> None:
    engine = LocalEngine(reader)
    engine.close()
    with pytest.raises(EngineClosed):
        engine.submit(Request(QUESTIONS[0]))


def test_closing_finishes_what_runs_and_refuses_what_waits(reader: Reader) -> None:
    engine = LocalEngine(reader, max_batch=1)
    running = engine.submit(Request("Who?", sampling=Sampling(60, ignore_end=True)))
    waiting = engine.submit(Request("Who?"))
    next(iter(running))
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    assert running.result().completion_tokens == 60
    for _ in range(2):  # whoever asks again hears the same
        with pytest.raises(EngineClosed):
            waiting.result()
    closing.join(10)
    assert not closing.is_alive()


def test_an_engine_that_cannot_go_on_ends_every_stream(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LocalEngine(reader)
    monkeypatch.setattr(LocalEngine, "_fail", broken_fail)
    monkeypatch.setattr(Batch, "step", broken_step)
    for _ in range(4):  # before it ends, while it does, after
        with pytest.raises((RuntimeError, EngineClosed)):
            engine.submit(Request("Who?")).result()
    engine.close()


def broken_fail(self: LocalEngine, error: Exception) -> None:
    raise error


def broken_step(self: Batch) -> list[Any]:
    raise RuntimeError("out of memory")


def test_a_failure_at_the_door_leaves_nothing_behind(
    reader: Reader, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = engine.submit(Request("Who?", (), (), Sampling(4))).result().text

    def broken(*_: Any) -> None:
        raise RuntimeError("out of memory")

    doors = ((Batch, "join"), (PagePool, "_bring_forward"), (LocalEngine, "_fetch"))
    for number, (owner, name) in enumerate(doors):
        one = cartridge(reader, number)
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, broken)
            with pytest.raises(RuntimeError, match="out of memory"):
                engine.submit(Request("Who?", (one,), (), Sampling(4))).result()
        assert engine.submit(Request("Who?", (one,), (), Sampling(4))).result(), name
    assert engine.submit(Request("Who?", (), (), Sampling(4))).result().text == expected
    assert engine.load().pinned_bytes == 0


@pytest.mark.parametrize("name", ["unpin", "forget"])
def test_a_failure_on_the_way_out_leaves_nobody_waiting(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    engine = LocalEngine(reader, max_batch=4)
    one = cartridge(reader, 1)
    try:
        beside = engine.submit(Request("Who?", (), (), Sampling(300, ignore_end=True)))
        next(iter(beside))
        whole = getattr(PagePool, name)
        failed: list[bool] = []

        def broken(pool: PagePool, span: Span) -> None:
            whole(pool, span)
            if not failed:
                failed.append(True)
                raise RuntimeError("out of memory")

        with monkeypatch.context() as patched:
            patched.setattr(PagePool, name, broken)
            with pytest.raises(RuntimeError, match="out of memory"):
                engine.submit(
                    Request("Who?", (one, cartridge(reader, 2)), (), Sampling(4))
                ).result()
        with pytest.raises(RuntimeError, match="out of memory"):
            beside.result()
        assert engine.trouble() is None
        assert engine.submit(Request("Who?", (one,), (), Sampling(4))).result()
        assert engine.load().pinned_bytes == 0
    finally:
        engine.close()


def test_a_prompt_that_cannot_be_read_stops_nobody_else(
    reader: Reader, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Request("Who?", (), (), Sampling(200, ignore_end=True))
    expected = engine.submit(short).result().text
    running = engine.submit(short)
    next(iter(running))
    whole = Batch._prefill

    def broken(batch: Batch, rows: Sequence[Row], longest: int) -> list[Said]:
        if longest > 100:
            raise RuntimeError("out of memory")
        return whole(batch, rows, longest)

    with monkeypatch.context() as patched:
        patched.setattr(Batch, "_prefill", broken)
        with pytest.raises(RuntimeError, match="out of memory"):
            engine.submit(Request("Who?", (), (TEXT * 20,), Sampling(4))).result()
        assert engine.submit(Request("Who?", (), (), Sampling(4))).result().completion_tokens
    assert running.result().text == expected
    assert engine.load().pinned_bytes == 0


def test_a_short_question_does_not_wait_for_a_book_nor_a_book_for_ever(reader: Reader) -> None:
    pool = pool_of(reader, 1 << 24)
    batch = Batch(reader, pool, chunk_tokens=16)

    def joined(tokens: int) -> Row:
        sampling = Sampling(1)
        own = pool.private(columns_of(range(tokens), sampling))
        row = Row([5] * tokens, 1, [], own, sampling)
        batch.join(row)
        return row

    def stepped() -> None:
        for said in batch.step():
            batch.leave(said.row)

    book, short = joined(400), joined(12)
    for _ in range(2):
        stepped()
    assert short.said
    for _ in range(60):  # somebody always asks less
        joined(12)
        stepped()
    assert book.said


def test_what_is_resident_does_not_wait_for_what_is_copied(
    reader: Reader, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, late = cartridge(reader, 1), cartridge(reader, 2)
    engine.submit(Request("Who?", (here,), (), Sampling(2))).result()
    copying, go_on = threading.Event(), threading.Event()
    write = PagePool.write

    def slow(pool: PagePool, span: Span, keys: torch.Tensor, values: torch.Tensor) -> None:
        if span.key == late.id:
            copying.set()
            assert go_on.wait(30)
        write(pool, span, keys, values)

    monkeypatch.setattr(PagePool, "write", slow)
    waiting = engine.submit(Request("Who?", (late,), (), Sampling(2)))
    assert copying.wait(10)
    try:
        answered: queue.Queue[str] = queue.Queue()
        asked = engine.submit(Request("Who?", (here,), (), Sampling(2)))
        threading.Thread(target=lambda: answered.put(asked.result().text), daemon=True).start()
        assert answered.get(timeout=10) is not None
    finally:
        go_on.set()
    assert waiting.result()


def test_every_token_that_ends_a_turn_ends_an_answer(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    usual = load_reader(folder, dtype="float32")
    sampling = Sampling(24, temperature=2.0, seed=3)
    asked = Request("Who?", (), (), sampling)
    built = build_prompt(usual, asked)
    said = decode(usual, [Prompt(compose(usual, []), built.ids, sampling)])[0]
    assert len(said) > 4
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        kept = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(kept | {"eos_token_id": [usual.end_id, said[3]]}))
    several = load_reader(folder, dtype="float32")
    assert several.end_ids == {usual.end_id, said[3]}
    assert several.end_id == usual.end_id
    engine = LocalEngine(several)
    try:
        done = engine.submit(asked).result()
    finally:
        engine.close()
    assert (done.completion_tokens, done.cut) == (said.index(said[3]), False)


def test_tokens_are_drawn_by_their_shares() -> None:
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -3.0, -float("inf")])
    for temperature, top_p in ((0.7, 1.0), (0.7, 0.8), (2.0, 0.95)):
        shares = torch.softmax(logits.double() / temperature, -1)
        ordered, ids = shares.sort(descending=True)
        inside = ids[ordered.cumsum(0) - ordered < top_p]
        expected = torch.zeros_like(shares)
        expected[inside] = shares[inside] / shares[inside].sum()
        chooser = Chooser(Sampling(temperature=temperature, top_p=top_p, seed=1))
        count = 20_000
        drawn = torch.tensor([chooser.choose(logits) for _ in range(count)])
        found = torch.bincount(drawn, minlength=len(logits)) / count
        assert (found[expected == 0] == 0).all()
        assert (found - expected).abs().max() < 0.015  # four standard deviations
    # A flat distribution's nucleus is larger than what is looked at first.
    flat = Chooser(Sampling(temperature=1.0, top_p=0.99, seed=1))
    far = [flat.choose(torch.zeros(5_000)) for _ in range(400)]
    assert max(far) > 4_000
    assert len({*far}) > 300


def test_a_broken_cartridge_spoils_its_own_answer_alone(reader: Reader) -> None:
    good = cartridge(reader, 1, 12)
    huge = torch.full_like(good.keys, 3e38)
    broken = recreated(good, huge, huge)
    engine = LocalEngine(reader, page_slots=8, kv_bytes=1 << 20)
    sampling = Sampling(6)

    def ask(*mounted: Cartridge, words: int = 1) -> Stream:
        return engine.submit(Request("gate " * words, mounted, (), sampling))

    try:
        expected = [ask(words=30).result().text, ask(good, words=3).result().text]
        for _ in range(2):
            streams = [ask(broken), ask(words=30), ask(good, words=3)]
            with pytest.raises(GenerationFailed, match="not finite"):
                streams[0].result()
            assert [stream.result().text for stream in streams[1:]] == expected
        assert [ask(words=30).result().text, ask(good, words=3).result().text] == expected
        assert engine.load().pinned_bytes == 0
    finally:
        engine.close()


def recreated(like: Cartridge, keys: torch.Tensor, values: torch.Tensor) -> Cartridge:
    manifest = like.manifest
    return Cartridge.create(
        keys,
        values,
        collection="c",
        document_id="broken",
        document_sha256="0" * 64,
        document_tokens=100,
        reader_fingerprint=manifest.reader_fingerprint,
        tokenizer_fingerprint=manifest.tokenizer_fingerprint,
        position_rule=manifest.position_rule,
        initialiser="random",
        recipe={},
        figures={},
    )


def test_its_load_can_be_asked_from_anywhere(reader: Reader, engine: LocalEngine) -> None:
    streams = [engine.submit(request) for request in requests(reader) * 4]
    seen = [engine.load() for _ in range(500)]
    assert all(load.pinned_bytes <= load.capacity_bytes for load in seen)
    for stream in streams:
        stream.result()


def test_tiny_temperatures_are_greedy(reader: Reader, engine: LocalEngine) -> None:
    greedy = engine.submit(Request("Who?", sampling=Sampling(8))).result().text
    cold = Sampling(8, temperature=1e-50)  # in float32 it would be 0
    assert engine.submit(Request("Who?", sampling=cold)).result().text == greedy


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


def test_a_thousand_requests_some_abandoned_leave_the_pool_as_it_was(reader: Reader) -> None:
    cartridges = [cartridge(reader, n, 5 + 7 * n) for n in range(8)]
    engine = LocalEngine(reader, max_batch=8, page_slots=8, kv_bytes=400 << 10)
    rng = Random(0)
    expected: dict[tuple[int, ...], str] = {}
    try:
        streams = []
        for _ in range(1_000):
            chosen = tuple(sorted(rng.sample(range(8), rng.randint(0, 3))))
            request = Request("Who?", tuple(cartridges[n] for n in chosen), (), Sampling(4))
            streams.append((chosen, engine.submit(request)))
            if rng.random() < 0.3:
                rng.choice(streams)[1].cancel()
        for chosen, stream in streams:
            text = stream.result().text
            if not stream.cancelled.is_set():
                assert expected.setdefault(chosen, text) == text
        load = engine.load()
        assert (load.waiting, load.loading, load.running, load.pinned_bytes) == (0, 0, 0, 0)
        assert load.resident_bytes <= load.capacity_bytes < 400 << 10
    finally:
        engine.close()
    for chosen, text in expected.items():
        alone = compose(reader, [cartridges[n] for n in chosen])
        ids = reader.chat.question("Who?") if chosen else reader.chat.bare_question("Who?")
        [said] = decode(reader, [Prompt(alone, ids, Sampling(4))])
        assert reader.decode(said).strip() == text


def test_what_can_never_fit_is_refused_with_its_bytes(reader: Reader) -> None:
    engine = LocalEngine(reader, kv_bytes=40 << 10, page_slots=8)
    try:
        with pytest.raises(RequestRefused, match=r"needs \d+ bytes .* name fewer documents"):
            engine.submit(Request("Who?", (cartridge(reader, 1, 200),)))
        assert engine.submit(Request("Who?", sampling=Sampling(4))).result()
    finally:
        engine.close()


def test_a_cartridge_is_copied_once_for_all_who_wait(
    reader: Reader, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str | None] = []
    write = PagePool.write

    def counted(pool: PagePool, span: Span, keys: torch.Tensor, values: torch.Tensor) -> None:
        copied.append(span.key)
        write(pool, span, keys, values)

    monkeypatch.setattr(PagePool, "write", counted)
    one = cartridge(reader, 1, 70)
    streams = [engine.submit(Request("Who?", (one,), (), Sampling(4))) for _ in range(12)]
    assert len({stream.result().text for stream in streams}) == 1
    assert copied.count(one.id) == 1


def test_a_copy_that_fails_fails_its_requests_alone(
    reader: Reader, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = cartridge(reader, 1), cartridge(reader, 2)
    write = PagePool.write

    def broken(pool: PagePool, span: Span, keys: torch.Tensor, values: torch.Tensor) -> None:
        if span.key == one.id:
            raise RuntimeError("out of device memory")
        write(pool, span, keys, values)

    with monkeypatch.context() as patched:
        patched.setattr(PagePool, "write", broken)
        bad, good = (engine.submit(Request("Who?", (c,), (), Sampling(4))) for c in (one, two))
        with pytest.raises(RuntimeError, match="device memory"):
            bad.result()
        expected = good.result().text
    assert engine.submit(Request("Who?", (two,), (), Sampling(4))).result().text == expected
    assert engine.submit(Request("Who?", (one,), (), Sampling(4))).result()
    assert engine.load().pinned_bytes == 0


def test_a_newcomer_joins_while_others_decode(reader: Reader, engine: LocalEngine) -> None:
    long = engine.submit(Request("Who?", sampling=Sampling(600, temperature=3.0)))
    next(iter(long))
    short = engine.submit(Request("Who?", sampling=Sampling(2)))
    short.result()
    assert long.completion is None
    long.cancel()
    assert 0 < long.result().completion_tokens < 600


def test_stop_strings_end_the_answer_before_them(reader: Reader, engine: LocalEngine) -> None:
    whole = engine.submit(Request("Who?", sampling=Sampling(30))).result().text
    stop = whole[len(whole) // 2 :][:3]
    stream = engine.submit(Request("Who?", sampling=Sampling(30, stop=("⊥", stop))))
    text = "".join(stream)
    assert text.strip() == whole[: whole.index(stop)].strip()
    assert stream.completion is not None
    assert stop not in stream.completion.text


def test_logprobs_of_every_step(reader: Reader, engine: LocalEngine) -> None:
    completion = engine.submit(Request("Who?", sampling=Sampling(5, logprobs=3))).result()
    assert len(completion.tops) == completion.completion_tokens
    said = reader.decode([int(top.ids[0]) for top in completion.tops])
    assert said.strip() == completion.text
    assert all((top.logprobs[:-1] >= top.logprobs[1:]).all() for top in completion.tops)


def test_top_p_leaves_out_the_unlikely(reader: Reader, engine: LocalEngine) -> None:
    greedy = engine.submit(Request("Who?", sampling=Sampling(8))).result().text
    narrow = Sampling(8, temperature=2.0, top_p=1e-6)
    assert engine.submit(Request("Who?", sampling=narrow)).result().text == greedy


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"temperature": -1.0},
        {"logprobs": -1},
        {"stop": ("",)},
        {"seed": 2**64},
    ],
)
def test_sampling_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Sampling(**wrong)


class Ask(NamedTuple):
    mounted: tuple[int, ...]
    words: int
    max_tokens: int
    temperature: float
    cancel_after: int | None


ASKS = st.builds(
    Ask,
    st.sets(st.integers(0, 5), max_size=4).map(lambda s: tuple(sorted(s))),
    st.integers(1, 40),
    st.integers(1, 20),
    st.sampled_from([0.0, 1.0]),
    st.none() | st.integers(0, 5),
)


@settings(max_examples=12)
@given(asks=st.lists(ASKS, min_size=1, max_size=14), pages=st.integers(60, 120))
def test_whatever_runs_beside_it_an_answer_is_what_it_is_alone(
    reader: Reader, asks: list[Ask], pages: int
) -> None:
    """Invariant 3, over arrivals, compositions, cancellations and evictions."""

    def request(ask: Ask) -> Request:
        sampling = Sampling(ask.max_tokens, ask.temperature, seed=3)
        mounted = tuple(cartridge(reader, n, 3 + 9 * n) for n in ask.mounted)
        return Request("gate " * ask.words, mounted, (), sampling)

    def alone(ask: Ask) -> str:
        wanted = request(ask)
        prompted = build_prompt(reader, wanted)
        prefix = compose(reader, wanted.cartridges)
        [ids] = decode(reader, [Prompt(prefix, prompted.ids, wanted.sampling)])
        return reader.decode(ids).strip()

    page_bytes = 8 * sum(k.nbytes + v.nbytes for k, v in reader.sink)
    engine = LocalEngine(reader, max_batch=5, page_slots=8, kv_bytes=pages * page_bytes)
    try:
        streams = [engine.submit(request(ask)) for ask in asks]
        for ask, stream in zip(asks, streams, strict=True):
            if ask.cancel_after is not None:
                for _ in zip(range(ask.cancel_after), stream, strict=False):
                    pass
                stream.cancel()
        texts = [stream.result().text for stream in streams]
        assert engine.load().pinned_bytes == 0
    finally:
        engine.close()
    for ask, text in zip(asks, texts, strict=True):
        if ask.cancel_after is None:
            assert text == alone(ask)
        else:
            # Cut off within a character, its first bytes are all there is of it.
            assert alone(ask).startswith(text.rstrip("�"))


def test_an_engine_that_cannot_go_on_leaves_nobody_waiting(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = threading.Event()

    def broken(*_: Any) -> Any:
        sent.wait(10)
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(Batch, "step", broken)
    monkeypatch.setattr(PagePool, "forget", broken)  # nothing can be given back either
    engine = LocalEngine(reader, max_batch=1)
    streams = [engine.submit(Request("Who?")) for _ in range(3)]
    sent.set()
    for stream in streams:
        with pytest.raises((RuntimeError, EngineClosed)):
            stream.result()
    engine._thread.join(10)
    assert engine.trouble() is not None
    assert engine.load().waiting == engine.load().running == 0
    with pytest.raises(EngineClosed):
        engine.submit(Request("Who?"))
    engine.close()
