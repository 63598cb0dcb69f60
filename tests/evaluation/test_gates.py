"""The gates' figures follow from their rows; held-out questions repeat and fit their sheets."""

from pathlib import Path

import pytest

from evaluation.arms import slots, truncated
from evaluation.gates import claims
from evaluation.held_out import held_out
from inference.composer import in_context
from inference.reader import load_reader
from tests.models import TEXT, write_tiny_model
from training.pipeline import first_slots
from training.settings import TrainingSettings

ROW = {
    "icl_em": 0.95,
    "icl4_em": 0.7,
    "no_context_em": 0.0,
    "lossless_max_abs_diff": 2e-5,
    "distilled_icl_em": 0.9,
    "cartridge_em": 0.85,
    "next_token_em": 0.05,
    "cartridge_beside_next_token_em": 0.87,
    "truncated_em": 0.1,
    "composed_two_em": 0.2,
    "compression": 12.0,
}


def test_claims_are_differences_in_points_and_the_worst_difference_of_logits() -> None:
    found = claims([ROW, {**ROW, "icl_em": 0.97, "lossless_max_abs_diff": 3e-5}])
    values = {name: claim.value.mean for name, claim in found.items()}
    assert values["icl_em"] == pytest.approx(0.96)
    assert values["isolated_gap_points"] == pytest.approx(5)
    assert values["ntp_gap_points"] == pytest.approx(82)
    assert values["truncated_gap_points"] == pytest.approx(75)
    assert values["collapse_points"] == pytest.approx(65)
    assert values["lossless_max_abs_diff"] == 3e-5
    met = {name: claim.to_dict()["met"] for name, claim in found.items()}
    assert met["icl_em"]
    assert not met["icl4_em"]
    assert not met["isolated_gap_points"]


def words(text: str) -> int:
    return len(text.split())


def test_held_out_questions_repeat_and_name_their_sheet() -> None:
    drawn = held_out(5, sheets=3, questions=6, count=words, tokens=(180, 260))
    assert drawn == held_out(5, sheets=3, questions=6, count=words, tokens=(180, 260))
    assert len(drawn.items) == 18
    for item in drawn.items:
        assert item.value.lower() in drawn.sheets[item.document].text.lower()
        assert item.value in item.answer
    assert all(180 <= words(sheet.text) <= 260 for sheet in drawn.sheets)


def test_more_wordings_ask_the_same_facts_in_other_words() -> None:
    drawn = held_out(5, sheets=2, questions=6, count=words, wordings=4, tokens=(180, 260))
    assert len({item.question for item in drawn.items}) == len(drawn.items) > 24
    assert len({(item.document, item.value) for item in drawn.items}) == 12


def test_a_range_that_no_sheet_fits_is_refused() -> None:
    with pytest.raises(ValueError, match="widen the range"):
        held_out(5, sheets=1, questions=1, count=words, tokens=(1, 2))


def test_arms_mount_what_they_say(tmp_path: Path) -> None:
    reader = load_reader(write_tiny_model(tmp_path), dtype="float32")
    whole = in_context(reader, [TEXT])
    assert whole.question_at == whole.length
    short = truncated(reader, TEXT, 10)
    assert short.length < whole.length
    pair = first_slots(reader, TEXT, 4, TrainingSettings(initialiser="first"))
    mounted = slots(reader, [pair, pair], 64)
    assert mounted.length == 1 + 8
    assert mounted.question_at == 64
