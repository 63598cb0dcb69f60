"""Rows of a batch: which documents are asked about, and which cartridges stand before each question.

Documents that learn are drawn in proportion to their length. Those that are frozen are asked about too,
with a learner beside them: so a newcomer learns to be quiet when somebody else is meant. This file knows
names and examples; it knows no slots and no reader.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from training.examples import StudyExample
from training.mixing import Mixing, visible_set


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch: what is asked, whose cartridge answers it, and which ones it sees.

    `place` is the example's in the study of a document that learns.
    """

    example: StudyExample
    own: str | None
    visible: tuple[str, ...]
    place: int | None = None


def unanswered(example: StudyExample, silence: Sequence[int]) -> StudyExample:
    """The same question where nothing answers it: `silence`, the ids of the answer, is certain."""
    shape = (len(silence), example.top_ids.shape[1])
    top_ids, top_logprobs = np.zeros(shape, np.int32), np.full(shape, -np.inf, np.float32)
    top_ids[:, 0], top_logprobs[:, 0] = silence, 0.0
    return replace(
        example,
        kind="unanswered",
        answer=tuple(silence),
        top_ids=top_ids,
        top_logprobs=top_logprobs,
    )


@dataclass(frozen=True, slots=True)
class Draw:
    """Whom rows are drawn from, at one step.

    `weights` are those of the documents that learn. `guarded` are frozen ones with a study, asked about in
    `guard` of the rows; `frozen` are all that may stand beside. `nearest` of a document are the most
    like it. `general_share` of the rows about learners are about no document; in `absent` of them the
    document that would answer is not seen, and the answer is `silence`, the ids of *not stated*. Examples
    of a learner's study are drawn in proportion to `due`; where it is None, each as likely.
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
    absent: float = 0.0
    silence: tuple[int, ...] = ()
    due: Callable[[str], Sequence[float] | None] = lambda _: None

    def rows(self, count: int, rng: Random) -> list[Row]:
        """`count` rows; the same for the same state of `rng`."""
        learners, weights = [*self.weights], [*self.weights.values()]
        at_hand = sorted((*learners, *self.frozen))
        drawn = []
        for own in rng.choices(learners, weights, k=count):
            if self.guarded and rng.random() < self.guard:
                drawn.append(self._guarding(own, at_hand, rng))
                continue
            if self.absent and rng.random() < self.absent:
                asked = self._asked_of_others(own, at_hand, rng)
                if asked is not None:
                    drawn.append(asked)
                    continue
            if rng.random() < self.general_share:
                visible = visible_set(self.mixing, own, at_hand, self._nearest(own, None), rng)
                drawn.append(Row(rng.choice(self.general), None, visible))
                continue
            study = self.study(own)
            (place,) = rng.choices(range(len(study)), self.due(own))
            nearest = self._nearest(own, study[place])
            visible = visible_set(self.mixing, own, at_hand, nearest, rng)
            drawn.append(Row(study[place], own, visible, place))
        return drawn

    def _guarding(self, learner: str, at_hand: Sequence[str], rng: Random) -> Row:
        """A frozen document's question, with a learner among those beside it."""
        own = rng.choice(self.guarded)
        example = rng.choice(self.study(own))
        visible = visible_set(self.mixing, own, at_hand, self._nearest(own, example), rng)
        return Row(example, own, tuple(sorted({*visible, learner})))

    def _asked_of_others(self, own: str, at_hand: Sequence[str], rng: Random) -> Row | None:
        """A document's question without the document: nobody else is to answer it.

        Somebody who learns is to see it: who learns alone sees a frozen document's, and where none of
        these is known there is no such row.
        """
        learners = sorted(name for name in self.weights if name != own)
        if not learners:
            if not self.guarded:
                return None
            own, learners = rng.choice(self.guarded), [own]
        example = rng.choice(self.study(own))
        visible = visible_set(self.mixing, own, at_hand, self._nearest(own, example), rng)
        others = [name for name in visible if name != own]
        if not any(name in self.weights for name in others):
            others = sorted({*others, rng.choice(learners)})
        return Row(unanswered(example, self.silence), None, tuple(others))

    def _nearest(self, own: str, example: StudyExample | None) -> list[str]:
        # What retrieval brings for this very question, then what it brings for the document's.
        rivals = () if example is None else example.rivals
        return [*dict.fromkeys((*rivals, *self.nearest.get(own, ())))]
