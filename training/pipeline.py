"""One document's way to a cartridge: self-study, initial slots, distillation, held-out check.

Everything a run has made lies in its folder, so that the same call goes on where it was stopped.
This file knows a reader, a text and a folder; it knows no store, no queue and no collection.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from cartridge_store.manifest import PositionRule
from cartridge_store.quantisation import dequantised, quantised
from inference.reader import Reader
from training.distillation import Distillation, distilling
from training.examples import StudyExample, seconds_before
from training.initialisers import Source, document_key_values, initialiser
from training.room import write_text
from training.settings import Cancelled, Progress, TrainingRefused, TrainingSettings
from training.student import Lesson, agreement, answer_logits, certainty
from training.studying import kept_study, split_study
from training.teacher import batched

__all__ = [
    "Cancelled",
    "Checked",
    "Distilled",
    "Progress",
    "TrainingRefused",
    "TrainingSettings",
    "check",
    "distil",
    "first_slots",
    "sure_figures",
]


class Former(Protocol):
    """A cartridge that served: its id and slots `[layers, kv_heads, slots, head_dim]`."""

    @property
    def cartridge(self) -> str: ...

    @property
    def keys(self) -> Tensor: ...

    @property
    def values(self) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Distilled:
    """Trained slots, in the reader's dtype, with what the held-out check says of them.

    `keys` and `values` are `[layers, kv_heads, slots, head_dim]`; `passed` tells whether the
    cartridge may be served, `reason` why. With `int8_values` they may be stored in eight bits.
    """

    keys: Tensor
    values: Tensor
    document_tokens: int
    position_rule: PositionRule
    initialiser: str
    recipe: dict[str, Any]
    figures: dict[str, Any]
    passed: bool
    reason: str
    int8_values: bool = False


def distil(
    reader: Reader,
    text: str,
    settings: TrainingSettings,
    *,
    workdir: Path,
    studies: Path | None = None,
    before: Former | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Distilled:
    """Distil `text` into slots. Raises TrainingRefused, Cancelled; same call, same result.

    `studies` is where the document's studies are kept beyond this run; `before` is the cartridge of what
    it was before it changed, to start from.
    """
    settings.require_positions(reader.max_positions)
    tokens = reader.count(text)
    if tokens < 4:
        raise TrainingRefused("The document is too short to train on; answer it from its text.")
    slots = settings.slots(tokens)
    workdir.mkdir(parents=True, exist_ok=True)
    begun = "" if before is None else before.cartridge
    _require_same_run(workdir / "run.json", reader, text, settings, begun)

    def reported(done: float) -> None:
        if cancelled():
            raise Cancelled
        progress(Progress("self-study", 0.4 * done))

    studied_at = workdir / "examples.parquet"
    examples = kept_study(reader, text, settings, studied_at, reported, studies=studies)
    held_out, studied = split_study(examples, settings)

    if before is None:
        first = first_slots(reader, text, slots, settings, studied)
        steps = settings.steps(len(studied))
    else:
        first = (before.keys.float(), before.values.float())
        steps = max(1, round(settings.steps(len(studied)) * settings.update_share))
    training = Distillation(*first, steps, settings, workdir)
    training.run(
        distilling(reader, studied, settings),
        lambda done: progress(Progress("distillation", 0.4 + 0.55 * done)),
        cancelled,
    )

    progress(Progress("check", 0.96))
    keys, values = (t.detach().to(reader.dtype).cpu() for t in (training.keys, training.values))
    found = check(reader, keys, values, held_out, settings)
    agreed = found.agreed
    passed = agreed >= settings.accept_at
    narrow = in_eight_bits(values, settings)
    found_int8 = None if narrow is None else check(reader, keys, narrow, held_out, settings)
    int8 = found_int8 is not None and found_int8.agreed >= agreed
    figures = {
        "held_out_agreement": round(agreed, 4),
        **({} if found_int8 is None else {"held_out_agreement_int8": round(found_int8.agreed, 4)}),
        **sure_figures(found_int8 if int8 and found_int8 is not None else found),
        "held_out": len(held_out),
        "first_loss": round(sum(training.losses[:10]) / len(training.losses[:10]), 4),
        "last_loss": round(sum(training.losses[-10:]) / len(training.losses[-10:]), 4),
        "conversations": len(studied),
        "studied_before_seconds": round(seconds_before(studied_at), 1),
        "steps": training.step,
    }
    progress(Progress("check", 1.0))
    return Distilled(
        keys=keys,
        values=values,
        document_tokens=tokens,
        position_rule=PositionRule("fixed", settings.question_offset),
        initialiser=settings.initialiser,
        recipe=settings.to_dict(),
        figures=figures,
        passed=passed,
        reason=(
            f"{agreed:.0%} of {len(held_out)} held-out answers equal the teacher's "
            f"({'at least' if passed else 'fewer than'} the {settings.accept_at:.0%} asked for)"
        ),
        int8_values=int8,
    )


def first_slots(
    reader: Reader,
    text: str,
    slots: int,
    settings: TrainingSettings,
    studied: Sequence[StudyExample] = (),
) -> tuple[Tensor, Tensor]:
    """The settings' initial keys and values for a text `[layers, kv_heads, slots, head_dim]`, float32."""
    source = Source(document_key_values(reader, text), reader, studied, settings.question_offset)
    return initialiser(settings.initialiser)(source, slots, settings.seed)


