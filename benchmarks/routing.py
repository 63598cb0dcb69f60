"""Routing simulated: a thousand nodes, ten million documents, and who is asked for what.

`cartridges bench routing` runs this and writes `docs/results/routing.json`. The choice is production's
(`cartridge_store.routing`); nodes are lists of what they hold, the network a count of what they fetch,
time a count of questions. Redis is measured on a real server and extrapolated. This file knows policies
and caches; it knows no reader and no HTTP.
"""

import tempfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.routing_demand import Demand, DemandPlan, draw
from benchmarks.routing_redis import redis_bytes
from cartridge_store.routing import BOUND, Homes, Loads, Scores, choose
from evaluation.results import Claim, begin, write_result
from evaluation.statistics import estimate

Report = Callable[[str, float], None]

Policy = Literal[
    "random", "hashing", "hashing_bounded", "hashing_document", "hashing_collection", "residency"
]
POLICIES: tuple[Policy, ...] = (
    "random",  # any node
    "hashing",  # the composition's home, however busy it is
    "hashing_bounded",  # the composition's home, or the next that is not too busy
    "hashing_document",  # the home of the document found first, or the next that is not too busy
    "hashing_collection",  # the same for the collection: all that a router without search knows
    "residency",  # where its cartridges are, within the bound
)
Found = dict[tuple[float, int, Policy], list[dict[str, float]]]
"""What came of each run, by exponent, documents in a collection, and policy."""

_CHUNK = 512
_SAMPLED_EVERY = 200


@dataclass(frozen=True, slots=True)
class RoutingPlan:
    """How large the world is and how long it is watched. The first half of the questions warms it up."""

    demand: DemandPlan = field(default_factory=DemandPlan)
    large_collections: int = 100_000  # documents each, in the last world
    nodes: int = 1_000
    cartridges_per_node: int = 256
    under_way_per_node: int = 4
    cartridge_megabytes: float = 90.0  # 785 slots of an 8B-shaped reader: docs/results/store.json
    bound: float = BOUND
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    exponents: tuple[float, ...] = (1.0, 0.8, 1.2)
    further_seeds: int = 3  # of every world after the first
    sampled: int = 10_000  # documents registered in Redis


@dataclass(slots=True)
class Watched:
    """What was counted after the warm-up."""

    wanted: int = 0
    hits: int = 0
    questions: int = 0
    whole: int = 0  # questions whose every cartridge was there
    moves: int = 0  # locations that came or went
    busiest: float = 0.0  # sum over samples of the largest load over the mean
    samples: int = 0

    def figures(self, megabytes: float) -> dict[str, float]:
        """Rates and means."""
        return {
            "hit_rate": self.hits / self.wanted,
            "whole_rate": self.whole / self.questions,
            "fetched_megabytes": megabytes * (self.wanted - self.hits) / self.questions,
            "location_writes": self.moves / self.questions,
            "load_max_over_mean": self.busiest / self.samples,
        }


class Nodes:
    """What every node holds, the least recently used leaving first, and who holds a document."""

    def __init__(self, count: int, capacity: int) -> None:
        self._held: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(count)]
        self._capacity = capacity
        self._where: dict[int, set[int]] = defaultdict(set)

    def worth(self, documents: Sequence[int]) -> dict[int, float]:
        """How many of the documents each node holds, for those that hold any."""
        worth: dict[int, float] = defaultdict(float)
        for document in documents:
            for node in self._where.get(document, ()):
                worth[node] += 1.0
        return worth

    def serve(self, node: int, documents: Sequence[int]) -> tuple[int, int]:
        """How many were there, and how many locations changed to bring the others."""
        held = self._held[node]
        hits = moves = 0
        for document in documents:
            if document in held:
                held.move_to_end(document)
                hits += 1
                continue
            if len(held) >= self._capacity:
                gone, _ = held.popitem(last=False)
                self._where[gone].discard(node)
                moves += 1
            held[document] = None
            self._where[document].add(node)
            moves += 1
        return hits, moves


def simulate(policy: Policy, demand: Demand, plan: RoutingPlan, seed: int) -> dict[str, float]:
    """One policy over one demand.

    A question stays at its node until as many others have come as are under way.
    """
    rng = np.random.default_rng([seed, 1])
    nodes = Nodes(plan.nodes, plan.cartridges_per_node)
    homes = Homes([f"node-{number}" for number in range(plan.nodes)])
    loads: Loads = np.zeros(plan.nodes, dtype=np.int64)
    under_way = plan.nodes * plan.under_way_per_node
    at: NDArray[np.int64] = np.zeros(len(demand.documents), dtype=np.int64)
    by = {"hashing_collection": demand.collections, "hashing_document": demand.firsts}
    keys = by.get(policy, demand.keys)
    watched, warm = Watched(), len(at) // 2
    scores: Scores = np.zeros((0, 0), dtype=np.uint64)
    for number, documents in enumerate(demand.documents):
        if number % _CHUNK == 0:
            scores = homes.scores(keys[number : number + _CHUNK])
        if number >= under_way:
            loads[at[number - under_way]] -= 1
        own = scores[number % _CHUNK]
        if policy == "random":
            node = int(rng.integers(plan.nodes))
        elif policy == "hashing":
            node = int(own.argmax())
        else:
            worth = nodes.worth(documents) if policy == "residency" else {}
            node = choose(worth, loads, own, plan.bound)
        at[number] = node
        loads[node] += 1
        hits, moves = nodes.serve(node, documents)
        if number < warm:
            continue
        watched.questions += 1
        watched.wanted += len(documents)
        watched.hits += hits
        watched.whole += hits == len(documents)
        watched.moves += moves
        if number % _SAMPLED_EVERY == 0:
            watched.busiest += float(loads.max() / loads.mean())
            watched.samples += 1
    return watched.figures(plan.cartridge_megabytes)


