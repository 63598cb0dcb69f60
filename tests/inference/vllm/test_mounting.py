"""What the connector computes, without vLLM: rotation, slicing, the card, compositions, salts."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cartridge_store.cartridge import Cartridge
from cartridge_store.errors import CartridgeNotFound, CartridgeRefused
from cartridge_store.manifest import Manifest
from inference.composer import compose
from inference.reader import Reader, load_reader
from inference.rotation import rotated
from inference.vllm.card import ReaderCard, describe
from inference.vllm.errors import CardRefused, MountRefused
from inference.vllm.mounting import Mounter, composed, named
from inference.vllm.scheduling import Scheduling
from inference.vllm.slicing import heads_of_rank, slot_numbers
from tests.inference.test_composition import cartridge
from tests.models import write_tiny_model


@pytest.fixture(scope="module", params=["qwen3", "llama", "gpt_neox"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Whole and partial rotary embeddings."""
    folder = tmp_path_factory.mktemp(request.param)
    return load_reader(write_tiny_model(folder, request.param), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def card(reader: Reader) -> ReaderCard:
    return describe(reader)


@pytest.mark.parametrize("position", [1, 50, 1000])
def test_rotation_is_the_models_own(reader: Reader, card: ReaderCard, position: int) -> None:
    ids = torch.tensor([[7]])
    past = tuple((k[:, :, :0], v[:, :, :0]) for k, v in reader.sink)
    mask = torch.ones(1, 1)
    _, here = reader.forward(ids, past, mask, torch.tensor([[3]]))
    _, there = reader.forward(ids, past, mask, torch.tensor([[3 + position]]))
    assert card.frequencies is not None
    for (keys, _), (moved, _) in zip(here, there, strict=True):
        assert torch.allclose(rotated(keys, position, card.frequencies), moved, atol=2e-4)
        back = rotated(moved, -position, card.frequencies)
        assert torch.allclose(back, keys, atol=2e-4)


def test_interleaved_pairs_are_rotated_as_complex_numbers() -> None:
    keys = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))
    frequencies = torch.tensor([1.0, 0.1, 0.01])
    turned = torch.view_as_complex(keys[..., :6].reshape(2, 3, 3, 2))
    turned = turned * torch.polar(torch.ones(3), frequencies * 5)
    expected = torch.cat([torch.view_as_real(turned).flatten(-2), keys[..., 6:]], -1)
    assert torch.allclose(rotated(keys, 5, frequencies, interleaved=True), expected, atol=1e-6)
    assert rotated(keys, 0, frequencies) is keys


@pytest.mark.parametrize(
    ("heads", "ranks", "expected"),
    [
        (8, 1, [(0, 8)]),
        (8, 4, [(0, 2), (2, 4), (4, 6), (6, 8)]),
        (2, 4, [(0, 1), (0, 1), (1, 2), (1, 2)]),
        (1, 2, [(0, 1), (0, 1)]),
    ],
)
def test_ranks_take_their_heads(heads: int, ranks: int, expected: list[tuple[int, int]]) -> None:
    found = [heads_of_rank(heads, ranks, rank) for rank in range(ranks)]
    assert [(one.start, one.stop) for one in found] == expected


@pytest.mark.parametrize(("heads", "ranks", "rank"), [(6, 4, 0), (3, 2, 1), (4, 2, 2), (4, 2, -1)])
def test_heads_that_cannot_be_divided_are_refused(heads: int, ranks: int, rank: int) -> None:
    with pytest.raises(ValueError, match=r"divide|rank"):
        heads_of_rank(heads, ranks, rank)


def test_columns_lie_in_the_requests_blocks() -> None:
    assert slot_numbers([7, 2, 9], 4, 3, 9) == [31, 8, 9, 10, 11, 36]


def test_a_card_is_read_as_it_was_written(card: ReaderCard, tmp_path: Path) -> None:
    path = tmp_path / "cards" / "one.safetensors"
    card.save(path)
    read = ReaderCard.load(path)
    assert read.reader_fingerprint == card.reader_fingerprint
    assert read.tokenizer_fingerprint == card.tokenizer_fingerprint
    assert (read.sink_id, read.interleaved) == (card.sink_id, card.interleaved)
    assert read.frequencies is not None
    assert card.frequencies is not None
    assert torch.equal(read.frequencies, card.frequencies)
    assert torch.equal(read.keys, card.keys)
    assert torch.equal(read.values, card.values)
    assert read.config == card.config
    assert [one.name for one in path.parent.iterdir()] == ["one.safetensors"]


