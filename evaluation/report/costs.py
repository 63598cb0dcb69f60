"""Costs of arms: tokens, slots, bytes, time, training, and after how many questions training has paid.

The model: a question costs the median machine time that it takes alone, or that and its prompt tokens in
money; training costs its seconds once. This file knows records and what training took; it knows no score
and no page.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.report.comparison import by_question, clusters
from evaluation.report.formatting import count
from evaluation.report.records import Record

RESAMPLES = 2_000  # of medians, which are slow to take and move little


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """What making an arm's cartridges took: machine seconds, for so many documents of so many tokens."""

    seconds: float
    tokens: int
    documents: int


@dataclass(frozen=True, slots=True)
class Throughput:
    """Measured with so many questions on the way together: answers and new tokens a second."""

    arm: str
    concurrency: int
    answers_per_s: float
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Prices:
    """What machine time (for an hour) and prompt tokens (for a thousand) cost in `currency`."""

    per_machine_hour: float
    per_1k_prompt_tokens: float = 0.0
    currency: str = "EUR"


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, 99th percentile and mean over answers, each interpolated linearly."""

    p50: float
    p99: float
    mean: float


@dataclass(frozen=True, slots=True)
class Costs:
    """What an arm's answers took; times in milliseconds.

    Attributes:
        read_tokens: prompt tokens and cartridge slots together, what the reader attends to.
    """

    prompt_tokens: Spread
    cartridge_slots: Spread
    read_tokens: Spread
    kv_bytes: Spread
    completion_tokens: Spread
    first_token_ms: Spread
    total_ms: Spread


@dataclass(frozen=True, slots=True)
class BreakEven:
    """After how many questions to the collection the training of `arm` has paid against `against`.

    Attributes:
        questions: the number at the medians; None when it never pays.
        low, high: its 95 % bootstrap interval; `high` is None when "never" is within it. Both are
            None when the medians say never or from the first question on.
        sentence: the same in words.
    """

    arm: str
    against: str
    questions: int | None
    low: int | None
    high: int | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Curve:
    """What an arm has cost after so many questions, its training included."""

    arm: str
    questions: tuple[int, ...]
    costs: tuple[float, ...]


def costs(records: Iterable[Record]) -> Costs | None:
    """The costs of one arm's records; None when there are none.

    What was refused took nothing, and is no cheap answer: it is left out, unless nothing was answered.
    """
    every = list(records)
    own = [record for record in every if answered(record)] or every
    if not own:
        return None

    def spread(values: Sequence[float]) -> Spread:
        p50, p99 = np.percentile(values, [50, 99])
        return Spread(float(p50), float(p99), float(np.mean(values)))

    return Costs(
        prompt_tokens=spread([each.prompt_tokens for each in own]),
        cartridge_slots=spread([each.cartridge_slots for each in own]),
        read_tokens=spread([each.prompt_tokens + each.cartridge_slots for each in own]),
        kv_bytes=spread([each.kv_bytes for each in own]),
        completion_tokens=spread([each.completion_tokens for each in own]),
        first_token_ms=spread([each.first_token_ms for each in own]),
        total_ms=spread([each.total_ms for each in own]),
    )


def unit(prices: Prices | None) -> str:
    """What costs are counted in: seconds of machine time, or a currency."""
    return "machine seconds" if prices is None else prices.currency


def question_cost(total_ms: float, prompt_tokens: float, prices: Prices | None = None) -> float:
    """What one question costs, in `unit(prices)`."""
    seconds = total_ms / 1000
    if prices is None:
        return seconds
    tokens = prompt_tokens / 1000 * prices.per_1k_prompt_tokens
    return seconds / 3600 * prices.per_machine_hour + tokens


def training_cost(training: TrainingCost | None, prices: Prices | None = None) -> float:
    """What making an arm's cartridges cost, in `unit(prices)`; nothing for an arm without any."""
    if training is None:
        return 0.0
    return question_cost(training.seconds * 1000, 0, prices)


