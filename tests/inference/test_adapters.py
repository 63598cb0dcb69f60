"""PEFT's CARTRIDGE adapters both ways: the same logits through `PeftModel`, and back to the same slots."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from cartridge_store.cartridge import Cartridge
from cartridge_store.errors import CartridgeRefused
from cartridge_store.manifest import PositionRule
from inference.adapters import CONFIG, WEIGHTS, read_adapter, rotated, write_adapter
from inference.composer import compose
from inference.reader import Reader, load_reader
from tests.models import FAMILIES, TEXT, write_tiny_model

OFFSET = 96


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("adapters") / request.param, request.param)


@pytest.fixture(scope="module")
def reader(model: Path) -> Reader:
    return load_reader(model, dtype="float32")


def cartridge(reader: Reader, name: str, rule: PositionRule, start: int = 0) -> Cartridge:
    """Some columns of a text as a cartridge."""
    text = reader.prefill_documents([TEXT])
    keys, values = (
        torch.stack([layer[side][0, :, start : start + 7] for layer in text]) for side in (0, 1)
    )
    return Cartridge.create(
        keys,
        values,
        collection="default",
        document_id=name,
        document_sha256="0" * 64,
        document_tokens=70,
        reader_fingerprint=reader.fingerprint,
        tokenizer_fingerprint=reader.tokenizer_fingerprint,
        position_rule=rule,
        initialiser="spread",
        recipe={},
        figures={},
    )


@torch.no_grad()
def our_logits(reader: Reader, cartridges: list[Cartridge], ids: list[int]) -> Tensor:
    prefix = compose(reader, cartridges)
    tokens = torch.tensor([ids], device=reader.device)
    positions = prefix.question_at + torch.arange(len(ids), device=reader.device)[None]
    mask = torch.ones((1, prefix.length + len(ids)), dtype=torch.long, device=reader.device)
    hidden, _ = reader.forward(tokens, prefix.layers, mask, positions)
    return reader.logits(hidden)


@torch.no_grad()
def peft_logits(model: Path, adapter: Path, ids: list[int]) -> Tensor:
    peft = pytest.importorskip("peft", reason="the extra 'bench' is not installed")
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    loaded: Any = peft.PeftModel.from_pretrained(base, adapter).eval()
    return loaded(input_ids=torch.tensor([ids])).logits.float()


@pytest.mark.parametrize("rule", [PositionRule("fixed", OFFSET), PositionRule("visible")])
def test_an_exported_adapter_gives_the_same_logits_through_peft(
    model: Path, reader: Reader, rule: PositionRule, tmp_path: Path
) -> None:
    composed = [cartridge(reader, "a", rule), cartridge(reader, "b", rule, start=9)]
    write_adapter(reader, composed, tmp_path, base_model=str(model))
    ids = reader.chat.question("Who painted the north gate?")
    theirs = peft_logits(model, tmp_path, ids)
    torch.testing.assert_close(theirs, our_logits(reader, composed, ids), atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("rule", [PositionRule("fixed", OFFSET), PositionRule("visible")])
def test_a_round_trip_gives_the_same_slots(
    model: Path, reader: Reader, rule: PositionRule, tmp_path: Path
) -> None:
    before = cartridge(reader, "a", rule)
    write_adapter(reader, [before], tmp_path, base_model=str(model))
    keys, values, found = read_adapter(reader, tmp_path, OFFSET)
    assert found == rule
    torch.testing.assert_close(keys, before.keys, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(values, before.values)


def test_an_adapter_with_a_first_column_of_its_own_keeps_it_as_a_slot(
    model: Path, reader: Reader, tmp_path: Path
) -> None:
    write_adapter(
        reader, [cartridge(reader, "a", PositionRule("visible"))], tmp_path, base_model=str(model)
    )
    flat = load_file(tmp_path / WEIGHTS)["prompt_embeddings"]
    flat[0] = flat[3] * 2
    save_file({"prompt_embeddings": flat}, tmp_path / WEIGHTS)
    keys, values, rule = read_adapter(reader, tmp_path, OFFSET)
    assert rule == PositionRule("visible")
    assert keys.shape[2] == values.shape[2] == len(flat)


def test_turning_forth_and_back_changes_nothing(reader: Reader) -> None:
    keys = reader.prefill_documents([TEXT])[0][0]
    torch.testing.assert_close(rotated(reader, rotated(reader, keys, 37), -37), keys)
    torch.testing.assert_close(rotated(reader, keys, 0), keys)


def test_what_is_no_adapter_of_this_reader_is_refused(
    model: Path, reader: Reader, tmp_path: Path
) -> None:
    with pytest.raises(CartridgeRefused, match="cannot be read"):
        read_adapter(reader, tmp_path, OFFSET)
    write_adapter(
        reader, [cartridge(reader, "a", PositionRule("visible"))], tmp_path, base_model=str(model)
    )
    good = load_file(tmp_path / WEIGHTS)["prompt_embeddings"]
    for bad, said in (
        (good[:, :-2], "another model"),
        (good.clone().fill_(float("nan")), "NaN"),
        (good[0], "another model"),
    ):
        save_file({"prompt_embeddings": bad.contiguous()}, tmp_path / WEIGHTS)
        with pytest.raises(CartridgeRefused, match=said):
            read_adapter(reader, tmp_path, OFFSET)
    save_file({"other": good}, tmp_path / WEIGHTS)
    with pytest.raises(CartridgeRefused, match="no tensor"):
        read_adapter(reader, tmp_path, OFFSET)
    (tmp_path / WEIGHTS).write_bytes(b"no safetensors")
    with pytest.raises(CartridgeRefused, match="cannot be read"):
        read_adapter(reader, tmp_path, OFFSET)
    (tmp_path / CONFIG).write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(CartridgeRefused, match="CARTRIDGE"):
        read_adapter(reader, tmp_path, OFFSET)
    (tmp_path / CONFIG).write_text("[]")
    with pytest.raises(CartridgeRefused, match="JSON object"):
        read_adapter(reader, tmp_path, OFFSET)
