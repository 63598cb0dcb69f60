"""Costs, break-even and its curve against numbers made by hand."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from evaluation.report.costs import BreakEven, Prices, TrainingCost, break_even, costs, curves
from evaluation.report.findings import _break_even
from evaluation.report.formatting import listed, points, signed_points, size
from evaluation.report.records import Record
from evaluation.report.report import Report
from tests.evaluation.report_samples import records

BASE = records(documents=["harbour-charter"], questions=5, arms=["rag"], seeds=[0])


def timed(arm: str, *ms: float) -> list[Record]:
    """One question to each of several documents."""
    return [
        replace(record, arm=arm, total_ms=ms, prompt_tokens=1000, gold_documents=(f"document {n}",))
        for n, (record, ms) in enumerate(zip(BASE, ms, strict=False))
    ]


CHEAP, DEAR = timed("a", 90, 100, 110), timed("b", 290, 300, 310)
TRAINED = {"a": TrainingCost(60, 1000, 1)}


def test_spreads_are_linear_percentiles() -> None:
    found = costs(timed("a", 100, 200))
    assert found is not None
    assert (found.total_ms.p50, found.total_ms.mean) == (150, 150)
    assert found.total_ms.p99 == pytest.approx(199)
    assert found.read_tokens.p50 == 1000
    assert costs([]) is None


def test_what_was_refused_is_no_cheap_answer() -> None:
    refused = replace(BASE[3], invalid=True, total_ms=0.0, prompt_tokens=0)
    found = costs([*timed("rag", 100, 200), refused])
    assert found is not None
    assert found.total_ms.p50 == 150
    only = costs([refused])
    assert only is not None
    assert only.total_ms.p50 == 0


def test_break_even_is_training_over_what_a_question_saves() -> None:
    found = break_even([*CHEAP, *DEAR], "a", "b", TRAINED)
    assert found.questions == 300  # 60 s over 0.2 s
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 300 <= found.high
    assert "after 300 questions" in found.sentence


def test_the_interval_draws_documents_not_questions() -> None:
    """Questions to one document that take the same time say no more than one of them."""
    documents = [f"document {n % 3}" for n in range(60)]
    base = records(documents=["harbour-charter"], questions=60, arms=["rag"], seeds=[0])
    slow = {"document 0": 150.0, "document 1": 300.0, "document 2": 500.0}

    def taken(arm: str, own: bool) -> list[Record]:
        return [
            replace(
                record,
                arm=arm,
                prompt_tokens=1000,
                total_ms=100.0 if arm == "a" else slow[document],
                gold_documents=(document if own else f"{document}, {n}",),
            )
            for n, (record, document) in enumerate(zip(base, documents, strict=True))
        ]

    wide, narrow = (
        break_even([*taken("a", own), *taken("b", own)], "a", "b", TRAINED) for own in (True, False)
    )
    assert wide.questions == narrow.questions == 300
    assert wide.low == 150  # all drawn questions may be to the slowest document
    assert wide.high == 1200
    assert narrow.high is not None
    assert narrow.high < wide.high


def test_what_saves_nothing_never_pays() -> None:
    for other in (timed("b", 90, 100, 110), timed("b", 40, 50, 60)):
        found = break_even([*CHEAP, *other], "a", "b", TRAINED)
        assert found.questions is None
        assert "never pays against b" in found.sentence


def test_a_saving_within_the_noise_may_never_pay() -> None:
    noisy = [*timed("a", 100, 500, 90, 480, 100), *timed("b", 95, 120, 510, 470, 130)]
    found = break_even(noisy, "a", "b", TRAINED)
    assert found.questions == 2000
    assert found.high is None
    assert "to never)" in found.sentence


def test_only_questions_that_both_answered_are_held_against_each_other() -> None:
    # The other two, which "b" was not asked, cost ten times as much.
    ours = timed("a", 90, 100, 110, 1000, 1000)
    found = break_even([*ours, *DEAR], "a", "b", TRAINED)
    assert found.questions == 300
    assert found.low is not None
    assert found.low <= 300
    apart = [replace(r, arm="b", question_id=f"{r.question_id}/other") for r in DEAR]
    none = break_even([*CHEAP, *apart], "a", "b", TRAINED)
    assert none.questions is None
    assert "no question in common" in none.sentence


def test_without_training_cheaper_is_cheaper_at_once() -> None:
    assert break_even([*CHEAP, *DEAR], "a", "b", {}).questions == 0
    with pytest.raises(ValueError, match="answered no question"):
        break_even(CHEAP, "a", "b", TRAINED)


def test_break_even_in_money_counts_prompt_tokens() -> None:
    prices = Prices(per_machine_hour=3.6, per_1k_prompt_tokens=0.01)
    dear = [replace(record, prompt_tokens=2000) for record in timed("b", 90, 100, 110)]
    found = break_even([*CHEAP, *dear], "a", "b", TRAINED, prices)
    assert found.questions == 6  # 60 s at 0.001 a second, over 1,000 tokens at 0.01


def test_curves_cross_at_the_break_even() -> None:
    cheap, dear = curves([*CHEAP, *DEAR], ["a", "b", "none"], TRAINED, met=[300])
    assert cheap.questions == dear.questions
    for asked, ours, theirs in zip(cheap.questions, cheap.costs, dear.costs, strict=True):
        assert ours == pytest.approx(60 + 0.1 * asked)
        assert (ours <= theirs + 1e-9) == (asked >= 300)


def test_numbers_read_as_people_write_them() -> None:
    assert [points(x) for x in (0.0, 0.0004, -0.0621, 1.0)] == ["0.0", "0.04", "−6.2", "100.0"]
    assert [signed_points(x) for x in (0.1, 0.0, -0.1)] == ["+10.0", "0.0", "−10.0"]
    assert [size(x) for x in (12, 2048, 3 * 2**20, 200 * 2**30)] == [
        *("12 B", "2.0 KiB", "3.0 MiB", "200 GiB")
    ]
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], most=2) == "a, b and 1 more"


def test_a_break_even_that_may_be_never_is_no_finding() -> None:
    def of(against: str, low: int | None, high: int | None) -> BreakEven:
        return BreakEven("ours", against, 1_000, low, high, f"Against {against}.")

    report = SimpleNamespace(
        cartridge_arm="ours",
        text_arm="rag_3",
        differences=(),
        break_evens=(of("rag_3", 900, None), of("icl", 800, 1_200), of("rag_1", 800, None)),
    )
    assert list(_break_even(cast(Report, report))) == [
        "Against rag_3.",
        "The training of ours has paid against icl after 1,000 (95 % interval 800 to 1,200) "
        "questions to the collection.",
    ]
