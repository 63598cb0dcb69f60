"""Joint training: the cartridges of a collection learn beside each other, so that they compose.

Cartridges at Scale (arXiv 2606.04557): each row of a batch asks about one resident document and sees that
document's cartridge alone or among distractors; gradients flow to every visible cartridge, so that
each also learns to be quiet when it is not asked. A batch draws its own documents in proportion to
their length, and their examples by what these last lost: what is known need not be said as often. Every
step is a function of seed and of the steps before it, and the pool's checkpoints are exact: on a CPU a run
that was killed ends with the very cartridges of one that was not. This file knows members by name and
their examples; it knows no store, no index and no API.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Literal

import torch
from torch import Tensor

from cartridge_store.errors import InvalidId
from inference.reader import Reader
from training.due import due, remember
from training.examples import StudyExample
from training.mixing import Mixing
from training.packed import Sees
from training.pool import Pool, Resident
from training.rows import Draw, Row
from training.settings import Cancelled, TrainingRefused, TrainingSettings
from training.student import Lesson, answer_states, excess, token_losses

OffsetRule = Literal["fixed", "visible"]
"""Where a question stands: at `question_offset`, or right behind the slots that it sees."""


OWN_SECOND_MOMENT = 0.999
"""Adam's for one that learns alone, in every row of its batches: as in a document's own training."""


@dataclass(frozen=True, slots=True)
class JointSettings:
    """A collection's recipe; steps are optimiser steps of the whole pool."""

    steps: int
    seed: int = 0
    batch: int = 24
    pool: int = 20
    rotate_every: int = 10
    rotate_share: float = 0.5
    mixing: Mixing = field(default_factory=Mixing)
    general_share: float = 0.0  # rows about no document, answered as by the reader without any
    guard: float = 0.25  # rows about frozen documents, where there are any
    absent: float = 0.0  # rows whose own document is not seen, answered by `not_stated`
    not_stated: str = "That is not stated."
    question_offset: int = 1024
    offset_rule: OffsetRule = "fixed"
    learning_rate: float = 0.04
    warm_up: int = 20  # steps of each cartridge, fresh for every one
    final_rate: float = 0.02
    second_moment: float = 0.99  # Adam's; a first loss that is high is to be forgotten
    known: float | None = 0.2  # an example's weight, beside what it last lost; None: all are alike
    checkpoint_every: int = 50

    def __post_init__(self) -> None:
        counts = ("steps", "batch", "rotate_every", "checkpoint_every", "warm_up")
        for name in counts:
            if getattr(self, name) < 1:
                raise TrainingRefused(f"{name} must be at least 1.")
        if self.pool < 2:
            raise TrainingRefused("pool must be at least 2: mixing needs company.")
        if not 0 <= self.general_share < 1 or not 0 <= self.rotate_share <= 1:
            raise TrainingRefused("general_share and rotate_share are shares, from 0 to 1.")
        if not 0 <= self.absent < 1:
            raise TrainingRefused("absent is a share below 1.")
        if self.known is not None and self.known <= 0:
            raise TrainingRefused("known is above 0: what is known today may be lost tomorrow.")
        if not 0 <= self.guard < 1:
            raise TrainingRefused(
                "guard is a share below 1: newcomers have to learn for themselves."
            )

    @classmethod
    def of(
        cls, settings: TrainingSettings, *, steps: int, pool: int, learning_rate: float
    ) -> "JointSettings":
        """A document's recipe, as it is for documents that learn beside each other."""
        return cls(
            steps=steps,
            seed=settings.seed,
            batch=settings.batch,
            pool=pool,
            mixing=Mixing(settings.alone, settings.distractors, hard=settings.hard),
            guard=settings.guard,
            absent=settings.absent,
            not_stated=settings.not_stated,
            question_offset=settings.question_offset,
            learning_rate=learning_rate,
            warm_up=settings.warm_up,
            final_rate=settings.final_rate,
            checkpoint_every=settings.checkpoint_every,
        )


