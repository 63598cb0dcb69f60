"""What some numbers of slots tell of a document: a short training with each, and its held-out answers.

By that the slots of a collection are shared out. This file knows a reader, texts and their studies; it
knows no company: a document is tried for itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from inference.reader import Reader
from training.allotment import Probe, allot
from training.distillation import Distillation, distilling
from training.examples import StudyExample
from training.joint import Member
from training.pipeline import first_slots
from training.settings import TrainingSettings
from training.student import Lesson, answer_states, distillation_loss
from training.studying import split_study
from training.teacher import batched

SIZES = (0.5, 1.0, 2.0)
"""Numbers of slots that are tried, as shares of what the settings' compression would give."""


def allotted(
    reader: Reader,
    members: Sequence[Member],
    texts: Mapping[str, str],
    examples: Callable[[Member], Sequence[StudyExample]],
    settings: TrainingSettings,
    folder: Path,
    report: Callable[[float], None] = lambda _: None,
) -> tuple[Member, ...]:
    """The members, each with its part of the slots that the settings' compression gives them all.

    `texts` are by name, `examples` reads a member's study; what raises in `report` stops it, and the same
    call goes on from what lies in `folder`.
    """
    probes = []
    for place, member in enumerate(members):

        def tried(done: float, place: int = place) -> None:
            report((place + done) / len(members))

        studied, own = examples(member), folder / member.digest
        probes.append(probe(reader, member.name, texts[member.name], studied, settings, own, tried))
    budget = sum(settings.slots(member.tokens) for member in members)
    found = allot(probes, budget, settings.least_told)
    return tuple(replace(member, slots=found[member.name]) for member in members)


def probe(
    reader: Reader,
    name: str,
    text: str,
    examples: Sequence[StudyExample],
    settings: TrainingSettings,
    folder: Path,
    report: Callable[[float], None] = lambda _: None,
) -> Probe:
    """Train `text` for `probe_steps` with each number of slots; what raises in `report` stops it.

    Its state lies in `folder`, and the same call goes on from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held_out, studied = split_study(examples, settings)
    tokens = reader.count(text)
    sizes = sorted({settings.slots(tokens, share) for share in SIZES})
    layers = len(reader.sink)
    _, heads, _, width = reader.sink[0][0].shape
    nothing = torch.zeros((layers, heads, 0, width), device=reader.device)
    without, least = _loss(reader, nothing, nothing, held_out, settings)
    told = []
    for place, slots in enumerate(sizes):

        def trained(done: float, place: int = place) -> None:
            report((place + done) / len(sizes))

        run = Distillation(
            *first_slots(reader, text, slots, settings, studied),
            settings.probe_steps,
            settings,
            folder,
            f"probe-{slots}",
        )
        run.run(distilling(reader, studied, settings), trained)
        loss, _ = _loss(reader, run.keys, run.values, held_out, settings)
        told.append((without - loss) / max(without - least, 1e-6))
    return Probe(name, tuple(sizes), tuple(told))


@torch.no_grad()
def _loss(
    reader: Reader,
    keys: Tensor,
    values: Tensor,
    held_out: Sequence[StudyExample],
    settings: TrainingSettings,
) -> tuple[float, float]:
    """The distillation loss of the held-out answers behind slots, and the least that it can be."""
    total = least = 0.0
    tokens = 0
    for rows in batched(len(held_out), settings.batch):
        lesson = Lesson.of([held_out[row] for row in rows], reader.device)
        hidden = answer_states(reader, keys, values, lesson, settings.question_offset)
        total += float(distillation_loss(reader, hidden, lesson)) * len(hidden)
        least -= float((lesson.top_logprobs.exp() * lesson.top_logprobs).sum())
        tokens += len(hidden)
    return total / max(tokens, 1), least / max(tokens, 1)
