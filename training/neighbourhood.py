"""What a newcomer and those already there answer beside each other.

Held-out questions of the neighbours are asked with and without the newcomer in their company, so that what
it costs them is known before it serves. This file knows slots and studies; it trains nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inference.reader import Reader
from training.collection import Text
from training.company import Slots, checked
from training.examples import StudyExample
from training.joint import Member
from training.pipeline import Distilled, check
from training.settings import TrainingSettings
from training.studying import split_study

NOTICED = 0.125
"""A loss of no more than one in eight held-out answers is not told from chance: where three in a hundred
turn for the better and as many for the worse, one of four neighbours with 24 each loses more than that in
one of a hundred checks."""


@dataclass(frozen=True, slots=True, eq=False)
class Serving:
    """A document and the cartridge that answers for it: `[layers, kv_heads, slots, head_dim]`.

    `cartridge` is its id: another one is another company.
    """

    text: Text
    cartridge: str
    keys: Tensor
    values: Tensor

    @property
    def slots(self) -> Slots:
        """Keys and values."""
        return self.keys, self.values


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A document with its whole study."""

    text: Text
    examples: Sequence[StudyExample]


class Neighbourhood:
    """Everybody's slots as they stand, by name; `newcomer` is one of them."""

    def __init__(
        self,
        reader: Reader,
        settings: TrainingSettings,
        newcomer: str,
        slots: Mapping[str, Slots],
    ) -> None:
        self._reader, self._settings, self._newcomer = reader, settings, newcomer
        self.slots = dict(slots)

    def agreed(self, each: Known, *, without_newcomer: bool = False) -> float:
        """The share of a neighbour's held-out answers that equal the teacher's, in company."""
        names = [each.text.name, *self._others(each.text.name)]
        if without_newcomer:
            names.remove(self._newcomer)
        keys, values = (
            torch.cat(side, dim=2)
            for side in zip(*(self.slots[name] for name in sorted(names)), strict=True)
        )
        held_out, _ = split_study(each.examples, self._settings)
        return check(self._reader, keys, values, held_out, self._settings).agreed

    def alone(self, each: Known) -> float:
        """The same share with nobody beside it."""
        held_out, _ = split_study(each.examples, self._settings)
        return check(self._reader, *self.slots[each.text.name], held_out, self._settings).agreed

    def checked(
        self, each: Known, steps: int, studied_before: float, nearest: Sequence[str] = ()
    ) -> Distilled:
        """A document's cartridge with its check, alone and beside its nearest."""
        text = each.text
        company = [name for name in nearest if name in self.slots] or self._others(text.name)
        return checked(
            self._reader,
            self._settings,
            Member(text.name, self._reader.count(text.text), text.digest),
            {name: self.slots[name] for name in {text.name, *company[: self._settings.beside]}},
            each.examples,
            steps=steps,
            recipe={"joined": True},
            studied_before=studied_before,
        )

    def _others(self, name: str) -> list[str]:
        """The newcomer first, then others, as many as a check has."""
        others = dict.fromkeys((self._newcomer, *self.slots))
        return [other for other in others if other != name][: self._settings.beside]


def judged(
    found: Distilled,
    before: Mapping[str, float],
    after: Mapping[str, float],
    settings: TrainingSettings,
) -> Distilled:
    """The newcomer's cartridge, which fails where a neighbour lost too much by it.

    `before` and `after` are neighbours' shares of held-out answers, without and with it.
    """
    if not before:  # nobody's study is kept
        return replace(found, figures=found.figures | {"neighbours": 0})
    worst = max(before, key=lambda name: before[name] - after[name])
    lost = before[worst] - after[worst]
    figures = found.figures | {
        "neighbours": len(before),
        "neighbours_before": round(sum(before.values()) / len(before), 4),
        "neighbours_after": round(sum(after.values()) / len(after), 4),
        "worst_loss": round(lost, 4),
    }
    if lost <= settings.harm:
        return replace(found, figures=figures)
    return replace(
        found,
        figures=figures,
        passed=False,
        reason=(
            f"Beside it, {worst} gives {after[worst]:.0%} of its held-out answers instead of "
            f"{before[worst]:.0%}. Look at what this document says of others, or train the collection "
            "as a whole."
        ),
    )
