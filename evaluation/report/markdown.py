"""The report as Markdown, for pull requests and terminals: its sentences and tables, without plots.

This file knows the report's parts and Markdown. Texts of questions and answers are escaped.
"""

import re
from collections.abc import Iterator, Sequence

from evaluation.report.formatting import (
    count,
    duration,
    milliseconds,
    points,
    share,
    signed_points,
    size,
)
from evaluation.report.html import ROWS, flat
from evaluation.report.report import Arm, Report
from evaluation.statistics import Estimate

_SPECIAL = re.compile(r"([\\`*_\[\]|#~$])")


def to_markdown(report: Report) -> str:
    """The page; the same report gives the same bytes."""
    blocks = [
        f"# {_text(report.title)}",
        _text(report.lead),
        f"{_text(report.dataset)}, {_text(report.created_at)}: {count(report.summary.questions)} "
        f"questions about {count(report.summary.documents)} documents, "
        f"{count(len(report.summary.seeds))} seeds, {count(report.summary.records)} answers.",
        "\n".join(f"- {_text(sentence)}" for sentence in report.findings),
        *_arms(report.arms),
        *_differences(report),
        *_break_even(report),
        *_documents(report),
        *_worst(report),
        *_rerun(report),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _arms(arms: Sequence[Arm]) -> Iterator[str]:
    if not arms:
        return
    yield "## Arms"
    free = any(arm.rouge_l for arm in arms)
    yield _table(
        [
            *("arm", "score (95 %)", "exact", "F1"),
            *(("ROUGE-L", "chrF") if free else ()),
            *("questions", "on the frontier"),
        ],
        [
            [
                arm.name,
                _estimate(arm.score),
                points(arm.exact.mean),
                points(arm.f1.mean),
                *((_mean(arm.rouge_l), _mean(arm.chrf)) if free else ()),
                count(arm.questions),
                "yes" if arm.on_frontier else "",
            ]
            for arm in arms
        ],
    )
    yield "## Costs (medians; times also as 99th percentiles)"
    yield _table(
        ["arm", "prompt tokens", "slots", "KV", "first token", "p99", "answer", "p99", "training"],
        [
            [
                arm.name,
                count(arm.costs.prompt_tokens.p50),
                count(arm.costs.cartridge_slots.p50),
                size(arm.costs.kv_bytes.p50),
                milliseconds(arm.costs.first_token_ms.p50),
                milliseconds(arm.costs.first_token_ms.p99),
                milliseconds(arm.costs.total_ms.p50),
                milliseconds(arm.costs.total_ms.p99),
                ""
                if arm.training is None
                else f"{duration(arm.training.seconds)} for {count(arm.training.tokens)} tokens of text",
            ]
            for arm in arms
        ],
    )
    yield "## Retrieval and unanswerable questions"
    yield _table(
        ["arm", "recall@1", "recall@3", "recall@5", "recall@10", "MRR", "precision", "recall"],
        [
            [
                arm.name,
                *(
                    share(None if arm.retrieval is None else arm.retrieval.recall[depth])
                    for depth in (1, 3, 5, 10)
                ),
                "–" if arm.retrieval is None else f"{arm.retrieval.mrr:.2f}",
                share(arm.abstention.precision),
                share(arm.abstention.recall),
            ]
            for arm in arms
        ],
    )


def _differences(report: Report) -> Iterator[str]:
    if not report.differences:
        return
    yield "## Paired differences"
    yield _table(
        ["arm", "against", "points (95 %)", "better", "worse", "questions", "winner"],
        [
            [
                each.arm,
                each.against,
                "–" if each.value is None else _estimate(each.value, signed=True),
                count(each.better),
                count(each.worse),
                count(each.questions),
                each.winner or "none",
            ]
            for each in report.differences
        ],
    )


def _break_even(report: Report) -> Iterator[str]:
    if report.break_evens:
        yield "## Break-even"
        yield "\n".join(f"- {_text(each.sentence)}" for each in report.break_evens)
    if report.throughput:
        yield "## Throughput"
        yield _table(
            ["arm", "questions together", "answers a second", "tokens a second"],
            [
                [t.arm, count(t.concurrency), f"{t.answers_per_s:.2f}", f"{t.tokens_per_s:,.1f}"]
                for t in report.throughput
            ],
        )


def _documents(report: Report) -> Iterator[str]:
    if not report.documents:
        return
    arms = [arm.name for arm in report.arms]
    yield "## Documents"
    yield _table(
        ["document", "questions", "lost by cartridge", *arms],
        [
            [
                row.document,
                count(row.questions),
                "–" if row.loss is None else signed_points(row.loss),
                *(share(row.scores.get(arm)) for arm in arms),
            ]
            for row in report.documents[:ROWS]
        ],
    )
    if len(report.documents) > ROWS:
        yield f"{count(len(report.documents) - ROWS)} more documents are in the JSON file."


def _worst(report: Report) -> Iterator[str]:
    if report.worst:
        yield "## The worst questions"
    for each in report.worst:
        gold = "; ".join(each.golds) or "not stated"
        yield f"**{_text(each.question)}** (expected: {_text(gold)}; lost: {points(each.loss)} points)"
        yield _table(
            ["arm", "score", "answer"],
            [[found.arm, points(found.score), found.answer] for found in each.answers],
        )


def _rerun(report: Report) -> Iterator[str]:
    yield "## Settings, versions and how to rerun"
    told = flat(report.settings) | {f"version of {k}": v for k, v in report.versions.items()}
    if told:
        yield _table(["setting", "value"], [[name, value] for name, value in told.items()])
    # Longer than any run of backticks within.
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", report.command)), 3)
    yield f"{fence}sh\n{report.command}\n{fence}"


def _mean(value: Estimate | None) -> str:
    return "" if value is None else points(value.mean)


def _estimate(value: Estimate, *, signed: bool = False) -> str:
    mean = signed_points(value.mean) if signed else points(value.mean)
    if value.low is None or value.high is None:
        return mean
    return f"{mean} ({points(value.low)} to {points(value.high)})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell if line is lines[1] else _text(cell) for cell in line) + " |"
        for line in lines
    )


def _text(text: str) -> str:
    """One line of text that is no markup."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", plain)
