"""The fleet's benchmark, small and without Ray: both arms are one process, so they must agree."""

import json
from pathlib import Path

from benchmarks.fleet import FleetPlan, run_fleet


def test_equal_arms_publish_the_same_cartridges_once(tmp_path: Path) -> None:
    told: list[float] = []
    plan = FleetPlan(documents=4, group=3, workers=0)
    result = run_fleet(None, tmp_path, plan, lambda _, done: told.append(done))
    claims = {name: claim["value"] for name, claim in result["claims"].items()}
    assert claims["documents"] == 4
    assert claims["published_more_than_once"] == claims["differing_cartridges"] == 0
    assert claims["speedup_2_workers"] > 0
    assert [row["killed_workers"] for row in result["rows"]] == [0, 0]
    assert told == sorted(told)
    assert json.loads((tmp_path / "fleet.json").read_text("utf-8")) == result
