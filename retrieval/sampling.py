"""Some of many. Knows nothing of what they are."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def spread(items: Sequence[T], most: int) -> Sequence[T]:
    """All of them, or where they are more than `most` some, evenly spread from the first on."""
    return items[:: max(1, -(-len(items) // most))]
