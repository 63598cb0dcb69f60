"""Findings: the report's sentences, generated from its numbers. No figure is computed from records here.

The first paragraph names broken cartridges before anything else.
"""

from collections.abc import Iterator

from evaluation.report.comparison import LEAST_CLUSTERS, Difference, verdict
from evaluation.report.formatting import (
    count,
    duration,
    listed,
    milliseconds,
    points,
    ratio,
    signed_points,
    size,
)
from evaluation.report.report import Arm, Report

_NAMED = 3  # broken cartridges whose evidence the first paragraph gives; the others it lists


def lead(report: Report) -> str:
    """The first paragraph: what is broken, what is missing, who is better, and what is read for it."""
    return " ".join(_lead(report))


def findings(report: Report) -> tuple[str, ...]:
    """The sentences after the first paragraph; none where nothing was answered."""
    if not report.arms:
        return ()
    return (
        *_scores(report),
        *_costs(report),
        *_break_even(report),
        *_documents(report),
        *_behaviour(report),
        *_reservations(report),
    )


def _lead(report: Report) -> Iterator[str]:
    if not report.arms:
        yield "No question was answered, so nothing can be said."
        return
    for each in report.broken[:_NAMED]:
        yield each.sentence
    if rest := [each.document for each in report.broken[_NAMED:]]:
        yield (
            f"Broken {'is' if len(rest) == 1 else 'are'} also the "
            f"{'cartridge' if len(rest) == 1 else 'cartridges'} of {listed(rest)}."
        )
    if report.missing:
        documents = (
            "Document" if len(report.missing) == 1 else f"{count(len(report.missing))} documents:"
        )
        yield (
            f"{documents} {listed(report.missing)} {'has' if len(report.missing) == 1 else 'have'} "
            "no cartridge and had to be answered from text."
        )
    held = next((each for each in report.differences if each.against == report.text_arm), None)
    if held is not None and report.cartridge_arm:
        yield verdict(held)
        if report.without_broken is not None and report.without_broken.questions:
            value = report.without_broken.value
            assert value
            # Documents that were chosen by their scores cannot be left out and a winner named.
            yield (
                f"Without the documents of broken cartridges it would be {signed_points(value.mean)} "
                f"points on {_questions(report.without_broken.questions)}."
            )
        yield from _reading(report)
    elif len(report.arms) == 1:
        arm = report.arms[0]
        yield (
            f"Only {arm.name} was measured: it scores {_scored(arm)} on "
            f"{_questions(arm.questions)}, and there is nothing to compare it with."
        )
    else:
        best = max(report.arms, key=lambda arm: arm.score.mean)
        yield (
            f"{best.name} has the highest score of {count(len(report.arms))} arms, "
            f"{_scored(best)}; cartridges were not compared with text."
        )


def _scores(report: Report) -> Iterator[str]:
    best_first = sorted(report.arms, key=lambda arm: -arm.score.mean)
    shown = "; ".join(f"{arm.name} {points(arm.score.mean)}" for arm in best_first)
    if len(report.arms) > 1:
        yield f"Mean scores out of 100: {shown}."
    others = [
        each
        for each in report.differences
        if not (report.cartridge_arm and each.against == report.text_arm)
    ]
    beaten = [each for each in others if each.winner == each.arm]
    open_ones = [each for each in others if each.winner is None and _told(each)]
    if len(beaten) > 1:
        yield f"{beaten[0].arm} answers better than {listed([_told(each) for each in beaten])}."
    if len(open_ones) > 1:
        yield (
            f"No winner between {open_ones[0].arm} and any of "
            f"{listed([_told(each) for each in open_ones])}: each interval contains zero."
        )
    for each in others:
        if not any(each in some for some in (beaten, open_ones) if len(some) > 1):
            yield verdict(each)


def _reading(report: Report) -> Iterator[str]:
    ours, text = _named(report, report.cartridge_arm), _named(report, report.text_arm)
    if ours is None or text is None:
        return
    mine, theirs = ours.costs, text.costs
    yield (
        f"In the median a question reads {count(mine.prompt_tokens.p50)} prompt tokens and "
        f"{count(mine.cartridge_slots.p50)} cartridge slots with {ours.name}, and "
        f"{count(theirs.prompt_tokens.p50)} prompt tokens with {text.name}"
        + _times(theirs.prompt_tokens.p50, mine.prompt_tokens.p50, mine.read_tokens.p50)
    )


