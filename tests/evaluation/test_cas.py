"""The composition experiment on a tiny reader: same study for all arms, it resumes, claims follow rows."""

from dataclasses import replace
from pathlib import Path

import pytest

from evaluation import large
from evaluation.cas import claims, large_claims, run_cas
from evaluation.collection import ARMS, CasPlan, arm_digest, drawn_collection, nearest
from evaluation.held_out import held_out
from evaluation.large import LargePlan, run_large
from evaluation.results import AnotherPlan
from inference.reader import load_reader
from retrieval.encoder import LexicalEncoder, MiniLmEncoder
from tests.models import write_tiny_model
from training import studying
from training.distillation import Distillation
from training.joint import JointTraining
from training.settings import TrainingSettings

ROW = {
    "icl_em": 0.9,
    "em": {
        "icl": {"1": 0.9, "8": 0.8},
        "isolated": {"1": 0.88, "8": 0.3, "20": 0.1},
        "mixed": {"1": 0.87, "8": 0.86, "20": 0.85},
        "monolithic": {"all": 0.5},
    },
    "retrieved": {"cartridges_em": 0.8, "text_em": 0.81, "tokens": 1500.0, "slots": 150.0},
}


def test_claims_are_losses_in_points() -> None:
    values = {name: claim.value.mean for name, claim in claims([ROW]).items()}
    assert values == pytest.approx(
        {
            "isolated_loss_at_8_points": 58,
            "icl_loss_at_8_points": 10,
            "mixed_loss_at_8_points": 1,
            "mixed_loss_at_20_points": 2,
            "mixed_minus_isolated_alone_points": -1,
            "oracle_gap_10x_points": 3,
            "monolithic_gain_points": 30,
            "rag_difference_points": -1,
            "rag_prompt_token_ratio": 10,
        }
    )


def test_what_was_not_measured_is_not_claimed() -> None:
    row = {"icl_em": 0.9, "em": {"isolated": {"1": 0.9}, "mixed": {"1": 0.9}}}
    assert set(claims([row])) == {"mixed_minus_isolated_alone_points", "oracle_gap_10x_points"}


def test_neighbours_are_all_others_nearest_first() -> None:
    def words(text: str) -> int:
        return len(text.split())

    drawn = held_out(3, sheets=4, questions=2, count=words, tokens=(120, 200), alike=0.5)
    names = ["a", "b", "c", "d"]
    found = nearest(LexicalEncoder(), names, drawn)
    vectors = LexicalEncoder().encode([sheet.text for sheet in drawn.sheets])
    for name in names:
        assert sorted((name, *found[name])) == names
        likeness = [
            float(vectors[names.index(name)] @ vectors[names.index(o)]) for o in found[name]
        ]
        assert likeness == sorted(likeness, reverse=True)


STUDY = TrainingSettings(
    window_min=4,
    window_max=30,
    min_conversations=12,
    conversations_per_token=0.001,
    rounds=1,
    max_question=8,
    max_answer=8,
    held_out=0,
    accept_at=0.0,
    checkpoint_every=1,
)
PLAN = CasPlan(
    seeds=(1,),
    documents=2,
    tokens=(300, 900),
    questions=2,
    loaded=(1, 2),
    rows=24,
    pool=2,
    training=STUDY,
)


def test_a_run_writes_its_result_and_a_second_one_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_tiny_model(tmp_path / "model")
    first = run_cas(model, tmp_path / "out", PLAN, tmp_path / "work")
    (row,) = first["rows"]
    assert {name: set(em) for name, em in row["em"].items()} == {
        name: {"all"} if arm.whole else {"1", "2"} for name, arm in ARMS.items()
    } | {"icl": {"1", "2"}}
    assert row["icl_em"] == row["em"]["icl"]["1"]
    assert row["slots"]["isolated"] == row["slots"]["mixed"] == row["slots"]["monolithic"] > 0
    assert row["retrieved"]["found"] == 1.0  # both documents, of two
    asked = row["retrieved"]["slots"] - row["slots"]["mixed"] - 1  # and the sink
    assert 5 < asked < 120  # the question
    assert row["retrieved"]["passages_tokens"] > row["retrieved"]["slots"]

    def refuse(*_: object) -> None:
        raise AssertionError("done again")

    monkeypatch.setattr(studying, "study", refuse)
    monkeypatch.setattr(JointTraining, "_learn", refuse)
    monkeypatch.setattr(Distillation, "_rate", refuse)
    again = run_cas(model, tmp_path / "out", PLAN, tmp_path / "work")
    assert again["rows"] == first["rows"]
    # Nor is what the file has, on a machine that has the file alone.
    grown = run_cas(model, tmp_path / "out", PLAN, tmp_path / "elsewhere", more=True)
    assert [row["seed"] for row in grown["rows"]] == grown["seeds"] == [1]
    assert grown["rows"][0]["measured"]["date"] == again["date"]
    assert grown["claims"] == first["claims"]
    # What another recipe has scored is not what this one scores.
    other = replace(PLAN.training, question_offset=PLAN.training.question_offset + 1)
    monkeypatch.undo()
    reader, encoder = load_reader(model), MiniLmEncoder()
    work = tmp_path / "work" / "seed-1"
    found = drawn_collection(reader, encoder, 1, PLAN, work, lambda _: None)
    mixed = arm_digest(ARMS["mixed"], PLAN, found)
    assert mixed != arm_digest(ARMS["mixed"], replace(PLAN, training=other), found)
    # Nor what other questions about the same texts have.
    items = tuple(replace(item, question=f"{item.question} Please.") for item in found.drawn.items)
    asked = replace(found, drawn=replace(found.drawn, items=items))
    assert mixed != arm_digest(ARMS["mixed"], PLAN, asked)
    with pytest.raises(AnotherPlan):
        run_cas(model, tmp_path / "out", replace(PLAN, rows=36), tmp_path / "elsewhere", more=True)


def test_a_large_collections_run_killed_twice_ends_the_same_and_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = LargePlan(
        sizes=(3, 4), facts=4, conversations=12, compression=8.0, pool=2, steps=10, threads=1
    )
    monkeypatch.setattr(LargePlan, "training", STUDY)
    model = write_tiny_model(tmp_path / "model")
    measured = run_large(model, plan, tmp_path / "work")
    assert measured["documents"] == 4
    assert measured["tokens"] > 4 * 4 * 5
    assert measured["resume_identical"] == 1
    assert set(measured["peak_bytes"]) == {"3", "4"}
    assert min(measured["peak_bytes"].values()) > 1 << 20

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("done again")

    monkeypatch.setattr(large, "_process", refuse)
    assert run_large(model, plan, tmp_path / "work") == measured
    found = large_claims(measured)
    assert not found["collection_tokens"].to_dict()["met"]
    assert found["resume_identical"].to_dict()["met"]
