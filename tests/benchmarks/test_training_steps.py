"""The training benchmark: both sides take the same steps, and both learn."""

import json
from pathlib import Path

from benchmarks.training import TrainPlan, run_training
from tests.models import write_tiny_model

PLAN = TrainPlan(
    document_tokens=60,
    slots=8,
    question_tokens=6,
    answer_tokens=5,
    conversations=4,
    batch=2,
    steps=12,
    rounds=2,
    learning_rate=0.05,
)


def test_both_sides_step_and_learn(tmp_path: Path) -> None:
    result = run_training(
        str(write_tiny_model(tmp_path / "reader")), tmp_path, PLAN, lambda *_: None
    )
    assert json.loads((tmp_path / "training.json").read_text()) == result
    assert [row["arm"] for row in result["rows"]].count("ours") == 2
    for row in result["rows"]:
        assert row["last_loss"] < row["first_loss"]
        assert (
            0 <= row["peak_mib"] < 10_000
        )  # a model this small may need no more than loading it did
    assert set(result["claims"]) == {"speedup_vs_peft", "peak_memory_ratio_vs_peft"}
