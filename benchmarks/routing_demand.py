"""Demand: which documents a long row of questions needs, drawn from Zipf's law.

The first document of a question by its rank in all collections; the others from those that stand near it
in its collection, as retrieval finds them. Knows numbers; knows no node and no policy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NEIGHBOURS = 8  # documents that may be found beside another one


@dataclass(frozen=True, slots=True)
class DemandPlan:
    """How many documents there are and how many questions ask for them."""

    documents: int = 10_000_000
    per_collection: int = 1_000
    per_question: int = 4
    questions: int = 200_000


@dataclass(frozen=True, slots=True)
class Demand:
    """For every question its documents, best first, and uint64 keys `[questions]`: of all of them, of the
    first, and of the collection."""

    documents: list[tuple[int, ...]]
    keys: NDArray[np.uint64]
    firsts: NDArray[np.uint64]
    collections: NDArray[np.uint64]


def draw(plan: DemandPlan, exponent: float, seed: int) -> Demand:
    """Questions that want the document of rank r with a weight of r to the power -`exponent`."""
    rng = np.random.default_rng([seed, 0])
    heaps = np.cumsum(np.arange(1, plan.documents + 1, dtype=np.float64) ** -exponent)
    ranks = np.searchsorted(heaps, rng.random(plan.questions) * heaps[-1])
    # What is popular stands anywhere: no collection holds all of it.
    first = rng.permutation(plan.documents)[ranks]
    collections = first // plan.per_collection
    beside = _beside(first, collections, plan, rng)
    found = np.column_stack([first, beside])
    documents = [tuple(dict.fromkeys(row)) for row in found.tolist()]
    # The order does not matter, and a document that stands twice is one.
    keys = np.array([hash(tuple(sorted(row))) for row in documents], dtype=np.int64)
    return Demand(
        documents,
        keys.view(np.uint64),
        _spread(first.astype(np.uint64)),
        _spread(collections.astype(np.uint64)),
    )


def _beside(
    first: NDArray[np.int64],
    collections: NDArray[np.int64],
    plan: DemandPlan,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Other documents `[questions, per_question - 1]`, of the few that are near the first."""
    count = plan.per_question - 1
    chosen = rng.random((len(first), _NEIGHBOURS)).argsort(axis=1)[:, :count]
    near = _spread(
        first[:, None].astype(np.uint64) * np.uint64(_NEIGHBOURS) + chosen.astype(np.uint64)
    )
    places = (near % np.uint64(plan.per_collection)).astype(np.int64)
    others: NDArray[np.int64] = collections[:, None] * plan.per_collection + places
    return np.minimum(others, plan.documents - 1)


def _spread(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    spread: NDArray[np.uint64] = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return spread ^ (spread >> np.uint64(29))
