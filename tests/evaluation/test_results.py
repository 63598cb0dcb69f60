"""Result files carry what a reader needs to trust them, and tables follow from them alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.results import AnotherPlan, Claim, begin, earlier_rows, require_plan, write_result
from evaluation.statistics import estimate
from evaluation.tables import PAGES, arms, composed, rendered, table

ROOT = Path(__file__).parents[2]


def test_a_missed_target_stays_in_the_file(tmp_path: Path) -> None:
    result = write_result(
        tmp_path,
        "sample",
        command="cartridges reproduce sample",
        seeds=[1, 2],
        rows=[{"seed": 1, "x": 0.1}],
        claims={
            "low": Claim(estimate([0.1, 0.2]), ">= 0.90"),
            "high": Claim(estimate([0.95, 0.97]), ">= 0.90"),
            "plain": Claim(estimate([3.0])),
        },
        began=begin(),
    )
    assert json.loads((tmp_path / "sample.json").read_text()) == result
    assert [claim["met"] for claim in result["claims"].values()] == [False, True, None]
    assert result["claims"]["plain"]["ci95"] is None
    assert "**missed**" in table(result)
    assert {"commit", "date", "machine", "seeds", "command"} <= result.keys()


def test_rows_of_earlier_seeds_say_what_they_were_measured_by(tmp_path: Path) -> None:
    plan = {"documents": 2, "loaded": (1, 2)}

    def written(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return write_result(
            tmp_path,
            "grown",
            command="c",
            seeds=[1],
            rows=rows,
            claims={},
            began=begin(),
            plan=plan,
        )

    assert earlier_rows(tmp_path, "grown", plan) == []
    first = written([{"seed": 1}])
    head = {key: first[key] for key in ("commit", "date", "machine")}
    kept = earlier_rows(tmp_path, "grown", plan)
    assert kept == [{"seed": 1, "measured": head}]
    # Once more, by another commit: the first row stays that of its own.
    kept[0]["measured"]["commit"] = "of then"
    written([*kept, {"seed": 2}])
    again = earlier_rows(tmp_path, "grown", plan)
    assert again == [*kept, {"seed": 2, "measured": head}]
    grown = json.loads((tmp_path / "grown.json").read_text())
    assert f"; 1 earlier, {first['date']}, commit of then." in table(grown)
    with pytest.raises(AnotherPlan, match=r"documents was \d+ and is 3.*--more"):
        earlier_rows(tmp_path, "grown", plan | {"documents": 3})


def test_a_working_folder_is_one_plans(tmp_path: Path) -> None:
    plan = {"documents": 2, "loaded": (1, 2)}
    for _ in range(2):
        require_plan(tmp_path / "work", plan)
    with pytest.raises(AnotherPlan, match=r"another plan \(documents was 2 and is 3\)"):
        require_plan(tmp_path / "work", plan | {"documents": 3})
    require_plan(tmp_path / "nested", {"training": {"steps": 1, "lr": 2}})
    with pytest.raises(AnotherPlan, match=r"\(training.steps was 1 and is null\)"):
        require_plan(tmp_path / "nested", {"training": {"lr": 2}})
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "articles.json").write_text("{}")
    require_plan(tmp_path / "given", plan)
    (tmp_path / "old" / "10x").mkdir(parents=True)
    with pytest.raises(AnotherPlan, match="delete this one"):
        require_plan(tmp_path / "old", plan)


def test_what_arms_scored_is_a_table_for_each_compression() -> None:
    arm = {
        "arm": "rag_3",
        "questions": 40,
        "score": [0.75, 0.6, 0.9],
        "prompt_tokens": 433.4,
        "cartridge_slots": 0.0,
        "first_token_ms": 87.6,
    }
    only = arm | {"arm": "icl", "score": [0.5, None, None]}
    made = arms(
        {"rows": [{"compression": 10.0, "arms": [arm, only]}, {"articles": 3, "arms": [{}]}]}
    )
    assert made.count("document tokens a slot") == 1
    assert "| `rag_3` | 40 | 0.75 | 0.6 to 0.9 | 433 | 0 | 88 |" in made
    assert "| `icl` | 40 | 0.5 |  | 433 | 0 | 88 |" in made
    assert arms({"rows": [{"seed": 1}]}) == ""


def test_what_is_loaded_together_is_a_table_over_the_seeds() -> None:
    def row(seed: int, right: float) -> dict[str, Any]:
        em = {"icl": {"1": 0.9}, "mixed": {"1": right, "8": 0.5}, "monolithic": {"all": 0.1}}
        return {"seed": seed, "em": em}

    made = composed({"rows": [row(1, 0.7), row(2, 0.8), {"large": {}}]})
    assert made.startswith("| loaded together | 1 | 8 |\n")
    assert "| `icl` | 0.900 |  |\n" in made
    assert "| `mixed` | 0.750 | 0.500 |\n" in made
    assert "monolithic" not in made
    assert composed({"rows": [{"seed": 1}]}) == ""


def test_pages_are_made_from_the_result_files(tmp_path: Path) -> None:
    write_result(
        tmp_path,
        "gates",
        command="c",
        seeds=[1],
        rows=[],
        claims={"icl_em": Claim(estimate([0.5, 0.7]), ">= 0.90")},
        began=begin(),
    )
    page = "before\n<!-- results:gates -->\nold\n<!-- /results -->\nafter\n"
    fresh = rendered(page, tmp_path)
    assert "old" not in fresh
    assert "0.6" in fresh
    assert rendered(fresh, tmp_path) == fresh


def test_the_documentation_shows_what_was_measured() -> None:
    for name in PAGES:
        page = (ROOT / name).read_text(encoding="utf-8")
        assert "<!-- results:" in page
        assert rendered(page, ROOT / "docs" / "results") == page, f"{name}: make reproduce"