def test_a_card_knows_another_models_configuration(reader: Reader, card: ReaderCard) -> None:
    assert {"hidden_size", "num_hidden_layers", "rope_parameters"} <= card.config.keys()
    assert card.differences(reader.config) == []
    assert card.differences(SimpleNamespace()) == []  # what is not said is not another
    other = copy.deepcopy(reader.config)
    other.num_hidden_layers += 1
    other.rope_parameters = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}
    assert card.differences(other) == ["num_hidden_layers", "rope_parameters"]


def test_what_is_no_card_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    path.write_bytes(b"no card")
    with pytest.raises(CardRefused, match="make one with"):
        ReaderCard.load(path)


def mounter(card: ReaderCard, known: list[Cartridge], ranks: int = 1, rank: int = 0) -> Mounter:
    by_id = {one.id: one for one in known}
    heads = heads_of_rank(card.kv_heads, ranks, rank)
    return Mounter(card, heads, torch.float32, by_id.__getitem__)


def manifests(known: list[Cartridge]) -> list[Manifest]:
    return [one.manifest for one in sorted(known, key=lambda one: one.id)]


def test_columns_are_the_composers_moved(reader: Reader, card: ReaderCard) -> None:
    known = [cartridge(reader, seed, slots) for seed, slots in ((1, 5), (2, 9), (3, 1))]
    composition = composed(card, manifests(known))
    assert (composition.columns, composition.question_at) == (16, 64)
    ours = mounter(card, known).columns(composition, 0)
    expected = compose(reader, known)
    assert card.frequencies is not None
    for index, (keys, values) in enumerate(expected.layers):
        moved = rotated(keys[0], composition.columns - 64, card.frequencies)
        assert torch.allclose(ours.keys[index], moved, atol=1e-6)
        assert torch.equal(ours.values[index], values[0])


def test_later_columns_and_ranks_are_parts_of_the_whole(reader: Reader, card: ReaderCard) -> None:
    known = [cartridge(reader, seed, slots) for seed, slots in ((1, 5), (2, 9))]
    composition = composed(card, manifests(known))
    whole = mounter(card, known).columns(composition, 0)
    for start in range(composition.columns):
        part = mounter(card, known).columns(composition, start)
        assert torch.equal(part.keys, whole.keys[:, :, start:])
        assert torch.equal(part.values, whole.values[:, :, start:])
    halves = [mounter(card, known, 2, rank).columns(composition, 0).keys for rank in (0, 1)]
    assert torch.equal(torch.cat(halves, 1), whole.keys)


def test_only_what_is_needed_is_loaded(reader: Reader, card: ReaderCard) -> None:
    known = sorted((cartridge(reader, seed, 5) for seed in (1, 2)), key=lambda one: one.id)
    composition = composed(card, manifests(known))
    last = mounter(card, known[1:]).columns(composition, 6)
    assert last.keys.shape[2] == 5


def test_after_the_visible_slots_nothing_moves(reader: Reader, card: ReaderCard) -> None:
    one = cartridge(reader, 1, 5, offset=None)
    composition = composed(card, [one.manifest])
    assert composition.shift == 0
    ours = mounter(card, [one]).columns(composition, 1)
    assert torch.equal(ours.keys, one.keys)


def test_what_cannot_stand_together_is_refused(reader: Reader, card: ReaderCard) -> None:
    fixed, visible = cartridge(reader, 1), cartridge(reader, 2, offset=None)
    with pytest.raises(MountRefused, match="position rules"):
        composed(card, manifests([fixed, visible]))
    other = cartridge(reader, 3, fingerprint="ab" * 32)
    with pytest.raises(CartridgeRefused, match="was trained for the reader"):
        composed(card, [other.manifest])


def test_a_cartridge_that_is_not_the_promised_one_is_refused(
    reader: Reader, card: ReaderCard
) -> None:
    one, two = cartridge(reader, 1), cartridge(reader, 2)
    composition = composed(card, [one.manifest])
    swapped = Mounter(card, slice(0, card.kv_heads), torch.float32, lambda _: two)
    with pytest.raises(CartridgeRefused, match="changed under its id"):
        swapped.columns(composition, 0)


