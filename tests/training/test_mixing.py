"""Distractor mixing: who stands beside an example's own cartridge."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.mixing import Mixing, visible_set
from training.settings import TrainingRefused

NAMES20 = [f"d{number:02}" for number in range(20)]
NAMES = [f"d{number:02d}" for number in range(12)]


@given(
    st.integers(0, 10_000),
    st.floats(0, 1),
    st.integers(1, 20),
    st.floats(0, 1),
    st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
)
def test_a_visible_set_holds_its_own_and_residents_in_order(
    seed: int, alone: float, most: int, hard: float, resident: list[str]
) -> None:
    own = resident[0]
    mixing = Mixing(alone=alone, most=most, hard=hard)
    seen = visible_set(mixing, own, resident, [n for n in NAMES if n != own], Random(seed))
    assert own in seen
    assert set(seen) <= set(resident)
    assert list(seen) == sorted(set(seen))
    assert len(seen) <= 1 + most


def test_alone_and_in_company_by_their_shares() -> None:
    rng = Random(0)
    seen = [visible_set(Mixing(alone=0.25, most=4), "d00", NAMES, (), rng) for _ in range(2_000)]
    alone = sum(len(each) == 1 for each in seen) / len(seen)
    assert 0.2 < alone < 0.3
    sizes = {len(each) - 1 for each in seen if len(each) > 1}
    assert sizes == {1, 2, 3, 4}


def test_hard_distractors_are_the_nearest_that_are_resident() -> None:
    near = ("d09", "d03", "d07", "d05")
    resident = ["d00", "d01", "d03", "d05", "d07"]  # d09 is not on the device
    rng = Random(1)
    for _ in range(200):
        seen = set(visible_set(Mixing(alone=0, most=3, hard=1), "d00", resident, near, rng))
        assert seen - {"d00"} in ({"d03"}, {"d03", "d07"}, {"d03", "d07", "d05"})


@pytest.mark.parametrize("wrong", [{"alone": 1.5}, {"hard": -0.1}, {"most": 0}])
def test_impossible_mixtures_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(TrainingRefused):
        Mixing(**wrong)  # type: ignore[arg-type]


def test_in_a_small_collection_too() -> None:
    rng = Random(0)
    for company, share in (("log", 1 / 2), ("uniform", 1 / 3)):
        mixing = Mixing(alone=0.0, most=19, company=company)  # type: ignore[arg-type]
        sizes = [len(visible_set(mixing, "d00", NAMES20[:4], (), rng)) - 1 for _ in range(4_000)]
        assert set(sizes) == {1, 2, 3}
        assert abs(sizes.count(1) / len(sizes) - share) < 0.03
    assert visible_set(Mixing(alone=0.0), "d00", ["d00"], (), rng) == ("d00",)


def test_company_is_of_every_size_and_mostly_small() -> None:
    rng = Random(0)
    for company, share in (("log", 0.23), ("uniform", 1 / 19)):
        mixing = Mixing(alone=0.0, most=19, company=company)  # type: ignore[arg-type]
        sizes = [len(visible_set(mixing, "d00", NAMES20, (), rng)) - 1 for _ in range(4_000)]
        assert set(sizes) == set(range(1, 20))
        assert abs(sizes.count(1) / len(sizes) - share) < 0.02
