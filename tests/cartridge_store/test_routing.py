"""Routing: residency within a bound, a stable home for what is cold, the same choice everywhere."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartridge_store.routing import Homes, choose, key_of, limit, ranked

NAMES = [f"node-{number}" for number in range(12)]

bounds = st.floats(1.0, 3.0)


@st.composite
def views(draw: st.DrawFn) -> tuple[dict[int, float], np.ndarray, np.ndarray]:
    """What nodes hold, their loads, and their scores for some key."""
    count = draw(st.integers(1, len(NAMES)))
    loads = draw(st.lists(st.integers(0, 40), min_size=count, max_size=count))
    worth = draw(st.dictionaries(st.integers(0, count - 1), st.floats(0.25, 4.0)))
    key = draw(st.integers(0, 2**64 - 1))
    return worth, np.array(loads, dtype=np.int64), Homes(NAMES[:count]).scores([key])[0]


@given(views(), bounds)
def test_nobody_gets_more_than_the_bound_allows(
    view: tuple[dict[int, float], np.ndarray, np.ndarray], bound: float
) -> None:
    worth, loads, scores = view
    most = limit(loads, bound)
    node = choose(worth, loads, scores, bound)
    assert loads[node] + 1 <= most
    # And the bound is one on the mean of what there then is.
    assert most - 1 < bound * (int(loads.sum()) + 1) / len(loads)


@given(views(), bounds)
def test_of_those_that_may_take_it_the_one_that_holds_most_does(
    view: tuple[dict[int, float], np.ndarray, np.ndarray], bound: float
) -> None:
    worth, loads, scores = view
    open_ = [node for node in range(len(loads)) if loads[node] < limit(loads, bound)]
    node = choose(worth, loads, scores, bound)
    assert worth.get(node, 0.0) == max(worth.get(other, 0.0) for other in open_)
    equals = [other for other in open_ if worth.get(other, 0.0) == worth.get(node, 0.0)]
    assert scores[node] == max(scores[other] for other in equals)


@given(views(), bounds)
def test_every_node_is_tried_once_and_the_chosen_one_first(
    view: tuple[dict[int, float], np.ndarray, np.ndarray], bound: float
) -> None:
    order = ranked(*view, bound)
    assert order[0] == choose(*view, bound)
    assert sorted(order) == list(range(len(view[1])))
    assert order == ranked(*view, bound)  # the same view, the same choice


@given(st.sets(st.sampled_from(NAMES), min_size=1), st.sampled_from(NAMES), st.integers(0, 2**32))
def test_who_joins_takes_keys_and_moves_none_between_others(
    nodes: set[str], joining: str, seed: int
) -> None:
    before, after = sorted(nodes), sorted(nodes | {joining})
    keys = np.random.default_rng(seed).integers(0, 2**63, 200).astype(np.uint64)
    homes = [before[place] for place in Homes(before).scores(keys).argmax(axis=1)]
    now = [after[place] for place in Homes(after).scores(keys).argmax(axis=1)]
    assert {new for old, new in zip(homes, now, strict=True) if old != new} <= {joining}


@given(st.permutations(NAMES))
def test_the_order_in_which_nodes_are_known_does_not_matter(names: list[str]) -> None:
    idle = np.zeros(len(names), dtype=np.int64)
    key = key_of(["house/boiler"])
    assert (
        NAMES[choose({}, idle, Homes(NAMES).scores([key])[0])]
        == names[choose({}, idle, Homes(names).scores([key])[0])]
    )


def test_homes_are_spread_evenly() -> None:
    keys = [key_of([f"house/{number}"]) for number in range(6000)]
    count = Counter(Homes(NAMES).scores(keys).argmax(axis=1).tolist())
    assert len(count) == len(NAMES)
    assert 0.8 * 500 < min(count.values()) <= max(count.values()) < 1.2 * 500


def test_a_key_is_of_a_set() -> None:
    assert key_of(["a", "b"]) == key_of(["b", "a", "a"])
    assert len({key_of(names) for names in (["a"], ["b"], ["a", "b"], ["ab"], [])}) == 5


def test_without_a_node_or_with_less_than_the_mean_there_is_no_choice() -> None:
    one = np.zeros(1, dtype=np.int64)
    for loads, bound in ((one[:0], 1.25), (one, 0.9)):
        with pytest.raises(ValueError, match="at least 1"):
            choose({}, loads, Homes(NAMES[: len(loads)]).scores([1])[0], bound)
