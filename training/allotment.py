"""How many slots each document of a collection gets: more where they tell more, within one budget.

Documents differ in what a slot can hold of them. Given how much of each some numbers of slots told after a
short training, the budget goes where the next slot tells most: the greedy way down the concave hulls,
which is the best one for a sum of concave functions. This file knows numbers alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(frozen=True, slots=True)
class Probe:
    """A document, some numbers of slots in ascending order, and what share of it each of them told.

    1 is all that its text tells of the answers to questions about it, 0 what is told without any slots.
    """

    name: str
    slots: tuple[int, ...]
    told: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.slots or len(self.slots) != len(self.told):
            raise ValueError("A probe needs numbers of slots, and what each of them told.")
        if any(few >= many for few, many in pairwise(self.slots)):
            raise ValueError("A probe's numbers of slots ascend.")


def allot(probes: Sequence[Probe], budget: int, least: float) -> dict[str, int]:
    """Slots for each document, by name; in all no more than `budget`, or the fewest of everyone's.

    One of which even the most slots told less than `least` gets the fewest: it is not expected to pass its
    check, and a document without a cartridge is answered from its text.
    """
    found = {probe.name: probe.slots[0] for probe in probes}
    worth = [probe for probe in probes if max(probe.told) >= least]
    left = budget - sum(found.values())
    steps = sorted(
        (-rate, place, until)
        for place, probe in enumerate(worth)
        for rate, until in _hull(probe)
        if rate > 0
    )
    for _, place, until in steps:
        name = worth[place].name
        more = min(until - found[name], left)
        if more > 0:
            found[name] += more
            left -= more
    return found


def _hull(probe: Probe) -> list[tuple[float, int]]:
    """What each next slot tells and until how many, along the upper concave hull: ever less."""
    corners: list[tuple[int, float]] = []
    # More slots tell no less: where a short training says so, it is chance.
    for point in zip(probe.slots, accumulate(probe.told, max), strict=True):
        while len(corners) > 1 and _rate(corners[-2], corners[-1]) <= _rate(corners[-1], point):
            corners.pop()
        corners.append(point)
    return [(_rate(one, other), other[0]) for one, other in pairwise(corners)]


def _rate(one: tuple[int, float], other: tuple[int, float]) -> float:
    return (other[1] - one[1]) / (other[0] - one[0])
