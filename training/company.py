"""A collection's held-out check: each cartridge alone, and among the neighbours it will be loaded beside.

This file knows slots, held-out examples and a reader; it knows no pool, no folder and no store.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cartridge_store.manifest import PositionRule
from inference.reader import Reader
from training.examples import StudyExample
from training.joint import Member
from training.pipeline import Checked, Distilled, check, in_eight_bits, sure_figures
from training.settings import TrainingSettings
from training.studying import split_study

Slots = tuple[Tensor, Tensor]
"""Keys and values `[layers, kv_heads, slots, head_dim]`, in the reader's dtype."""


def company_of(member: Member, names: Sequence[str], settings: TrainingSettings) -> list[str]:
    """Whom a member is checked beside: its neighbours, nearest first, then others of `names`."""
    others = dict.fromkeys((*member.neighbours, *sorted(names)))
    return [name for name in others if name != member.name][: settings.beside]


def checked(
    reader: Reader,
    settings: TrainingSettings,
    member: Member,
    slots: Mapping[str, Slots],
    examples: Sequence[StudyExample],
    *,
    steps: int,
    recipe: Mapping[str, Any],
    studied_before: float = 0.0,
) -> Distilled:
    """The member's cartridge with what its check says of it.

    `slots` are its own and those of its company, by name; `examples` its whole study; `steps` what it was
    trained for; `recipe` what is to be said of its training beside the settings; `studied_before` the
    seconds that its study took in an earlier run.
    """
    together_with = {name: slots[name] for name in sorted(slots)}
    keys, values = slots[member.name]
    held_out, studied = split_study(examples, settings)

    def found(own: Tensor) -> tuple[Checked, Checked]:
        """Alone and beside the others, with these values of the member's own."""
        pairs = [(k, own if name == member.name else v) for name, (k, v) in together_with.items()]
        all_keys, all_values = (torch.cat(side, dim=2) for side in zip(*pairs, strict=True))
        return (
            check(reader, keys, own, held_out, settings),
            check(reader, all_keys, all_values, held_out, settings),
        )

    checks = found(values)
    alone, together = (each.agreed for each in checks)
    narrow = in_eight_bits(values, settings)
    narrow_checks = None if narrow is None else found(narrow)
    int8 = narrow_checks is not None and all(
        ours.agreed >= theirs.agreed for ours, theirs in zip(narrow_checks, checks, strict=True)
    )
    passed = min(alone, together) >= settings.accept_at
    beside = len(slots) - 1
    served = narrow_checks if int8 and narrow_checks else checks
    return Distilled(
        keys=keys,
        values=values,
        document_tokens=member.tokens,
        position_rule=PositionRule("fixed", settings.question_offset),
        initialiser=settings.initialiser,
        recipe=settings.to_dict() | dict(recipe),
        figures={
            "held_out_agreement": round(alone, 4),
            "held_out_agreement_beside": round(together, 4),
            **(
                {}
                if narrow_checks is None
                else {"held_out_agreement_int8": round(min(c.agreed for c in narrow_checks), 4)}
            ),
            **sure_figures(served[0], served[1] if beside else None),
            "beside": beside,
            "held_out": len(held_out),
            "conversations": len(studied),
            "studied_before_seconds": round(studied_before, 1),
            "steps": steps,
        },
        passed=passed,
        reason=(
            f"{alone:.0%} of {len(held_out)} held-out answers equal the teacher's alone and "
            f"{together:.0%} beside {beside} others "
            f"({'at least' if passed else 'not both'} the {settings.accept_at:.0%} asked for)"
        ),
        int8_values=int8,
    )
