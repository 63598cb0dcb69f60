"""Rows of a batch: which documents are asked about, and which cartridges stand before each question.

Documents that learn are drawn in proportion to their length. Those that are frozen are asked about too,
with a learner beside them: so a newcomer learns to be quiet when somebody else is meant. This file knows
names and examples; it knows no slots and no reader.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from training.examples import StudyExample
from training.mixing import Mixing, visible_set


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch: what is asked, whose cartridge answers it, and which ones it sees."""

    example: StudyExample
    own: str | None
    visible: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draw:
    """Whom rows are drawn from, at one step.

    `weights` are those of the documents that learn. `guarded` are frozen ones with a study, asked about in
    `guard` of the rows; `frozen` are all that may stand beside. `nearest` of a document are the most
    like it. `general_share` of the rows about learners are about no document.
    """

    mixing: Mixing
    weights: Mapping[str, float]
    study: Callable[[str], Sequence[StudyExample]]
    nearest: Mapping[str, Sequence[str]]
    general: Sequence[StudyExample] = ()
    general_share: float = 0.0
    frozen: Sequence[str] = ()
    guarded: Sequence[str] = ()
    guard: float = 0.0

    def rows(self, count: int, rng: Random) -> list[Row]:
        """`count` rows; the same for the same state of `rng`."""
        learners, weights = [*self.weights], [*self.weights.values()]
        at_hand = sorted((*learners, *self.frozen))
        drawn = []
        for own in rng.choices(learners, weights, k=count):
            if self.guarded and rng.random() < self.guard:
                drawn.append(self._guarding(own, at_hand, rng))
                continue
            about = rng.random() >= self.general_share
            example = rng.choice(self.study(own) if about else self.general)
            visible = visible_set(
                self.mixing, own, at_hand, self._nearest(own, example if about else None), rng
            )
            drawn.append(Row(example, own if about else None, visible))
        return drawn

    def _guarding(self, learner: str, at_hand: Sequence[str], rng: Random) -> Row:
        """A frozen document's question, with a learner among those beside it."""
        own = rng.choice(self.guarded)
        example = rng.choice(self.study(own))
        visible = visible_set(self.mixing, own, at_hand, self._nearest(own, example), rng)
        return Row(example, own, tuple(sorted({*visible, learner})))

    def _nearest(self, own: str, example: StudyExample | None) -> list[str]:
        # What retrieval brings for this very question, then what it brings for the document's.
        rivals = () if example is None else example.rivals
        return [*dict.fromkeys((*rivals, *self.nearest.get(own, ())))]
