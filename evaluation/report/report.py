"""The report as data: everything that its HTML, Markdown and JSON show, computed once.

This file names the parts; it computes nothing and renders nothing.
"""

from dataclasses import dataclass
from typing import Any

from evaluation.report.comparison import Abstention, Difference, Retrieval
from evaluation.report.costs import BreakEven, Costs, Curve, Throughput, TrainingCost
from evaluation.report.documents import BrokenCartridge, DocumentRow
from evaluation.report.worst import WorstQuestion
from evaluation.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Summary:
    """What the report is of; `kinds` counts questions by kind."""

    records: int
    questions: int
    documents: int
    seeds: tuple[int, ...]
    kinds: dict[str, int]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of answering and its figures over its questions.

    Attributes:
        score, exact, f1: means with their bootstrap intervals.
        seed_scores: mean score of each seed, by seed.
        invalid: share of answers that could not be read as one.
        training: what its cartridges took to make; None for an arm without, or where not measured.
        on_frontier: whether no other arm has both a score as high and as few tokens and slots.
        rouge_l, chrf: as `score`, over free answers; None where there is none.
    """

    name: str
    questions: int
    answers: int
    score: Estimate
    exact: Estimate
    f1: Estimate
    seed_scores: dict[int, float]
    invalid: float
    abstention: Abstention
    retrieval: Retrieval | None
    costs: Costs
    training: TrainingCost | None
    on_frontier: bool
    rouge_l: Estimate | None = None
    chrf: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A comparison of arms over one data set.

    Attributes:
        created_at: date and time, ISO 8601.
        command: how to rerun it, a shell command.
        settings: JSON values; what the arms ran with.
        versions: of programs, models and data, by name.
        cartridge_arm, text_arm: the arm that the report is about and the one that it is held
            against; None where the records have no such arm.
        lead: the first paragraph; `findings` are the sentences after it.
        differences: the cartridge arm minus each other (the first arm, where there is none).
        without_broken: cartridge arm minus text arm without the documents of broken cartridges;
            None when none is broken. Its interval is no evidence: scores chose what is left out.
        cost_unit: what curves and break-even count in, `"machine seconds"` or a currency.
    """

    title: str
    created_at: str
    dataset: str
    command: str
    settings: dict[str, Any]
    versions: dict[str, str]
    cartridge_arm: str | None
    text_arm: str | None
    summary: Summary
    lead: str
    findings: tuple[str, ...]
    arms: tuple[Arm, ...]
    differences: tuple[Difference, ...]
    without_broken: Difference | None
    broken: tuple[BrokenCartridge, ...]
    missing: tuple[str, ...]
    documents: tuple[DocumentRow, ...]
    worst: tuple[WorstQuestion, ...]
    break_evens: tuple[BreakEven, ...]
    curves: tuple[Curve, ...]
    cost_unit: str
    throughput: tuple[Throughput, ...]