@dataclass(frozen=True, slots=True)
class Checked:
    """What the held-out answers say of slots.

    `agreed` is the share that the reader behind them gives token for token. `sure` has for each question
    the probability of its answer, how sure the reader is when it is right; None where it is wrong, or the
    text leaves the question open.
    """

    agreed: float
    sure: tuple[float | None, ...]


SURE, SURE_BESIDE = "held_out_probabilities", "held_out_probabilities_beside"
"""Figures that tell a service how sure the reader is when it is right: alone, and beside others."""


def sure_figures(alone: Checked, beside: Checked | None = None) -> dict[str, list[float]]:
    """The probabilities of right answers for a manifest, of a check alone and of one beside others.

    Rounded down to four digits: what is as sure as it is here is not to be doubted.
    """
    found = {SURE: _rounded(alone)}
    return found if beside is None else found | {SURE_BESIDE: _rounded(beside)}


def _rounded(checked: Checked) -> list[float]:
    down = Context(prec=4, rounding=ROUND_FLOOR)
    return sorted(float(down.create_decimal(str(p))) for p in checked.sure if p is not None)


@torch.no_grad()
def check(
    reader: Reader,
    keys: Tensor,
    values: Tensor,
    held_out: list[StudyExample],
    settings: TrainingSettings,
) -> Checked:
    """Let the reader behind the slots answer the held-out questions."""
    right: list[bool] = []
    sure: list[float] = []
    for rows in batched(len(held_out), settings.batch):
        lesson = Lesson.of([held_out[row] for row in rows], reader.device)
        logits = answer_logits(
            reader,
            keys.to(reader.device),
            values.to(reader.device),
            lesson,
            settings.question_offset,
        )
        right += agreement(logits, lesson)
        sure += certainty(logits, lesson)
    return Checked(
        agreed=sum(right) / len(right) if right else 0.0,
        sure=tuple(
            p if good and example.kind != "unanswered" else None
            for p, good, example in zip(sure, right, held_out, strict=True)
        ),
    )


def in_eight_bits(values: Tensor, settings: TrainingSettings) -> Tensor | None:
    """What would come back of values stored in eight bits; None where they are not to be, or cannot."""
    if not settings.int8_values or values.dtype != torch.bfloat16:
        return None
    return dequantised(*quantised(values), values.dtype)


def _require_same_run(
    path: Path, reader: Reader, text: str, settings: TrainingSettings, begun: str
) -> None:
    """A folder belongs to one run: reader, text, settings, and the cartridge that it began with.

    Anything else starts from nothing.
    """
    run = json.dumps(
        {
            "reader": reader.as_told,
            "text": text,
            "settings": settings.to_dict(),
            "begun": begun,
        },
        sort_keys=True,
    )
    if path.exists() and path.read_text(encoding="utf-8") != run:
        for stale in ("examples.parquet", "distillation.safetensors"):
            (path.parent / stale).unlink(missing_ok=True)
    write_text(path, run)