def break_even(
    records: Sequence[Record],
    arm: str,
    against: str,
    training: Mapping[str, TrainingCost],
    prices: Prices | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> BreakEven:
    """After how many questions `arm` is no dearer than `against`, its training included.

    By the medians over the questions that both answered; the interval draws their documents anew, as every
    interval of a report does. The training's cost is taken as known.

    Raises:
        ValueError: when an arm answered nothing.
    """
    ours, theirs = _question_costs(records, arm, prices), _question_costs(records, against, prices)
    if not ours or not theirs:
        raise ValueError(f"Either {arm} or {against} answered no question.")
    common = sorted(set(ours) & set(theirs))
    if not common:
        sentence = f"{arm} and {against} answered no question in common."
        return BreakEven(arm, against, None, None, None, sentence)
    pairs = np.array([[ours[each], theirs[each]] for each in common])
    extra = training_cost(training.get(arm), prices) - training_cost(training.get(against), prices)
    saved = float(np.subtract(*np.median(pairs, axis=0)[::-1]))
    needed = _needed(extra, saved)
    if needed is None:
        sentence = (
            f"The training of {arm} never pays against {against}: a question costs no less with it "
            f"(medians, {unit(prices)})."
        )
        return BreakEven(arm, against, None, None, None, sentence)
    if needed == 0:
        sentence = f"{arm} is cheaper than {against} from the first question on."
        return BreakEven(arm, against, 0, None, None, sentence)
    low = high = None
    of = clusters(records)
    groups = [of[each] for each in common]
    if len({*groups}) > 1:
        least, most = _saved_interval(pairs, groups, resamples, seed)
        low, high = _needed(extra, most), _needed(extra, least)
    sentence = (
        f"The training of {arm} has paid against {against} after {count(needed)} "
        f"{'question' if needed == 1 else 'questions'} to the collection"
    )
    if low is not None:
        rest = f"{count(high)}" if high is not None else "never"
        sentence += f" (95 % interval {count(low)} to {rest})"
    return BreakEven(arm, against, needed, low, high, f"{sentence}.")


def curves(
    records: Sequence[Record],
    arms: Sequence[str],
    training: Mapping[str, TrainingCost],
    prices: Prices | None = None,
    *,
    met: Sequence[int] = (),
) -> tuple[Curve, ...]:
    """Cost after so many questions, of each arm that answered any; around the crossings `met`."""
    start, end = max(1, min(met, default=0) // 50), max(1000, 10 * max(met, default=0))
    asked = tuple(sorted({round(at) for at in np.geomspace(start, end, 61)}))
    found = []
    for arm in arms:
        each = _question_costs(records, arm, prices)
        if each:
            median, once = (
                float(np.median([*each.values()])),
                training_cost(training.get(arm), prices),
            )
            found.append(Curve(arm, asked, tuple(once + number * median for number in asked)))
    return tuple(found)


def _question_costs(records: Sequence[Record], arm: str, prices: Prices | None) -> dict[str, float]:
    return by_question(
        (record for record in records if record.arm == arm and answered(record)),
        lambda record: question_cost(record.total_ms, record.prompt_tokens, prices),
    )


def answered(record: Record) -> bool:
    """Whether the question was answered at all, rightly or not."""
    return not record.invalid or record.total_ms > 0


def _needed(extra: float, saved: float) -> int | None:
    """Questions until `saved` a question has made up for `extra`; None for never."""
    if extra <= 0 and saved >= 0:
        return 0
    if saved <= 0:
        return None
    # Rounded first: 3.0000000000000004 questions are three.
    return math.ceil(round(extra / saved, 6))


def _saved_interval(
    pairs: np.ndarray, groups: Sequence[str], resamples: int, seed: int
) -> tuple[float, float]:
    """95 % of what a question saves, by the medians, when whole groups of questions are drawn anew."""
    rng = np.random.default_rng(seed)
    of_group = np.unique(groups, return_inverse=True)[1]
    count = int(of_group.max()) + 1
    found: list[np.ndarray] = []
    batch = max(1, 1_000_000 // len(pairs))
    for start in range(0, resamples, batch):
        size = min(batch, resamples - start)
        times = rng.multinomial(count, np.full(count, 1 / count), size=size)
        theirs, ours = (_medians(pairs[:, side], times[:, of_group]) for side in (1, 0))
        found.append(theirs - ours)
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return float(low), float(high)


def _medians(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The medians `[n]` of values that are there so many `times`, `[n, values]`."""
    order = np.argsort(values, kind="stable")
    so_far = np.cumsum(times[:, order], axis=1)
    middle = np.argmax(2 * so_far >= so_far[:, -1:], axis=1)
    found: np.ndarray = values[order][middle]
    return found
