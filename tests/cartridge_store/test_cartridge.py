import re

import pytest
import torch
from store_samples import READER, TOKENIZER, make_cartridge

from cartridge_store.cartridge import Cartridge
from cartridge_store.errors import CartridgeRefused
from cartridge_store.manifest import PositionRule


def test_a_cartridge_knows_its_size() -> None:
    cartridge = make_cartridge(shape=(2, 1, 3, 4))
    assert re.fullmatch("c[0-9a-f]{40}", cartridge.id)
    assert cartridge.slots == 3
    assert cartridge.nbytes == 2 * (2 * 1 * 3 * 4) * 2
    assert cartridge.manifest.compression == 10.0


def test_the_same_training_gives_the_same_id() -> None:
    first, second = make_cartridge(), make_cartridge(figures={"held_out": 0.5, "seconds": 12.5})
    assert first.id == second.id
    assert first.manifest.figures != second.manifest.figures


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"document_id": "other.md"},
        {"collection": "garden"},
        {"document_tokens": 31},
        {"document_sha256": "0" * 64},
        {"reader_fingerprint": "0" * 64},
        {"tokenizer_fingerprint": "0" * 64},
        {"position_rule": PositionRule("fixed", 401)},
        {"position_rule": PositionRule("visible")},
        {"initialiser": "random"},
        {"recipe": {}},
        {"parent": "c" + "0" * 40},
        {"dtype": torch.float32},
        {"shape": (1, 2, 3, 4)},
    ],
)
def test_any_other_input_gives_another_id(change: dict[str, object]) -> None:
    assert make_cartridge(**change).id != make_cartridge().id  # type: ignore[arg-type]


def test_a_cartridge_does_not_follow_its_trainer() -> None:
    keys, recipe = torch.zeros(1, 1, 2, 2), {"steps": [1, 2]}
    first = make_cartridge()
    cartridge = Cartridge.create(
        keys,
        keys,
        collection="house",
        document_id="a",
        document_sha256=first.manifest.document_sha256,
        document_tokens=4,
        reader_fingerprint=READER,
        tokenizer_fingerprint=TOKENIZER,
        position_rule=PositionRule("visible"),
        initialiser="random",
        recipe=recipe,
        figures={},
    )
    keys += 1
    recipe["steps"].append(3)
    assert cartridge.keys.abs().sum() == 0
    assert cartridge.manifest.recipe == {"steps": [1, 2]}


@pytest.mark.parametrize(
    ("keys", "values", "reason"),
    [
        (torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), "dimension"),
        (torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 3), "dimension"),
        (torch.zeros(1, 1, 0, 2), torch.zeros(1, 1, 0, 2), "dimension"),
        (torch.zeros(1, 1, 2, 2).half(), torch.zeros(1, 1, 2, 2).half(), "bfloat16"),
        (torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2).bfloat16(), "bfloat16"),
        (torch.full((1, 1, 2, 2), torch.nan), torch.zeros(1, 1, 2, 2), "NaN"),
        (torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), torch.inf), "infinity"),
    ],
)
def test_tensors_that_are_no_cartridge_are_refused(
    keys: torch.Tensor, values: torch.Tensor, reason: str
) -> None:
    with pytest.raises(CartridgeRefused, match=reason):
        Cartridge.create(
            keys,
            values,
            collection="house",
            document_id="a",
            document_sha256="0" * 64,
            document_tokens=4,
            reader_fingerprint=READER,
            tokenizer_fingerprint=TOKENIZER,
            position_rule=PositionRule("visible"),
            initialiser="random",
            recipe={},
            figures={},
        )


def test_a_manifest_of_other_tensors_is_refused() -> None:
    cartridge = make_cartridge()
    with pytest.raises(CartridgeRefused, match="slots"):
        Cartridge(
            cartridge.manifest, cartridge.keys[:, :, :2].clone(), cartridge.values[:, :, :2].clone()
        )
    with pytest.raises(CartridgeRefused, match="float32"):
        Cartridge(cartridge.manifest, cartridge.keys.float(), cartridge.values.float())
    keys, values = (
        make_cartridge(shape=(2, 4, 3, 4)).keys,
        make_cartridge(shape=(2, 4, 3, 4)).values,
    )
    with pytest.raises(CartridgeRefused, match="contiguous"):
        Cartridge(cartridge.manifest, keys.transpose(0, 1), values.transpose(0, 1))


def test_only_its_own_reader_is_accepted() -> None:
    cartridge = make_cartridge()
    cartridge.require_reader(READER, TOKENIZER)
    with pytest.raises(
        CartridgeRefused, match=r"trained for the reader .* train document"
    ) as caught:
        cartridge.require_reader("0" * 64, TOKENIZER)
    assert caught.value.reason == str(caught.value)
    with pytest.raises(CartridgeRefused, match="trained for the tokenizer"):
        cartridge.require_reader(READER, "0" * 64)
