"""`cartridges reproduce living`: a small life from beginning to end, and what is claimed of it."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import living
from benchmarks.living import LivingPlan, claims_of, run_living
from benchmarks.service_process import QUICK
from evaluation.results import AnotherPlan

TITLES = ("Mill", "Ferry", "Choir", "Tower")


def articles(path: Path) -> Path:
    """Four articles in SQuAD's format, with questions that hold their titles."""
    data = [
        {
            "title": title,
            "paragraphs": [
                {
                    "context": f"The {title.lower()} of the valley was built by Mira Tolen in 18{n}0.",
                    "qas": [
                        {
                            "id": f"{title}{part}",
                            "question": f"Who built the {title.lower()} of the valley, part {part}?",
                            "answers": [{"text": "Mira Tolen"}],
                        }
                        for part in range(20)
                    ],
                }
            ],
        }
        for n, title in enumerate(TITLES)
    ]
    path.write_text(json.dumps({"data": data}))
    return path


@contextlib.contextmanager
def _nobody(*_: object, **__: object) -> Iterator[None]:
    pytest.fail("A service was started.")
    yield


def test_a_small_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = LivingPlan(
        seeds=(7,),
        documents=2,
        joined=1,
        updated=1,
        deleted=1,
        misled=1,
        asked=1,
        probes=12,
        open=2,
        training=QUICK | {"batch": 6, "accept_at": 0.0, "harm": 1.0, "probe_steps": 2},
        articles=articles(tmp_path / "dev.json"),
        about_articles=8,
        mixed=2,
        threads=1,  # other tests run beside it
    )
    said: list[str] = []
    result = run_living(tmp_path, plan, tmp_path / "work", lambda words, _: said.append(words))
    (row,), claims = result["rows"], result["claims"]
    assert row["published"] == 2
    assert row["joined_published"] == [1]
    assert len(row["seconds_to_text"]) == len(row["seconds_to_trained"]) == 1
    assert 0 < row["seconds_to_text"][0] < row["seconds_to_trained"][0]
    ways = {"alone", "composed", "retrieved"}
    assert row["joined"].keys() == row["whole"].keys() == ways | {"read_as_text"}
    assert row["probes"] == 12
    assert row["misleading"] == 1
    assert row["right_before_misleading"].keys() == row["misled"].keys()
    assert row["misled"].keys() == {"auto", "cartridge", "rag"}
    assert "misleading_noticed" in claims
    shared = row["shared_out"]
    assert {*shared["even"]["slots"]} == {*shared["adaptive"]["slots"]}
    assert len(shared["even"]["right_by_document"]) == 2
    assert shared["adaptive"]["bytes"] <= shared["even"]["bytes"]
    assert claims["deleted_facts_revealed"]["value"] == 0
    assert claims["joined_documents"]["met"] is False
    assert {"changed_facts_old", "join_step_ratio", "abstain_recall"} <= claims.keys()
    assert json.loads((tmp_path / "living.json").read_text())["claims"] == claims
    # What was measured is not measured again, and no service is started for it.
    monkeypatch.setattr(living, "serving", _nobody)
    again = run_living(tmp_path, plan, tmp_path / "work")
    assert again["rows"] == result["rows"]
    # Nor of what the file has, by whoever has the file alone; another seed would be.
    grown = run_living(tmp_path, plan, tmp_path / "elsewhere", more=True)
    assert grown["seeds"] == [7]
    assert grown["claims"] == claims
    with pytest.raises(AnotherPlan):
        run_living(tmp_path, replace(plan, asked=2), tmp_path / "elsewhere", more=True)


def test_claims_are_of_the_worst_way_and_of_what_is_known() -> None:
    row = {
        "seconds_to_text": [0.2, 0.4],
        "seconds_to_draft": [3.0],
        "seconds_to_trained": [20.0],
        "whole": {"alone": 0.9, "composed": 0.8, "read_as_text": 0.5},
        "joined": {"alone": 0.9, "composed": 0.75, "read_as_text": 0.1},
        "join_steps": [30, 40],
        "joined_published": [1, 0],
        "whole_steps": 700,
        "changed_new": 0.9,
        "changed_old": 0.0,
        "unchanged_before": 0.8,
        "unchanged_after": 0.79,
        "update_step_ratio": None,
        "probes": 200,
        "revealed": 0,
        "neighbours_before": 0.7,
        "neighbours_after": 0.7,
        "world_abstention": {"precision": 0.9, "recall": 0.8},
        "shared_out": {
            "even": {
                "right": 0.5,
                "bytes": 100,
                "slots": {"a": 10, "b": 10},
                "right_by_document": {"a": 0.4, "b": 0.6, "c": 0.5},
            },
            "adaptive": {
                "right": 0.57,
                "bytes": 90,
                "slots": {"b": 12, "c": 6},
                "right_by_document": {"a": 0.9, "b": 0.7, "c": 0.1},
            },
        },
    }
    claims = claims_of([row, row], LivingPlan(seeds=(1, 2), documents=18, joined=2))
    assert claims["join_gap_points"].value.mean == pytest.approx(5.0)
    assert claims["joined_read_as_text"].value.mean == pytest.approx(0.1)
    published = claims["joined_published"]
    assert (published.value.mean, published.to_dict()["met"]) == (0.5, False)
    assert claims["join_step_ratio"].value.mean == pytest.approx(0.1)
    assert claims["join_steps_per_document_ratio"].value.mean == pytest.approx(1.0)
    assert claims["world_abstain_recall"].value.mean == 0.8
    assert claims["adaptive_gain_points"].value.mean == pytest.approx(7.0)
    assert claims["adaptive_gain_of_cartridges_points"].value.mean == pytest.approx(10.0)
    assert claims["adaptive_bytes_ratio"].value.mean == 0.9
    assert "update_step_ratio" not in claims
    assert "abstain_recall" not in claims


def test_nobody_changes_and_leaves() -> None:
    with pytest.raises(ValueError, match="make these more"):
        LivingPlan(documents=3, updated=2, deleted=2)