@dataclass(frozen=True, slots=True)
class Member:
    """A document of the collection: its weight (tokens), a digest of what is learned of it (text or
    study), the documents most like it, and its slots where they are not what the settings give."""

    name: str
    tokens: int
    digest: str
    neighbours: tuple[str, ...] = ()
    slots: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    """A document beside whose cartridge others learn, and which stays as it is.

    `keys` and `values` are `[layers, kv_heads, slots, head_dim]`. Without `examples` of its study nobody
    learns to leave its questions to it.
    """

    name: str
    digest: str
    keys: Tensor
    values: Tensor
    examples: Sequence[StudyExample] = ()
    neighbours: tuple[str, ...] = ()


class JointTraining:
    """A run over a collection, in a folder that holds its state."""

    def __init__(
        self,
        reader: Reader,
        members: Sequence[Member],
        examples: Callable[[str], Sequence[StudyExample]],
        first_slots: Callable[[str], tuple[Tensor, Tensor]],
        settings: JointSettings,
        folder: Path,
        general: Sequence[StudyExample] = (),
        frozen: Sequence[Frozen] = (),
    ) -> None:
        """`examples` reads a member's study, `first_slots` makes its initial keys and values.

        Both are called when they are needed: only residents' examples are held. `frozen` are there from the
        first step to the last. A folder with a checkpoint of the same run goes on from there. Raises
        TrainingRefused.
        """
        if len(members) + len(frozen) < (2 if settings.mixing.alone < 1 else 1):
            raise TrainingRefused("Joint training needs at least two documents.")
        if settings.general_share and not general:
            raise TrainingRefused("general_share needs general examples.")
        for member in members:
            if member.tokens < 1:
                raise TrainingRefused(f"{member.name} has no tokens to train on; leave it out.")
        self._reader, self._settings, self._general = reader, settings, general
        self._weights = {member.name: float(member.tokens) for member in members}
        self._neighbours = {member.name: member.neighbours for member in members}
        self._read = examples
        self._examples: dict[str, Sequence[StudyExample]] = {}
        self._frozen = {
            each.name: replace(
                each,
                keys=each.keys.float().to(reader.device),
                values=each.values.float().to(reader.device),
            )
            for each in frozen
        }
        self._neighbours |= {each.name: each.neighbours for each in frozen}
        identity = json.dumps(
            [
                reader.fingerprint,
                asdict(settings),
                [asdict(member) for member in members],
                [(each.name, each.digest) for each in frozen],
            ],
            sort_keys=True,
        )
        self.pool = Pool(
            folder / "pool",
            settings.pool,
            reader.device,
            hashlib.sha256(identity.encode()).hexdigest(),
            settings.second_moment,
        )
        try:
            found = self.pool.resume()
            if found is None:
                for member in members:
                    self.pool.add(member.name, *first_slots(member.name))
        except (ValueError, InvalidId) as error:
            raise TrainingRefused(str(error)) from error
        if found is None:
            self._rotate(0)
            self.pool.checkpoint(0)
        self.step = found or 0

    def run(
        self, report: Callable[[float], None], cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        """Train to the last step. Raises Cancelled, with a checkpoint of this moment."""
        settings = self._settings
        while self.step < settings.steps:
            if cancelled():
                self.pool.checkpoint(self.step)
                raise Cancelled
            if self.step and self.step % settings.rotate_every == 0:
                self._rotate(self.step)
            self._learn(self._rows())
            self.step += 1
            if self.step % settings.checkpoint_every == 0 or self.step == settings.steps:
                self.pool.checkpoint(self.step)
            report(self.step / settings.steps)

    def _rotate(self, step: int) -> None:
        settings = self._settings
        self.pool.rotate(settings.rotate_share, self._dice(step), step)
        following = (step // settings.rotate_every + 1) * settings.rotate_every
        self.pool.expect(settings.rotate_share, self._dice(following))
        for name in self._examples.keys() - self.pool.resident.keys():
            del self._examples[name]

    def _dice(self, step: int) -> Random:
        return Random(f"rotate/{self._settings.seed}/{step}")

    def _rows(self) -> list[Row]:
        """This step's batch."""
        settings = self._settings
        draw = Draw(
            settings.mixing,
            {name: self._weights[name] for name in sorted(self.pool.resident)},
            self._study,
            self._neighbours,
            self._general,
            settings.general_share,
            [*self._frozen],
            [name for name, each in self._frozen.items() if each.examples],
            settings.guard,
            settings.absent,
            tuple(self._reader.chat.answer(settings.not_stated, self._reader.end_id)),
            self._due,
        )
        return draw.rows(settings.batch, Random(f"step/{settings.seed}/{self.step}"))

    def _study(self, name: str) -> Sequence[StudyExample]:
        if name in self._frozen:
            return self._frozen[name].examples
        if name not in self._examples:
            self._examples[name] = self._read(name)
            if not self._examples[name]:
                raise TrainingRefused(f"{name} has no study to learn from; leave it out.")
        return self._examples[name]

    def _due(self, name: str) -> list[float] | None:
        """How likely each of a resident's examples is to be drawn."""
        known = self._settings.known
        if known is None:
            return None
        return due(self.pool.resident[name], len(self._study(name)), known)

    def _learn(self, rows: Sequence[Row]) -> None:
        """One step of the pool, by the rows of a batch."""
        keys, values, sees = self._side_by_side(rows)
        lesson = Lesson.of([row.example for row in rows], self._reader.device)
        # Position 0 is the sink's.
        behind = self._settings.offset_rule == "visible"
        offset = 1 + sees.visible.sum(1) if behind else self._settings.question_offset
        hidden = answer_states(self._reader, keys, values, lesson, offset, sees)
        losses = token_losses(self._reader, hidden, lesson)
        loss = losses.mean()
        self.pool.losses.append(float(loss.detach()))
        if not math.isfinite(self.pool.losses[-1]):
            raise TrainingRefused(
                "The loss is not finite: choose a lower learning rate (joint_rate), and train again."
            )
        torch.autograd.backward(loss)
        remember(self.pool.resident, rows, excess(losses, lesson))
        own = {row.own for row in rows}
        shown = sorted({name for row in rows for name in row.visible})
        learners = [
            name
            for name in shown
            if name in self.pool.resident
            and (self._settings.mixing.learners == "all" or name in own)
        ]
        self.pool.learn(learners, {name: self._rate(name) for name in learners})

    def _slots(self, name: str) -> Resident | Frozen:
        return self._frozen.get(name) or self.pool.resident[name]

    def _side_by_side(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor, Sees]:
        """The shown cartridges' slots `[layers, kv_heads, slots, head_dim]`, and which each row sees.

        Where only a row's own cartridge learns from it, there are two of each: that which learns, and what
        others see of it.
        """
        shown = sorted({name for row in rows for name in row.visible})
        members = [self._slots(name) for name in shown]
        ends = list(accumulate(member.keys.shape[2] for member in members))
        place = dict(zip(shown, map(range, [0, *ends], ends), strict=False))
        keys, values = (
            torch.cat(parts, dim=2)
            for parts in ([m.keys for m in members], [m.values for m in members])
        )
        others = 0
        if self._settings.mixing.learners == "own":
            others = keys.shape[2]
            keys, values = (torch.cat([t, t.detach()], dim=2) for t in (keys, values))
        seen = [
            [
                slot + (0 if name == row.own else others)
                for name in row.visible
                for slot in place[name]
            ]
            for row in rows
        ]
        columns = torch.zeros((len(rows), max(map(len, seen))), dtype=torch.long)
        visible = torch.zeros(columns.shape, dtype=torch.bool)
        for number, slots in enumerate(seen):
            columns[number, : len(slots)] = torch.tensor(slots)
            visible[number, : len(slots)] = True
        device = self._reader.device
        return keys, values, Sees(columns.to(device), visible.to(device))

    def _rate(self, name: str) -> float:
        settings = self._settings
        warm = min(1.0, (self.pool.steps[name] + 1) / settings.warm_up)
        left = max(settings.final_rate, 1 - self.step / settings.steps)
        return settings.learning_rate * warm * left
