"""Invariants 1, 2 and 3: lossless mounting, order, the sink, and no leak between requests."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cartridge_store.cartridge import Cartridge
from cartridge_store.errors import CartridgeRefused
from cartridge_store.manifest import PositionRule
from inference.composer import CompositionRefused, compose, from_key_values
from inference.decoding import Prompt, decode, pad
from inference.reader import Reader, ReaderError, load_reader
from inference.sampling import Sampling
from tests.models import TEXT, write_tiny_model

QUESTION = "Who serviced the boiler of the garden flat?"


@pytest.fixture(scope="module", params=["qwen3", "llama"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder = tmp_path_factory.mktemp(request.param)
    return load_reader(write_tiny_model(folder, request.param), dtype="float32")


def cartridge(
    reader: Reader, seed: int, slots: int = 5, *, offset: int | None = 64, fingerprint: str = ""
) -> Cartridge:
    generator = torch.Generator().manual_seed(seed)
    keys, values = (
        torch.randn(
            len(reader.sink),
            reader.sink[0][0].shape[1],
            slots,
            reader.sink[0][0].shape[3],
            generator=generator,
        )
        for _ in range(2)
    )
    return Cartridge.create(
        keys,
        values,
        collection="c",
        document_id=f"d{seed}",
        document_sha256="0" * 64,
        document_tokens=100,
        reader_fingerprint=fingerprint or reader.fingerprint,
        tokenizer_fingerprint=reader.tokenizer_fingerprint,
        position_rule=PositionRule("visible") if offset is None else PositionRule("fixed", offset),
        initialiser="random",
        recipe={},
        figures={},
    )


def next_logits(reader: Reader, prompt: Prompt) -> torch.Tensor:
    batch = pad(reader, [prompt])
    hidden, _ = reader.forward(batch.ids, batch.past, batch.mask, batch.positions)
    return reader.logits(hidden)[0, -1]


def test_full_document_kv_gives_the_logits_of_a_prefill(reader: Reader) -> None:
    document = reader.prefill_documents([TEXT])
    ids = reader.chat.question(QUESTION)
    prefix = from_key_values(reader, document, 1 + document[0][0].shape[2])
    mounted = next_logits(reader, Prompt(prefix, ids))
    whole = [reader.chat.sink_id, *reader.chat.documents([TEXT]), *ids]
    expected = reader.model(torch.tensor([whole], device=reader.device)).logits[0, -1]
    assert (mounted - expected).abs().max() <= 1e-4


def test_chat_format_renders_the_template(reader: Reader) -> None:
    chat = reader.chat
    rendered = reader.tokenizer.apply_chat_template(
        [{"role": "system", "content": TEXT}, {"role": "user", "content": QUESTION}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )
    assert [chat.sink_id, *chat.documents([TEXT]), *chat.question(QUESTION)] == rendered
    bare = reader.tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )
    assert [chat.sink_id, *chat.bare_question(QUESTION)] == bare


def test_order_changes_nothing_and_duplicates_count_once(reader: Reader) -> None:
    one, two, three = (cartridge(reader, seed) for seed in range(3))
    ids = reader.chat.question(QUESTION)
    expected = next_logits(reader, Prompt(compose(reader, [one, two, three]), ids))
    for order in ([three, one, two], [two, three, one, two, one]):
        got = next_logits(reader, Prompt(compose(reader, order), ids))
        assert torch.equal(got, expected)


def test_the_sink_stands_once(reader: Reader) -> None:
    one, two = cartridge(reader, 1), cartridge(reader, 2)
    composed = compose(reader, [one, two])
    assert composed.length == 1 + one.slots + two.slots
    for (keys, _), (sink, _) in zip(composed.layers, reader.sink, strict=True):
        columns = keys[0].movedim(1, 0)
        assert sum(bool(torch.equal(column, sink[0, :, 0])) for column in columns) == 1


def test_a_composition_of_one_is_the_cartridge(reader: Reader) -> None:
    only = cartridge(reader, 3)
    document = tuple((only.keys[i : i + 1], only.values[i : i + 1]) for i in range(2))
    ids = reader.chat.question(QUESTION)
    direct = next_logits(reader, Prompt(from_key_values(reader, document, 64), ids))
    assert torch.equal(next_logits(reader, Prompt(compose(reader, [only]), ids)), direct)


def test_position_rules(reader: Reader) -> None:
    assert compose(reader, [cartridge(reader, 1, offset=None)]).question_at == 6
    assert compose(reader, [cartridge(reader, 1, offset=99)]).question_at == 99
    assert compose(reader).question_at == 1
    with pytest.raises(CompositionRefused):
        compose(reader, [cartridge(reader, 1), cartridge(reader, 2, offset=None)])


def test_another_readers_cartridge_is_refused(reader: Reader) -> None:
    with pytest.raises(CartridgeRefused):
        compose(reader, [cartridge(reader, 1, fingerprint="f" * 64)])


@settings(max_examples=15)
@given(
    rows=st.lists(
        st.tuples(
            st.lists(st.integers(0, 4), max_size=3), st.text("abc de?", min_size=1, max_size=30)
        ),
        min_size=1,
        max_size=5,
    ),
    temperature=st.sampled_from([0.0, 1.0]),
)
def test_batched_rows_equal_solo_rows(
    reader: Reader, rows: Sequence[tuple[list[int], str]], temperature: float
) -> None:
    sampling = Sampling(max_tokens=6, temperature=temperature, seed=7)
    prompts = [
        Prompt(
            compose(reader, [cartridge(reader, seed, 3 + seed) for seed in seeds]),
            reader.chat.question(question),
            sampling,
        )
        for seeds, question in rows
    ]
    assert decode(reader, prompts) == [decode(reader, [prompt])[0] for prompt in prompts]


def test_fingerprint_does_not_depend_on_the_loading_dtype(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    other = write_tiny_model(tmp_path / "other", seed=1)
    half = load_reader(folder, dtype="bfloat16")
    assert half.fingerprint == load_reader(folder, dtype="float32").fingerprint
    assert half.fingerprint != load_reader(other).fingerprint


def test_a_folder_without_a_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match="No reader could be loaded"):
        load_reader(tmp_path)
    with pytest.raises(ReaderError, match="dtype"):
        load_reader(tmp_path, dtype="int3")