def test_names_are_counted_once_in_canonical_order() -> None:
    a, b = "c" + "a" * 40, "c" + "b" * 40
    assert named([b, a, b], 2) == (a, b)
    with pytest.raises(MountRefused, match="at most 1"):
        named([a, b], 1)
    with pytest.raises(MountRefused, match="3 cartridges are named"):
        named([{}, [], 1], 2)
    for wrong in ("x", [], None, 3):
        with pytest.raises(MountRefused, match="list"):
            named(wrong, 2)


class FakeRequest(SimpleNamespace):
    """As vLLM's own, as far as the scheduler's side looks at it."""

    def update_block_hashes(self) -> None:
        self.block_hashes.append(self.cache_salt)


def sampling(**given: Any) -> SimpleNamespace:
    return SimpleNamespace(**({"prompt_logprobs": None, "prompt_logprob_token_ids": None} | given))


def request(card: ReaderCard, known: list[Cartridge], id: str = "r", **given: Any) -> FakeRequest:
    columns = 1 + sum(one.slots for one in known)
    prompt = [card.sink_id] * columns + [5, 6]
    values: dict[str, Any] = {
        "request_id": id,
        "kv_transfer_params": {"cartridges": [one.id for one in known]},
        "sampling_params": sampling(),
        "prompt_token_ids": prompt,
        "_all_token_ids": list(prompt),
        "num_prompt_tokens": len(prompt),
        "cache_salt": None,
        "block_hashes": ["unsalted"],
        "skip_reading_prefix_cache": False,
    }
    return FakeRequest(**(values | given))


@pytest.fixture
def known(reader: Reader) -> list[Cartridge]:
    return [cartridge(reader, seed, slots) for seed, slots in ((1, 5), (2, 9))]


@pytest.fixture
def scheduling(card: ReaderCard, known: list[Cartridge]) -> Scheduling:
    stored = {one.id: one.manifest for one in known}

    def find(id: str) -> Manifest:
        if id not in stored:
            raise CartridgeNotFound(f"There is no blob {id}.")
        return stored.pop(id)  # it is asked once

    return Scheduling(card, find, most=4)


def test_requests_are_mounted_in_their_blocks(
    scheduling: Scheduling, card: ReaderCard, known: list[Cartridge]
) -> None:
    one = request(card, known)
    scheduling.arrive(one)
    assert one.block_hashes == [one.cache_salt]
    assert scheduling.missing(one, 0) == 15
    assert scheduling.missing(one, 8) == 7
    assert scheduling.missing(one, 16) == 0
    scheduling.allocated(one, [4, 2, 7], 7)
    (load,) = scheduling.take_step().loads
    assert (load.start, load.blocks) == (8, (4, 2, 7))
    assert load.composition.ids == tuple(sorted(c.id for c in known))
    assert not scheduling.take_step().loads
    scheduling.leave(one)
    assert scheduling.missing(one, 0) == 0


def test_whoever_would_skip_the_prefix_cache_is_mounted_all_the_same(
    scheduling: Scheduling, card: ReaderCard, known: list[Cartridge]
) -> None:
    one = request(card, known, skip_reading_prefix_cache=True)
    scheduling.arrive(one)
    assert not one.skip_reading_prefix_cache
    assert scheduling.missing(one, 0) == 15


def test_plain_requests_are_left_alone(scheduling: Scheduling, card: ReaderCard) -> None:
    for params in (None, {}, {"do_remote_decode": True}):
        plain = request(card, [], kv_transfer_params=params, skip_reading_prefix_cache=True)
        scheduling.arrive(plain)
        assert plain.cache_salt is None
        assert plain.skip_reading_prefix_cache
        assert plain.block_hashes == ["unsalted"]
        assert scheduling.missing(plain, 0) == 0


