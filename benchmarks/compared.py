"""What the records of a comparison say: rows and claims, with intervals over its collections.

All answers over a collection rest on one training and one threshold: collections are what is drawn
anew. This file knows records, arms and claims; it knows no service and no plan.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from evaluation.report.comparison import by_question
from evaluation.report.costs import TrainingCost, break_even, costs
from evaluation.report.records import Record
from evaluation.report.report import Report
from evaluation.results import Claim
from evaluation.statistics import Estimate, estimate

CARTRIDGES, BARE, TEXT = "cartridge_then_passage", "cartridges_1", "rag_3"
"""What is held against each other: the service's own way with cartridges (a passage is read where they are
doubted), the best document's cartridge and nothing else, and three passages read."""
LITTLE_TEXT, WHOLE_TEXT = "rag_1", "icl"
"""Seen beside it: the least that RAG can do with, one passage, and the document itself."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One report over all collections, and of each collection, in their order:

    Attributes:
        apart: the points by which CARTRIDGES are ahead of an arm, by its name; under BARE's name, those
            by which TEXT is behind it.
        read: the prompt tokens and slots that an answer of an arm reads; NaN where it answered nothing.
        pays: the questions after which CARTRIDGES have paid against an arm; None for never.
        unpublished: how many documents have no cartridge, of all collections.
    """

    report: Report
    apart: Mapping[str, list[float]]
    read: Mapping[str, list[float]]
    pays: Mapping[str, list[int | None]]
    unpublished: int


def compared(
    report: Report,
    records: Sequence[Sequence[Record]],
    training: Sequence[Mapping[str, TrainingCost]],
    unpublished: int,
) -> Compared:
    """What the records of each collection say, with what the training of each cost."""
    arms = [arm.name for arm in report.arms]
    apart: dict[str, list[float]] = {}
    for arm, other in (*((CARTRIDGES, each) for each in arms if each != BARE), (BARE, TEXT)):
        if {arm, other} <= {*arms} and arm != other:
            points = [_apart(own, arm, other) for own in records]
            name = other if arm == CARTRIDGES else arm
            # None where an arm has nothing to answer from.
            apart[name] = [each for each in points if each is not None]
    pays: dict[str, list[int | None]] = {}
    for other in (TEXT, WHOLE_TEXT):
        if other in arms and all(CARTRIDGES in cost for cost in training):
            pays[other] = [
                break_even(own, CARTRIDGES, other, cost).questions
                for own, cost in zip(records, training, strict=True)
            ]
    read = {arm: [_read(own, arm) for own in records] for arm in arms}
    return Compared(report, apart, read, pays, unpublished)


def _apart(records: Sequence[Record], arm: str, other: str) -> float | None:
    """How many points more an arm has than another over the questions that both were asked."""
    ours, theirs = (by_question(r for r in records if r.arm == name) for name in (arm, other))
    both = sorted(ours.keys() & theirs.keys())  # not every arm is asked what nothing answers
    return 100 * fmean(ours[q] - theirs[q] for q in both) if both else None


def _read(records: Sequence[Record], arm: str) -> float:
    """Prompt tokens and slots of an answer: a slot is counted as the token that it stands for."""
    found = costs(record for record in records if record.arm == arm)
    return math.nan if found is None else found.read_tokens.mean


def row_of(compression: float, found: Compared) -> dict[str, Any]:
    """What the result file keeps of a compression's report."""
    return {
        "compression": compression,
        "lead": found.report.lead,
        "arms": [
            {
                "arm": arm.name,
                "questions": arm.questions,
                "score": _numbers(arm.score),
                "exact": _numbers(arm.exact),
                "prompt_tokens": arm.costs.prompt_tokens.mean,
                "cartridge_slots": arm.costs.cartridge_slots.mean,
                "first_token_ms": arm.costs.first_token_ms.p50,
                "total_ms": arm.costs.total_ms.p50,
                "abstention_precision": arm.abstention.precision,
                "abstention_recall": arm.abstention.recall,
            }
            for arm in found.report.arms
        ],
        "differences": {
            each.against: each.value and _numbers(each.value) for each in found.report.differences
        },
        "points_by_collection": {
            name: [round(each, 3) for each in points] for name, points in found.apart.items()
        },
        "read_tokens_by_collection": {
            arm: [None if math.isnan(each) else round(each, 1) for each in read]
            for arm, read in found.read.items()
        },
        "break_even_by_collection": dict(found.pays),
        "documents_without_a_cartridge": found.unpublished,
    }


def _numbers(found: Estimate) -> list[float | None]:
    bounds = (found.mean, found.low, found.high)
    return [None if number is None else round(number, 4) for number in bounds]


def claims_of(found: Compared, suffix: str) -> dict[str, Claim]:
    """The claims of one compression, their names with its suffix."""
    claims: dict[str, Claim] = {}

    def ratio(arm: str, ours: str) -> Estimate:
        pairs = zip(found.read[arm], found.read[ours], strict=True)
        return estimate([theirs / own for theirs, own in pairs])

    apart = {name: estimate(points) for name, points in found.apart.items() if points}
    if LITTLE_TEXT in apart:
        claims["rag_1_difference_points"] = Claim(apart[LITTLE_TEXT])
        claims["rag_1_prompt_token_ratio"] = Claim(ratio(LITTLE_TEXT, CARTRIDGES))
    claims["rag_difference_points"] = Claim(apart[TEXT])
    if (low := apart[TEXT].low) is not None:
        claims["rag_difference_low_points"] = Claim(estimate([low]), ">= -2")
    claims["rag_prompt_token_ratio"] = Claim(ratio(TEXT, CARTRIDGES), ">= 4")
    if BARE in apart:
        claims["bare_rag_difference_points"] = Claim(apart[BARE])
        claims["bare_rag_prompt_token_ratio"] = Claim(ratio(TEXT, BARE))
    for against, pays in found.pays.items():
        paid = [each for each in pays if each is not None]
        if len(paid) == len(pays):  # no mean of "never"
            name = "rag" if against == TEXT else against
            claims[f"break_even_questions_vs_{name}"] = Claim(estimate(paid))
    return {f"{name}{suffix}": claim for name, claim in claims.items()}
