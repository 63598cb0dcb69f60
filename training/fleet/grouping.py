"""Groups of a collection's documents that are trained together: look-alikes share a group.

A cartridge learns to be quiet beside those that it is trained with, so those that retrieval would bring
together belong together. This file knows names and how often retrieval confuses them; it knows no text.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from training.settings import TrainingRefused

Affinity = Mapping[str, Mapping[str, float]]
"""How alike two names are, as seen from either; names that are not listed are not alike at all."""


def affinity(rivals: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, Counter[str]]:
    """How often retrieval brings one document for the other's questions, either way.

    `rivals` has for each document, for each question of its study, what other documents were found.
    """
    alike: dict[str, Counter[str]] = {name: Counter() for name in rivals}
    for name, found in rivals.items():
        for others in found:
            for other in others:
                if other in alike and other != name:
                    alike[name][other] += 1
                    alike[other][name] += 1
    return alike


def partition(names: Sequence[str], alike: Affinity, most: int) -> list[tuple[str, ...]]:
    """As few groups of at most `most` as hold all names, of sizes that differ by one at most.

    Each group grows by whoever is most like those in it; ties go by the order of `names`. Same
    arguments, same groups, each in the order of `names`. Raises TrainingRefused: groups of fewer than
    three would leave somebody alone.
    """
    if most < 3:
        raise TrainingRefused("A group must hold at least 3 documents; choose a larger number.")
    place = {name: index for index, name in enumerate(names)}
    waiting = dict.fromkeys(names)
    count = math.ceil(len(names) / most)
    groups = []
    for number in range(count):
        size = (len(names) + number) // count  # the last ones take what does not divide
        group: list[str] = []
        pull: Counter[str] = Counter()
        while len(group) < size:
            chosen = min(pull, key=lambda name: (-pull[name], place[name]), default=None)
            if chosen is None:
                chosen = next(iter(waiting))
            group.append(chosen)
            del waiting[chosen]
            pull.pop(chosen, None)
            for other, weight in alike.get(chosen, {}).items():
                if other in waiting:
                    pull[other] += weight  # type: ignore[assignment]
        groups.append(tuple(sorted(group, key=place.__getitem__)))
    return groups
