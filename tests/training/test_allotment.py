"""Slots go where they tell most, and never beyond their budget."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.allotment import Probe, allot


@st.composite
def probes(draw: st.DrawFn) -> list[Probe]:
    found = []
    for number in range(draw(st.integers(1, 6))):
        slots = sorted(draw(st.sets(st.integers(1, 200), min_size=1, max_size=4)))
        told = draw(
            st.lists(
                st.integers(-20, 25).map(lambda n: n / 20), min_size=len(slots), max_size=len(slots)
            ),
        )
        found.append(Probe(f"d{number}", tuple(slots), tuple(told)))
    return found


@given(probes(), st.integers(0, 1000), st.floats(0, 1))
def test_everybody_gets_what_was_tried_and_all_together_no_more_than_there_is(
    tried: list[Probe], budget: int, least: float
) -> None:
    found = allot(tried, budget, least)
    assert found.keys() == {probe.name for probe in tried}
    for probe in tried:
        assert probe.slots[0] <= found[probe.name] <= probe.slots[-1]
    given = sum(found.values())
    assert given <= max(budget, sum(probe.slots[0] for probe in tried))
    # What is left over would help nobody of whom anything is expected.
    for probe in tried:
        if max(probe.told) < least:
            assert found[probe.name] == probe.slots[0]
        elif given < budget:
            best = max(probe.told)
            assert found[probe.name] >= next(
                slots
                for slots, told in zip(probe.slots, accumulate(probe.told, max), strict=True)
                if told == best
            )


@given(probes(), st.integers(0, 1000))
def test_the_order_of_documents_changes_nothing_for_one_that_stands_out(
    tried: list[Probe], budget: int
) -> None:
    needy = Probe("needy", (10, 40), (0.0, 40.0))
    assert (
        allot([*tried, needy], budget, -1.0)["needy"]
        == allot([needy, *tried], budget, -1.0)["needy"]
    )


def test_slots_go_where_they_tell_most() -> None:
    prose = Probe("prose", (10, 20, 40), (0.8, 0.85, 0.87))
    table = Probe("table", (10, 20, 40), (0.2, 0.5, 0.9))
    assert allot([prose, table], 40, 0.5) == {"prose": 10, "table": 30}
    # Few slots that tell nothing yet are not held against those that follow.
    late = Probe("late", (10, 20, 40), (0.1, 0.1, 0.9))
    assert allot([prose, late], 50, 0.5) == {"prose": 10, "late": 40}


def test_what_is_not_expected_to_pass_gets_the_fewest() -> None:
    random_numbers = Probe("numbers", (10, 20, 40), (0.0, 0.05, 0.3))
    prose = Probe("prose", (10, 20, 40), (0.5, 0.7, 0.8))
    assert allot([random_numbers, prose], 40, 0.5) == {"numbers": 10, "prose": 30}
    assert allot([random_numbers, prose], 40, 0.0) == {"numbers": 20, "prose": 20}


@pytest.mark.parametrize(("slots", "told"), [((), ()), ((1, 2), (0.5,)), ((2, 2), (0.1, 0.2))])
def test_a_probe_that_is_none_is_refused(slots: tuple[int, ...], told: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="numbers of slots"):
        Probe("d", slots, told)
