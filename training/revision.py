"""The study of a document that has changed: what still holds is kept, what is new is asked for.

Every earlier answer is held against both texts: one that the new text makes less likely than the old one
did is stale. Self-study then asks about the sentences that the old text did not have. This file knows
texts and examples; it knows no cartridge and no folder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inference.reader import Reader, stacked
from training.examples import StudyExample
from training.initialisers import document_key_values
from training.settings import TrainingSettings
from training.student import Lesson, answer_logits
from training.teacher import batched
from training.windows import split_pieces

_LESS_LIKELY = 1.0
"""Nats that a whole answer may lose: rounding and another place in the text are worth less."""

_MOST_CHANGED = 0.5
"""Of the sentences: beyond that a study from nothing is as cheap."""


@dataclass(frozen=True, slots=True)
class Revision:
    """What an earlier study is worth now: examples that still hold, and sentences that are new.

    `held_out` of the `kept` examples, the first ones, were held out before. `covered` are the pieces of the
    new text that the old one had.
    """

    kept: tuple[StudyExample, ...]
    held_out: int
    covered: frozenset[int]


def revision(
    reader: Reader,
    text: str,
    before: str,
    examples: Sequence[StudyExample],
    settings: TrainingSettings,
    report: Callable[[float], None] = lambda _: None,
) -> Revision | None:
    """Hold an earlier study against the new text; None where too much has changed for it to be of use.

    `report` is told the share that is done, 0 to 1, and may raise to stop.
    """
    covered = still_there(text, before)
    # A long text is cut where it is read, and each example would cost more than a new one.
    most = min(2_048, reader.max_positions // 4)
    if covered is None or max(map(reader.count, (text, before))) > most:
        return None
    old = _likely(reader, before, examples, settings, lambda done: report(done / 2))
    new = _likely(reader, text, examples, settings, lambda done: report(0.5 + done / 2))
    first = min(settings.held_out, len(examples) // 4)
    kept: list[StudyExample] = []
    held_out = 0
    for place, (example, was, now) in enumerate(zip(examples, old, new, strict=True)):
        if now >= was - _LESS_LIKELY:
            kept.append(example)
            held_out += place < first
    return Revision(tuple(kept), held_out, covered)


def still_there(text: str, before: str) -> frozenset[int] | None:
    """The pieces of a text that an earlier one had; None where most of them are new."""
    had = {(piece.heading, piece.text) for piece in split_pieces(before)}
    pieces = split_pieces(text)
    covered = frozenset(
        index for index, piece in enumerate(pieces) if (piece.heading, piece.text) in had
    )
    return covered if len(covered) >= (1 - _MOST_CHANGED) * len(pieces) else None


@torch.no_grad()
def _likely(
    reader: Reader,
    text: str,
    examples: Sequence[StudyExample],
    settings: TrainingSettings,
    report: Callable[[float], None],
) -> list[float]:
    """The log-probability of each whole answer with the text in context."""
    document = document_key_values(reader, text)
    keys, values = stacked(document)
    behind = keys.shape[2] + 1  # the sink's column stands first
    found: list[float] = []
    for rows in batched(len(examples), settings.batch):
        some = [examples[row] for row in rows]
        lesson = Lesson.of(some, reader.device)
        logits = answer_logits(reader, keys, values, lesson, behind)
        tokens = torch.log_softmax(logits.float(), -1).gather(-1, lesson.targets[:, None])[:, 0]
        found += _summed(tokens, lesson.rows, len(some))
        report(rows.stop / len(examples))
    return found


def _summed(tokens: Tensor, rows: Tensor, count: int) -> list[float]:
    sums = np.zeros(count)
    np.add.at(sums, rows.cpu().numpy(), tokens.cpu().numpy())
    return [float(each) for each in sums]
