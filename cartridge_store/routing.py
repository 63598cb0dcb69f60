"""Routing: which of several nodes a question goes to, from what they hold and how busy they are.

Where most of its cartridges are already, as long as that node is not much busier than the others; what
nobody holds has a home by rendezvous hashing, so that it is fetched once and found there again. Pure: the
same view gives the same choice in every router. Knows names and numbers; knows no registry, no clock and
no HTTP.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

BOUND = 1.25
"""How many times the mean load a node may have, by default."""

Scores = NDArray[np.uint64]
Loads = NDArray[np.int64]


def key_of(wanted: Iterable[str]) -> int:
    """A number of 64 bits for a set of names; their order and repetitions do not matter."""
    digest = hashlib.blake2b("\n".join(sorted(set(wanted))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


class Homes:
    """Rendezvous hashing: every key ranks all nodes, independently for each node.

    A node that joins takes keys from the others and moves none between them; when it leaves, its keys
    alone move.
    """

    def __init__(self, nodes: Sequence[str]) -> None:
        """`nodes` are distinct names; scores come in their order."""
        self._seeds = np.array([key_of([node]) for node in nodes], dtype=np.uint64)

    def scores(self, keys: Sequence[int] | Scores) -> Scores:
        """uint64 `[keys, nodes]`: the node with a key's highest score is its home."""
        column = np.asarray(keys, dtype=np.uint64)[:, None]
        return _mixed(column ^ self._seeds[None, :])


def limit(loads: Loads, bound: float) -> int:
    """How many questions a node may have when one more has come: `bound` times the mean, rounded up."""
    return math.ceil(bound * (int(loads.sum()) + 1) / len(loads))


def choose(worth: Mapping[int, float], loads: Loads, scores: Scores, bound: float = BOUND) -> int:
    """The place of the node that a question goes to.

    `worth` says how much of what is wanted a node holds, for those that hold anything; `loads` (int64
    `[nodes]`) are questions under way, `scores` (uint64 `[nodes]`) the wanted key's. Of the nodes that may
    take one more question, the one that holds most; of equals, and of all when none of these holds
    anything, the one with the highest score. With `bound` >= 1 there always is one. Raises ValueError for
    less, or without nodes.
    """
    if bound < 1 or not len(loads):
        raise ValueError("Routing needs a node, and a bound of at least 1.")
    most = limit(loads, bound)
    open_ = [(held, int(scores[node]), -node) for node, held in worth.items() if loads[node] < most]
    if open_:
        return -max(open_)[2]
    return int(np.where(loads < most, scores, 0).argmax())


def ranked(
    worth: Mapping[int, float], loads: Loads, scores: Scores, bound: float = BOUND
) -> list[int]:
    """All nodes: the chosen one first, then those to try when it cannot be reached, in turn.

    Raises as `choose` does.
    """
    first = choose(worth, loads, scores, bound)
    rest = [node for node in range(len(loads)) if node != first]
    rest.sort(key=lambda node: (loads[node], -int(scores[node])))
    return [first, *rest]


def _mixed(numbers: Scores) -> Scores:
    """The finaliser of SplitMix64: every bit of the input changes half of the output."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Scores = numbers ^ (numbers >> np.uint64(31))
    return mixed