def _costs(report: Report) -> Iterator[str]:
    ours, text = _named(report, report.cartridge_arm), _named(report, report.text_arm)
    if ours is None or text is None:
        return
    mine, theirs = ours.costs, text.costs
    yield (
        f"A question's keys and values take {size(mine.kv_bytes.p50)} with {ours.name} and "
        f"{size(theirs.kv_bytes.p50)} with {text.name}; the first token comes after "
        f"{milliseconds(mine.first_token_ms.p50)} and {milliseconds(theirs.first_token_ms.p50)}, the "
        f"whole answer after {milliseconds(mine.total_ms.p50)} and "
        f"{milliseconds(theirs.total_ms.p50)} (medians)."
    )
    if ours.training is not None:
        documents = ours.training.documents
        yield (
            f"Training the cartridges of {count(documents)} "
            f"{'document' if documents == 1 else 'documents'} took "
            f"{duration(ours.training.seconds)}, for {count(ours.training.tokens)} tokens of text."
        )


def _break_even(report: Report) -> Iterator[str]:
    # To be cheaper than an arm that answers worse is no news.
    beaten = {each.against for each in report.differences if each.winner == report.cartridge_arm}
    rest = []
    for each in report.break_evens:
        if each.arm != report.cartridge_arm or each.against in beaten:
            continue
        if each.against == report.text_arm or each.questions is None:
            yield each.sentence
        elif each.low is not None and each.high is not None:  # else it may be never
            within = f"{count(each.low)} to {count(each.high)}"
            rest.append(f"{each.against} after {count(each.questions)} (95 % interval {within})")
    if rest:
        asked = "questions to the collection"
        yield f"The training of {report.cartridge_arm} has paid against {listed(rest)} {asked}."


def _documents(report: Report) -> Iterator[str]:
    compared = [row for row in report.documents if row.loss is not None]
    if not compared:
        return
    losing = [row for row in compared if row.loss and row.loss > 0]
    names = f"{report.cartridge_arm} scores below {report.text_arm}"
    if not losing:
        yield f"On none of {count(len(compared))} documents {names}."
        return
    where = listed([f"{row.document} (−{points(row.loss or 0)} points)" for row in losing[:3]])
    yield (
        f"On {count(len(losing))} of {count(len(compared))} documents {names}"
        f"{', most' if len(losing) > 3 else ''}: {where}."
    )


def _behaviour(report: Report) -> Iterator[str]:
    ours = _named(report, report.cartridge_arm) or report.arms[0]
    if report.summary.kinds.get("unanswerable"):
        told = [
            f"{arm.name} {points(arm.abstention.recall)}"
            for arm in report.arms
            if arm.abstention.recall is not None
        ]
        yield f"Of the questions without an answer, so many in 100 are declined: {'; '.join(told)}."
    if ours.retrieval is not None:
        yield (
            f"Of the documents that hold the answer, {ours.name} mounts "
            f"{points(ours.retrieval.recall[1])} % as the first of a question, and "
            f"{points(ours.retrieval.recall[10])} % among the first ten."
        )
    invalid = [f"{arm.name} {points(arm.invalid)} %" for arm in report.arms if arm.invalid]
    if invalid:
        yield f"Answers that could not be read as one: {'; '.join(invalid)}."


def _reservations(report: Report) -> Iterator[str]:
    if len({arm.questions for arm in report.arms}) > 1:
        told = "; ".join(f"{arm.name} {count(arm.questions)}" for arm in report.arms)
        yield (
            "The arms did not all answer the same questions, so that only their paired differences "
            f"can be compared: {told}."
        )
    if len(report.summary.seeds) == 1:
        yield "One seed was run: how results differ from one training to the next is not known."
    else:
        for arm in report.arms[:1]:
            low, high = min(arm.seed_scores.values()), max(arm.seed_scores.values())
            if len(arm.seed_scores) > 1:
                yield (
                    f"From seed to seed {arm.name} scores between {points(low)} and {points(high)} "
                    f"({count(len(arm.seed_scores))} seeds)."
                )
    if 0 < report.summary.documents < LEAST_CLUSTERS:
        yield "There are too few documents for differences to be told from chance."


def _named(report: Report, name: str | None) -> Arm | None:
    return next((arm for arm in report.arms if arm.name == name), None)


def _scored(arm: Arm) -> str:
    if arm.score.low is None or arm.score.high is None:
        return points(arm.score.mean)
    low, high = points(arm.score.low), points(arm.score.high)
    return f"{points(arm.score.mean)} of 100 (95 % interval {low} to {high})"


def _told(found: Difference) -> str:
    """The arm held against with the difference; empty where too little was measured to tell."""
    if found.value is None or found.value.low is None or found.value.high is None:
        return ""
    if found.clusters < LEAST_CLUSTERS:
        return ""
    low, high = points(found.value.low), points(found.value.high)
    mean = signed_points(found.value.mean)
    return f"{found.against} ({mean} points, 95 % interval {low} to {high})"


def _questions(number: int) -> str:
    return "one question" if number == 1 else f"{count(number)} questions"


def _times(theirs: float, mine: float, with_slots: float) -> str:
    if mine <= 0 or theirs <= mine:
        return "."
    counted = f", {ratio(theirs / with_slots)} times with the slots counted" * (with_slots > mine)
    return f": {ratio(theirs / mine)} times as many{counted}."
