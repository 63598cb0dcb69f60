"""Thresholds that keep a promise: the quantile of split conformal prediction.

This file knows numbers; it knows not what they are of.
"""

import math
from collections.abc import Iterable


def threshold(values: Iterable[float], share: float) -> float | None:
    """What one more value like these falls below with a chance of at most `share`.

    Vovk, Gammerman and Shafer (Algorithmic Learning in a Random World, 2005): any of n + 1 like values is
    as likely the last one. None where there are too few to say so.
    """
    ordered = sorted(values)
    # 1e-9: 0.15 * 20 is 3.
    place = math.floor(share * (len(ordered) + 1) + 1e-9)
    return ordered[place - 1] if place >= 1 else None
