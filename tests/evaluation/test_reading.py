"""Measuring the reader: what a question asks for, what is counted, and that every part runs."""

import json
from pathlib import Path

import pytest

from evaluation import reading
from evaluation.reading import (
    _TARGETS,
    ReadingPlan,
    asks_for,
    claims,
    read_handwritten,
    run_reading,
)
from inference.reader import load_reader
from reader.facts import Fact
from tests.models import write_tiny_model

FACT = Fact(
    "agent",
    "the gate of the Aldora",
    "the gate",
    "Mira Tolen",
    (("past", "painted"), ("third", "paints"), ("part", "painted")),
)


@pytest.mark.parametrize(
    ("question", "about"),
    [
        ("Who painted the gate of the Aldora?", True),
        ("By whom was the gate painted?", True),
        ("Who painted the roof?", False),
        ("When was the gate built?", False),
    ],
)
def test_a_question_is_about_a_fact_when_it_names_subject_and_what_is_said(
    question: str, about: bool
) -> None:
    assert asks_for(question, FACT) is about


def test_a_synonym_that_the_reader_was_taught_asks_for_a_fact_too() -> None:
    keeper = Fact("holder", "the Aldora", "the Aldora", "Mira Tolen", (("N", "keeper"),))
    assert asks_for("Who is the custodian of the Aldora?", keeper)
    assert not asks_for("Who is the skipper of the Aldora?", keeper)


def test_claims_are_means_over_seeds_and_handwritten_has_no_interval() -> None:
    row = dict.fromkeys(_TARGETS, 0.9) | {"no_context_em": 0.0}
    found = claims([row, {**row, "em_1k": 1.0}], {"handwritten_em": 0.5})
    assert found["em_1k"].to_dict()["value"] == pytest.approx(0.95)
    assert found["em_1k"].to_dict()["met"]
    assert found["handwritten_em"].to_dict()["ci95"] is None
    assert not found["handwritten_em"].to_dict()["met"]


def test_handwritten_sheets_count_any_accepted_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = load_reader(write_tiny_model(tmp_path / "reader"), dtype="float32")
    (tmp_path / "sheet.md").write_text("# A sheet\n\nThe gate is green.", encoding="utf-8")
    questions = [{"question": "What colour is the gate?", "accepted": ["green", "dark green"]}]
    (tmp_path / "sheet.json").write_text(json.dumps(questions), encoding="utf-8")
    for said, right in (("It is dark green.", 1.0), ("It is blue.", 0.0)):
        monkeypatch.setattr(reading, "answers", lambda *_, said=said: [said])
        assert read_handwritten(reader, tmp_path) == right


def test_an_attribute_is_unseen_where_no_list_has_it_nor_what_it_ends_in() -> None:
    listed = {"price", "date of birth", "serial number"}
    assert all(reading._is_listed(n, listed) for n in ("price", "velvet price", "date of birth"))
    assert not any(reading._is_listed(n, listed) for n in ("elephant", "birth", "enterprice"))


def test_every_part_runs_and_is_written(tmp_path: Path) -> None:
    reader = write_tiny_model(tmp_path / "reader")
    plan = ReadingPlan(seeds=(1,), documents=1, questions=4, pairs=2)
    shares: list[float] = []
    result = run_reading(reader, tmp_path, plan, lambda _, done: shares.append(done))
    assert shares == sorted(shares)
    assert set(result["claims"]) == set(_TARGETS)
    assert json.loads((tmp_path / "reader.json").read_text())["claims"] == result["claims"]
    assert result["rows"][0]["questions_by_kind"]["join"] > 0
