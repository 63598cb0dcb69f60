"""The simulation of routing, small: its ends are known beforehand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.routing import POLICIES, Nodes, RoutingPlan, run_routing, simulate
from benchmarks.routing_demand import DemandPlan, draw

PLAN = RoutingPlan(
    demand=DemandPlan(documents=5_000, per_collection=100, questions=4_000),
    large_collections=1_000,
    nodes=20,
    cartridges_per_node=40,
    seeds=(0, 1),
    exponents=(1.0, 1.2),
    further_seeds=2,
    sampled=1_000,
)


def test_demand_falls_as_zipf_says_and_stays_within_a_collection() -> None:
    demand = draw(replace(PLAN.demand, questions=40_000), 1.0, 3)
    firsts = np.array([documents[0] for documents in demand.documents])
    counts = np.sort(np.unique(firsts, return_counts=True)[1])[::-1]
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.3)
    for documents in demand.documents[:500]:
        assert len({document // 100 for document in documents}) == 1
        assert 1 <= len(documents) <= 4
    again = draw(replace(PLAN.demand, questions=40_000), 1.0, 3)
    assert again.documents == demand.documents
    same = {frozenset(d): int(k) for d, k in zip(demand.documents, demand.keys, strict=True)}
    assert len(set(same.values())) == len(same)


def test_a_node_keeps_what_was_used_last() -> None:
    nodes = Nodes(2, 2)
    assert nodes.serve(0, (1, 2)) == (0, 2)
    assert nodes.serve(0, (1,)) == (1, 0)
    assert nodes.serve(0, (3,)) == (0, 2)  # 2 left for it
    assert nodes.worth((1, 2, 3)) == {0: 2.0}


def test_with_room_for_everything_residency_misses_a_document_once() -> None:
    plan = replace(PLAN, nodes=1, cartridges_per_node=5_000)
    demand = draw(plan.demand, 1.0, 0)
    warm, rest = demand.documents[:2_000], demand.documents[2_000:]
    known = {document for documents in warm for document in documents}
    new = {document for documents in rest for document in documents} - known
    wanted = sum(map(len, rest))
    for policy in POLICIES:  # on one node they are the same
        found = simulate(policy, demand, plan, 0)
        assert found["hit_rate"] == pytest.approx(1 - len(new) / wanted)
        assert found["load_max_over_mean"] == 1


def test_the_result_says_who_fetches_less_and_what_redis_takes(tmp_path: Path) -> None:
    run_routing(tmp_path, PLAN)
    result = json.loads((tmp_path / "routing.json").read_text())
    value = {name: claim["value"] for name, claim in result["claims"].items()}
    assert value["hit_rate_residency"] > value["hit_rate_random"]
    assert value["fetched_ratio_random_over_residency"] > 1
    assert value["load_max_over_mean_residency"] <= 1.5
    assert value["load_max_over_mean_hashing_unbounded"] > value["load_max_over_mean_residency"]
    _, redis, *rows = result["rows"]
    assert 100 < redis["bytes_per_location"] < 2000
    assert len(rows) == 3 * len(POLICIES)
    assert all(0 < row["hit_rate"] < 1 for row in rows)
