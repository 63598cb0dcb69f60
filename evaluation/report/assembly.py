"""Assembling a report from records: every figure computed once, the same records giving the same report.

This file knows the report's parts and who computes them. It measures nothing and renders nothing.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from evaluation.report.comparison import (
    RESAMPLES,
    abstention,
    by_question,
    difference,
    estimated,
    retrieval,
)
from evaluation.report.costs import (
    Prices,
    Throughput,
    TrainingCost,
    answered,
    break_even,
    costs,
    curves,
    unit,
)
from evaluation.report.documents import broken, by_document, missing
from evaluation.report.findings import findings, lead
from evaluation.report.records import Record, unique
from evaluation.report.report import Arm, Report, Summary
from evaluation.report.worst import worst
from evaluation.statistics import Estimate


def assemble(
    records: Sequence[Record],
    *,
    title: str,
    dataset: str,
    created_at: str,
    command: str,
    cartridge_arm: str | None,
    text_arm: str | None,
    bare_arm: str | None = None,
    settings: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
    training: Mapping[str, TrainingCost] | None = None,
    throughput: Sequence[Throughput] = (),
    prices: Prices | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Report:
    """The report of `records`; with none of them it says that nothing was answered.

    Args:
        created_at: ISO 8601; given, so that the same arguments make the same bytes.
        command: how to rerun it.
        cartridge_arm: the arm that the report is about; without records of it there is no such arm.
        text_arm: the arm that it is held against, RAG or ICL.
        bare_arm: reads nothing but cartridges, so that broken ones show; where there is none, it is the
            cartridge arm that tells.
        settings: what the arms ran with; values that JSON does not know are shown as text.
        training: what the arms' cartridges took to make, by arm.
        prices: break-even in money rather than in machine seconds.
        resamples, seed: of the bootstrap of scores.
    """
    # A record may come twice, and in the order in which a resumed run wrote it.
    ordered = sorted(unique(records), key=lambda record: record.key)
    names = list(dict.fromkeys(record.arm for record in records))
    ours = cartridge_arm if cartridge_arm in names else None
    text = text_arm if text_arm in names and text_arm != ours else None
    scores = {
        name: fmean(by_question(record for record in ordered if record.arm == name).values())
        for name in names
    }
    names.sort(key=lambda name: (name != ours, name != text, -scores[name], name))
    trained = {name: cost for name, cost in (training or {}).items() if name in names}

    bare = bare_arm if bare_arm in names else ours
    broken_ones = broken(ordered, bare, text, seed=seed)
    hurt = {each.document for each in broken_ones}
    whole = [record for record in ordered if not hurt & {*record.gold_documents}]
    spoke = [name for name in names if any(answered(r) for r in ordered if r.arm == name)]
    pays = tuple(
        break_even(ordered, arm, other, trained, prices, seed=seed)
        for arm in spoke
        if arm in trained
        for other in spoke
        if other not in trained
    )
    report = Report(
        title=title,
        created_at=created_at,
        dataset=dataset,
        command=command,
        settings=json.loads(json.dumps(dict(settings or {}), default=str)),
        versions={name: str(version) for name, version in (versions or {}).items()},
        cartridge_arm=ours,
        text_arm=text,
        summary=_summary(ordered),
        lead="",
        findings=(),
        arms=_on_frontier(
            [_arm(ordered, name, trained.get(name), resamples, seed) for name in names], spoke
        ),
        differences=tuple(
            difference(ordered, names[0], other, resamples=resamples, seed=seed)
            for other in names[1:]
        ),
        without_broken=difference(whole, ours, text, resamples=resamples, seed=seed)
        if hurt and ours and text
        else None,
        broken=broken_ones,
        missing=missing(ordered),
        documents=by_document(ordered, ours, text),
        worst=worst(ordered, ours, names),
        break_evens=pays,
        curves=curves(
            ordered,
            names,
            trained,
            prices,
            met=[each.questions for each in pays if each.questions],
        ),
        cost_unit=unit(prices),
        throughput=tuple(throughput),
    )
    return replace(report, lead=lead(report), findings=findings(report))


def _summary(records: Sequence[Record]) -> Summary:
    kinds = {record.question_id: record.kind for record in records}
    return Summary(
        records=len(records),
        questions=len(kinds),
        documents=len({document for record in records for document in record.gold_documents}),
        seeds=tuple(sorted({record.seed for record in records})),
        kinds=dict(sorted(Counter(kinds.values()).items())),
    )


def _arm(
    records: Sequence[Record], name: str, training: TrainingCost | None, resamples: int, seed: int
) -> Arm:
    own = [record for record in records if record.arm == name]
    score = estimated(own, name, resamples=resamples, seed=seed)
    exact = estimated(own, name, lambda each: float(each.exact), resamples=resamples, seed=seed)
    f1 = estimated(own, name, lambda each: each.f1, resamples=resamples, seed=seed)
    spent = costs(own)
    assert score
    assert exact
    assert f1
    assert spent
    return Arm(
        name=name,
        questions=len({record.question_id for record in own}),
        answers=len(own),
        score=score,
        exact=exact,
        f1=f1,
        seed_scores={
            each: fmean(record.score for record in own if record.seed == each)
            for each in sorted({record.seed for record in own})
        },
        invalid=fmean(record.invalid for record in own),
        abstention=abstention(own),
        retrieval=retrieval(own),
        costs=spent,
        training=training,
        on_frontier=False,
        rouge_l=_of_free(own, name, lambda each: each.rouge_l, resamples, seed),
        chrf=_of_free(own, name, lambda each: each.chrf, resamples, seed),
    )


def _of_free(
    records: Sequence[Record],
    name: str,
    measure: Callable[[Record], float | None],
    resamples: int,
    seed: int,
) -> Estimate | None:
    """An arm's mean over the answers that have the measure; None where none has."""
    own = [record for record in records if measure(record) is not None]
    return estimated(own, name, lambda each: measure(each) or 0.0, resamples=resamples, seed=seed)


def _on_frontier(arms: Sequence[Arm], spoke: Sequence[str]) -> tuple[Arm, ...]:
    def dominated(arm: Arm) -> bool:
        cost, score = arm.costs.read_tokens.p50, arm.score.mean
        return any(
            other.costs.read_tokens.p50 <= cost
            and other.score.mean >= score
            and (other.costs.read_tokens.p50, other.score.mean) != (cost, score)
            for other in arms
            if other.name in spoke
        )

    return tuple(replace(arm, on_frontier=arm.name in spoke and not dominated(arm)) for arm in arms)
