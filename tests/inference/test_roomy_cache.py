"""The cache with room to spare holds what one that grows by concatenation would."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from inference.roomy_cache import RoomyCache

ROWS, HEADS, WIDTH = 3, 2, 4


def drawn(seed: int, rows: int, columns: int) -> Tensor:
    return torch.randn(rows, HEADS, columns, WIDTH, generator=torch.Generator().manual_seed(seed))


@given(
    prefix=st.integers(0, 5),
    columns=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    kept=st.lists(st.lists(st.integers(0, ROWS - 1), min_size=1, unique=True), max_size=1),
)
def test_it_holds_what_concatenation_would(
    prefix: int, columns: list[int], kept: list[list[int]]
) -> None:
    began = [(drawn(layer, ROWS, prefix), drawn(-1 - layer, ROWS, prefix)) for layer in range(2)]
    expected = [list(pair) for pair in began]
    cache = RoomyCache(tuple(began))
    before = [tensor.clone() for pair in began for tensor in pair]
    for step, count in enumerate(columns):
        for layer in range(2):
            rows = expected[layer][0].shape[0]
            new = drawn(10 + step, rows, count), drawn(90 + step, rows, count)
            found = cache.update(*new, layer)
            for part in (0, 1):
                expected[layer][part] = torch.cat([expected[layer][part], new[part]], dim=2)
                assert torch.equal(found[part], expected[layer][part])
        if step == 0 and kept:
            cache.batch_select_indices(torch.tensor(kept[0]))
            expected = [[tensor[kept[0]] for tensor in pair] for pair in expected]
        assert cache.get_seq_length() == expected[0][0].shape[2]
    # What it began with is nobody's to write into.
    assert all(map(torch.equal, before, (tensor for pair in began for tensor in pair)))
