"""Distractor mixing: which cartridges an example sees beside its own while it is learned.

Cartridges trained alone collapse when they are loaded together; those that have learned beside others
compose (Cartridges at Scale, arXiv 2606.04557). Here an example sees its own cartridge alone with
probability `alone`, else with 1 to `most` distractors: resident cartridges at random, or those of
the documents that retrieval would bring for the question. This file draws names of cartridges; it knows
no tensors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from training.settings import TrainingRefused

Learner = Literal["all", "own"]
Company = Literal["log", "uniform"]


@dataclass(frozen=True, slots=True)
class Mixing:
    """How examples are mixed. `learners`: who gets gradients, every visible cartridge or the own one.

    `company`: how many distractors a mixed example sees, from 1 to `most`: each number as likely, as the
    paper has it, or its logarithm even. Cartridges learn for the company they keep: with each number as
    likely, those of two to four were worse than those of twenty (docs/log.md).
    """

    alone: float = 0.3
    most: int = 19
    company: Company = "log"
    hard: float = 0.5  # share of mixed examples whose distractors are the question's nearest
    learners: Learner = "all"

    def __post_init__(self) -> None:
        if not 0 <= self.alone <= 1 or not 0 <= self.hard <= 1:
            raise TrainingRefused("alone and hard are shares: choose numbers from 0 to 1.")
        if self.most < 1:
            raise TrainingRefused("most must be at least 1: an example is mixed with somebody.")


def visible_set(
    mixing: Mixing,
    own: str,
    resident: Sequence[str],
    nearest: Sequence[str],
    rng: Random,
) -> tuple[str, ...]:
    """The own cartridge and its distractors, in canonical order (by name).

    `resident` are the cartridges on the device; `nearest` are other documents, the most confusing
    first. Those that are not resident cannot be shown; where too few are, others take their place.
    """
    if rng.random() < mixing.alone:
        return (own,)
    others = [name for name in resident if name != own]
    # Of the numbers that there can be: else nearly every row of a small collection sees all of it.
    most = min(mixing.most, len(others))
    if not most:
        return (own,)
    if mixing.company == "log":
        wanted = min(most, int(math.exp(rng.random() * math.log(most + 1))))
    else:
        wanted = rng.randint(1, most)
    chosen: list[str] = []
    if rng.random() < mixing.hard:
        at_hand = set(others)
        chosen = [name for name in nearest if name in at_hand][:wanted]
    rest = [name for name in others if name not in chosen]
    chosen += rng.sample(rest, min(wanted - len(chosen), len(rest)))
    return tuple(sorted((own, *chosen)))
