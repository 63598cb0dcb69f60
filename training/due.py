"""Which of a document's examples are due: those that it last answered worst.

What is known need not be said as often, and what was known alone may be hard in company. This file knows
what examples lost; it knows no slots and no reader.
"""

from collections.abc import Mapping, Sequence

import torch

from training.pool import Resident
from training.rows import Row

UNSEEN = 3.0
"""Nats that an example is taken to lose that was not drawn yet: more than most do after a few steps."""


def due(member: Resident, examples: int, known: float) -> list[float]:
    """How likely each of a resident's examples is to be drawn: what it last lost, in nats, and `known`."""
    if member.lately is None or len(member.lately) != examples:  # of another study
        member.lately = torch.full((examples,), UNSEEN)
    weights: list[float] = (member.lately + known).tolist()
    return weights


def remember(residents: Mapping[str, Resident], rows: Sequence[Row], lost: Sequence[float]) -> None:
    """Keep what the residents' examples among `rows` have lost."""
    for row, loss in zip(rows, lost, strict=True):
        if row.own is None or row.place is None:
            continue
        lately = residents[row.own].lately
        if lately is not None:
            lately[row.place] = loss