def run_routing(out: Path, plan: RoutingPlan, report: Report = lambda *_: None) -> dict[str, Any]:
    """Simulate everything, measure Redis and write the result file."""
    began = begin()
    small, large = plan.demand.per_collection, plan.large_collections
    worlds = [*((exponent, small) for exponent in plan.exponents), (plan.exponents[0], large)]
    few = plan.seeds[: plan.further_seeds]
    runs = [
        (world, seed) for world in worlds for seed in (plan.seeds if world == worlds[0] else few)
    ]
    found: Found = defaultdict(list)
    for done, ((exponent, size), seed) in enumerate(runs):
        demand = draw(replace(plan.demand, per_collection=size), exponent, seed)
        for place, policy in enumerate(POLICIES):
            report(f"exponent {exponent}, seed {seed}", (done + place / len(POLICIES)) / len(runs))
            found[exponent, size, policy].append(simulate(policy, demand, plan, seed))
    report("Redis", 0.99)
    with tempfile.TemporaryDirectory(prefix="cartridges-routing-") as folder:
        redis = redis_bytes(Path(folder), plan.sampled)
    rows = [_row(*world, each) for world, each in found.items()]
    report("done", 1.0)
    return write_result(
        out,
        "routing",
        command=f"cartridges bench routing --seeds {len(plan.seeds)} --json",
        seeds=plan.seeds,
        rows=[_world(plan), redis, *rows],
        claims=_claims(plan, found, redis),
        began=began,
    )


def _world(plan: RoutingPlan) -> dict[str, Any]:
    return {
        "nodes": plan.nodes,
        "documents": plan.demand.documents,
        "documents_per_question": plan.demand.per_question,
        "questions": plan.demand.questions,
        "warm_up_questions": plan.demand.questions // 2,
        "cartridges_per_node": plan.cartridges_per_node,
        "cartridge_megabytes": plan.cartridge_megabytes,
        "under_way_per_node": plan.under_way_per_node,
        "bound": plan.bound,
    }


def _row(
    exponent: float, size: int, policy: Policy, runs: list[dict[str, float]]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "exponent": exponent,
        "documents_per_collection": size,
        "policy": policy,
        "seeds": len(runs),
    }
    for name in runs[0]:
        over = estimate([run[name] for run in runs])
        row[name] = float(f"{over.mean:.4g}")
        row[f"{name}_ci95"] = over.interval and [float(f"{end:.4g}") for end in over.interval]
    return row


def _claims(plan: RoutingPlan, found: Found, redis: dict[str, Any]) -> dict[str, Claim]:
    def of(policy: Policy, name: str, size: int = plan.demand.per_collection) -> list[float]:
        return [run[name] for run in found[plan.exponents[0], size, policy]]

    def fetched_over_residency(policy: Policy) -> list[float]:
        pairs = zip(
            of(policy, "fetched_megabytes"), of("residency", "fetched_megabytes"), strict=True
        )
        return [theirs / ours for theirs, ours in pairs]

    locations = plan.nodes * plan.cartridges_per_node
    gigabytes = (
        plan.demand.documents * redis["bytes_per_document"]
        + locations * redis["bytes_per_location"]
    ) / 1e9
    return {
        "nodes": Claim(estimate([plan.nodes]), ">= 1000"),
        "documents": Claim(estimate([plan.demand.documents]), ">= 10000000"),
        "hit_rate_residency": Claim(estimate(of("residency", "hit_rate"))),
        "hit_rate_hashing": Claim(estimate(of("hashing_bounded", "hit_rate"))),
        "hit_rate_hashing_document": Claim(estimate(of("hashing_document", "hit_rate"))),
        "hit_rate_hashing_collection": Claim(estimate(of("hashing_collection", "hit_rate"))),
        "hit_rate_hashing_large_collection": Claim(
            estimate(of("hashing_collection", "hit_rate", plan.large_collections))
        ),
        "hit_rate_residency_large_collection": Claim(
            estimate(of("residency", "hit_rate", plan.large_collections))
        ),
        "hit_rate_random": Claim(estimate(of("random", "hit_rate"))),
        "fetched_ratio_random_over_residency": Claim(
            estimate(fetched_over_residency("random")), ">= 1"
        ),
        "fetched_ratio_hashing_over_residency": Claim(
            estimate(fetched_over_residency("hashing_bounded")), ">= 1"
        ),
        "fetched_ratio_document_over_residency": Claim(
            estimate(fetched_over_residency("hashing_document")), ">= 1"
        ),
        "load_max_over_mean_residency": Claim(
            estimate(of("residency", "load_max_over_mean")), "<= 1.5"
        ),
        "load_max_over_mean_hashing_unbounded": Claim(
            estimate(of("hashing", "load_max_over_mean"))
        ),
        "redis_gigabytes": Claim(estimate([gigabytes])),
    }