def test_salts_are_equal_for_equal_compositions_and_tenants_alone(
    scheduling: Scheduling, card: ReaderCard, known: list[Cartridge]
) -> None:
    def salt(chosen: list[Cartridge], tenant: str | None = None) -> str:
        one = request(card, chosen, cache_salt=tenant)
        scheduling.arrive(one)
        return str(one.cache_salt)

    both = salt(known)
    assert salt(known[::-1]) == both
    others = [salt(known[:1]), salt(known[1:]), salt(known, "red"), salt(known, "blue")]
    assert len({both, *others}) == 5
    stored = {one.id: one.manifest for one in known}
    elsewhere = Scheduling(card, stored.__getitem__, most=4)
    again = request(card, known)
    elsewhere.arrive(again)
    assert again.cache_salt != both  # nobody can compute it


def test_nobody_finds_what_was_not_written(
    scheduling: Scheduling, card: ReaderCard, known: list[Cartridge]
) -> None:
    """A load fails after its client has given up: vLLM keeps the blocks, under the salt that they had."""
    gone, waits, running, other = (
        request(card, chosen, id)
        for id, chosen in (("a", known), ("b", known), ("c", known), ("d", known[:1]))
    )
    tenant = request(card, known, "e", cache_salt="red")
    for one in (gone, waits, running, other, tenant):
        scheduling.arrive(one)
    scheduling.allocated(other, [8], 6)
    scheduling.allocated(gone, [4, 2, 7], 15)
    scheduling.take_step()
    before = [one.cache_salt for one in (waits, running, other, tenant)]
    assert before[0] == before[1] == gone.cache_salt
    scheduling.leave(gone)
    scheduling.lost({4, 2})
    after = [one.cache_salt for one in (waits, running, other, tenant)]
    assert after[0] == after[1] != before[0]
    assert after[2] == before[2]  # of another composition
    assert after[3] not in (before[3], after[0])
    assert waits.block_hashes == [waits.cache_salt]
    late = request(card, known, "f")
    scheduling.arrive(late)
    assert late.cache_salt == after[0]
    assert scheduling.take_counts() == {"failed": 1}
    scheduling.lost(set())
    scheduling.lost({5})  # nobody's
    assert (late.cache_salt, other.cache_salt) == (after[0], after[2])


def test_of_too_many_that_failed_none_is_remembered_and_nothing_found(
    card: ReaderCard, known: list[Cartridge], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.vllm.scheduling._REMEMBERED", 1)
    stored = {one.id: one.manifest for one in known}
    scheduling, salts = Scheduling(card, stored.__getitem__, most=4), set()
    waits = request(card, known, "waits")
    scheduling.arrive(waits)
    for at, chosen in enumerate((known[:1], known[1:], known[:1])):
        one = request(card, chosen, f"r{at}")
        scheduling.arrive(one)
        salts |= {one.cache_salt, waits.cache_salt}
        scheduling.allocated(one, [at], 3)
        scheduling.leave(one)
        scheduling.lost({at})
    assert len(salts) == 5  # the third found nothing of the first, nor what waited of what it was
    assert len(scheduling._spoiled) <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"kv_transfer_params": {"cartridges": ["c" + "0" * 40]}},
        {"kv_transfer_params": {"cartridges": "all"}},
        {"sampling_params": sampling(prompt_logprobs=1), "skip_reading_prefix_cache": True},
        {"sampling_params": sampling(prompt_logprob_token_ids=[[5]])},
        {"sampling_params": None},
        {"lora_request": object()},
        {"prompt_token_ids": None},
        {"prompt_token_ids": [5], "_all_token_ids": [5], "num_prompt_tokens": 1},
        {"prompt_token_ids": [5] * 40, "_all_token_ids": [5] * 40, "num_prompt_tokens": 40},
    ],
)
def test_what_cannot_be_mounted_fails_by_its_first_block(
    scheduling: Scheduling, card: ReaderCard, known: list[Cartridge], wrong: dict[str, Any]
) -> None:
    salts = set()
    for id in ("one", "two"):
        bad = request(card, known, id, **wrong)
        scheduling.arrive(bad)
        assert not bad.skip_reading_prefix_cache
        assert bad.num_prompt_tokens > 1
        assert scheduling.missing(bad, 0) == 1
        scheduling.allocated(bad, [3, 4], 1)
        step = scheduling.take_step()
        assert step.failed_blocks == {3}
        assert not step.loads
        salts.add(bad.cache_salt)
    assert len(salts) == 2  # they share no blocks, even with each other
    assert scheduling.take_counts() == {"refused": 2}
