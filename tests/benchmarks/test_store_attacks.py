"""The store's benchmark in small: real kills, real Redis, and figures that say what was tried."""

import json
from pathlib import Path

from benchmarks.store import StorePlan, run_store
from benchmarks.store_kills import _last


def test_a_few_rounds_lose_nothing(tmp_path: Path) -> None:
    plan = StorePlan(
        rounds=10,
        service_rounds=1,
        fuzz_seconds=1.0,
        positions=60,
        cartridges=50,
        lookups=20,
        loads=2,
        shape=(2, 2, 50, 8),
    )
    result = run_store(tmp_path, plan)
    stored = json.loads((tmp_path / "store.json").read_text())
    assert stored["claims"] == result["claims"]
    kills = next(row for row in result["rows"] if "kills" in row)
    assert kills["losses"] == []
    assert (kills["kill_rounds"], kills["kills"], kills["redis_kills"]) == (10, 50, 1)
    assert kills["published"] > 10
    assert kills["trained"] > 0
    service = next(row for row in result["rows"] if "service_kill_rounds" in row)
    assert service["service_losses"] == []
    assert service["service_documents"] > 0
    fuzzing = next(row for row in result["rows"] if "fuzz_files" in row)
    assert fuzzing["fuzz_crash_examples"] == []
    assert fuzzing["fuzz_refused"] > 100
    assert result["claims"]["kill_rounds"]["value"] == 11
    claims = {name: claim["value"] for name, claim in result["claims"].items()}
    assert claims["bitflips_tried"] == 480
    assert claims["bitflips_accepted"] == 0
    assert claims["cold_reads_for_100_requests"] == 1


def test_the_last_versions_are_those_that_none_replaced() -> None:
    assert _last([("a", None), ("b", "a"), ("d", "b"), ("c", None)]) == {"d", "c"}
