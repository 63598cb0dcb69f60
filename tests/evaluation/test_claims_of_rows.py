"""What result files claim is what their rows come to by the targets of today."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import living
from evaluation import cas, gates, reading
from evaluation.results import Claim

_RESULTS = Path(__file__).parents[2] / "docs" / "results"


def _cas(found: Mapping[str, Any]) -> dict[str, Claim]:
    seeds = [row for row in found["rows"] if "seed" in row]
    large = [row["large"] for row in found["rows"] if "large" in row]
    return cas.claims(seeds) | (cas.large_claims(large[0]) if large else {})


def _living(found: Mapping[str, Any]) -> dict[str, Claim]:
    plan = found["plan"]
    names = ("documents", "joined", "updated", "deleted", "misled", "changes", "asked", "probes")
    return living.claims_of(
        found["rows"], living.LivingPlan(**{name: plan[name] for name in names})
    )


def _reader(found: Mapping[str, Any]) -> dict[str, Claim]:
    claims = found["claims"]
    names = ("handwritten_em", "handwritten_unseen_em")  # of sheets that are no seed's
    return reading.claims(
        found["rows"], {name: claims[name]["value"] for name in names if name in claims}
    )


def _gates(found: Mapping[str, Any]) -> dict[str, Claim]:
    rows: Sequence[dict[str, Any]] = found["rows"]
    return gates.claims(rows)


@pytest.mark.parametrize(
    ("name", "claims"),
    [("cas", _cas), ("living", _living), ("reader", _reader), ("gates", _gates)],
)
def test_a_files_claims_are_those_of_its_rows(
    name: str, claims: Callable[[Mapping[str, Any]], dict[str, Claim]]
) -> None:
    found = json.loads((_RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert {key: claim.to_dict() for key, claim in claims(found).items()} == found["claims"]
