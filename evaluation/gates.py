"""The gates: does the reader read, is mounting lossless, do isolated cartridges hold, and collapse?

`cartridges reproduce gates` runs this over several seeds and writes `docs/results/gates.json`. Every
arm answers the same held-out questions; an answer counts when the whole sentence is right. This file
knows the experiments; it knows no service.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evaluation.arms import answers, no_context, slots, truncated
from evaluation.exam import exam
from evaluation.held_out import HeldOut, Item, held_out
from evaluation.results import Claim, begin, write_result
from evaluation.scoring import exact_match
from evaluation.statistics import estimate
from inference.composer import Composition, in_context
from inference.decoding import Prompt, pad
from inference.reader import Reader, load_reader
from training.distillation import Distillation, next_token
from training.pipeline import Distilled, TrainingSettings, distil, first_slots

Report = Callable[[str, float], None]

FIRST_SEED = 121
"""Of what is published. 101 to 113 have chosen recipes and readers (docs/log.md): they do not measure
them."""


@dataclass(frozen=True, slots=True)
class GatesPlan:
    """How much is asked. The defaults end within ten minutes on two cores."""

    seeds: tuple[int, ...] = tuple(range(FIRST_SEED, FIRST_SEED + 3))
    sheets: int = 5
    questions: int = 20
    groups_of_four: int = 2
    questions_in_group: int = 10
    distilled: int = 2
    wordings: int = 3  # at most, of each question to the distilled sheets
    lossless: int = 2


def run_gates(
    reader_path: str | Path, out: Path, plan: GatesPlan, report: Report = lambda *_: None
) -> dict[str, Any]:
    """Run every gate for every seed and write the result file."""
    began = begin()
    reader = load_reader(reader_path)
    exact = load_reader(reader_path, dtype="float32")
    rows = []
    for index, seed in enumerate(plan.seeds):
        for part, measure in enumerate(_PARTS):
            share = (index + part / len(_PARTS)) / len(plan.seeds)
            report(f"seed {seed}: {measure.__name__.strip('_').replace('_', ' ')}", share)
            rows.append({"seed": seed, **measure(reader, exact, seed, plan)})
    report("done", 1.0)
    merged = [
        {k: v for row in rows if row["seed"] == seed for k, v in row.items()} for seed in plan.seeds
    ]
    return write_result(
        out,
        "gates",
        command=f"cartridges reproduce gates --seeds {len(plan.seeds)} --json",
        seeds=plan.seeds,
        rows=merged,
        claims=claims(merged),
        began=began,
        plan=exam(reader.fingerprint),
    )


def claims(rows: Sequence[dict[str, Any]]) -> dict[str, Claim]:
    def over_seeds(of: Callable[[dict[str, Any]], float], target: str | None) -> Claim:
        return Claim(estimate([of(row) for row in rows]), target)

    return {
        "icl_em": over_seeds(lambda r: r["icl_em"], ">= 0.90"),
        "icl4_em": over_seeds(lambda r: r["icl4_em"], ">= 0.80"),
        "no_context_em": over_seeds(lambda r: r["no_context_em"], "<= 0.05"),
        "lossless_max_abs_diff": Claim(
            replace(estimate([max(r["lossless_max_abs_diff"] for r in rows)]), low=None, high=None),
            "<= 0.0001",
        ),
        "isolated_gap_points": over_seeds(
            lambda r: 100 * (r["distilled_icl_em"] - r["cartridge_em"]), "<= 4"
        ),
        "ntp_gap_points": over_seeds(
            lambda r: 100 * (r["cartridge_beside_next_token_em"] - r["next_token_em"]), ">= 20"
        ),
        "truncated_gap_points": over_seeds(
            lambda r: 100 * (r["cartridge_em"] - r["truncated_em"]), ">= 20"
        ),
        "compression": over_seeds(lambda r: r["compression"], ">= 10"),
        "collapse_points": over_seeds(
            lambda r: 100 * (r["cartridge_em"] - r["composed_two_em"]), None
        ),
    }


def score(
    reader: Reader, prefix: Composition, items: Sequence[Item], *, bare: bool = False
) -> list[bool]:
    """For each item, whether the answer behind `prefix` is the gold sentence."""
    said = answers(reader, prefix, [item.question for item in items], bare=bare)
    return [exact_match(text, item.answer) for text, item in zip(said, items, strict=True)]


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right)


def _of(drawn: HeldOut, document: int) -> list[Item]:
    return [item for item in drawn.items if item.document == document]


def _reading(reader: Reader, exact: Reader, seed: int, plan: GatesPlan) -> dict[str, Any]:
    """Exact match with one document in context, with none, and with four."""
    right, blind = [], []
    tokens = []
    for sheet in range(plan.sheets):
        drawn = held_out(
            seed * 1000 + sheet, sheets=1, questions=plan.questions, count=reader.count
        )
        tokens.append(reader.count(drawn.sheets[0].text))
        right += score(reader, in_context(reader, [drawn.sheets[0].text]), drawn.items)
        blind += score(reader, no_context(reader), drawn.items, bare=True)
    four = []
    for group in range(plan.groups_of_four):
        drawn = held_out(
            seed * 1000 + 500 + group,
            sheets=4,
            questions=plan.questions_in_group,
            count=reader.count,
        )
        four += score(reader, in_context(reader, [s.text for s in drawn.sheets]), drawn.items)
    return {
        "icl_em": _share(right),
        "icl_questions": len(right),
        "document_tokens": sum(tokens) / len(tokens),
        "no_context_em": _share(blind),
        "icl4_em": _share(four),
        "icl4_questions": len(four),
    }


@torch.no_grad()
def _lossless_mounting(reader: Reader, exact: Reader, seed: int, plan: GatesPlan) -> dict[str, Any]:
    """Largest difference of logits between mounted document KV and an ordinary prefill, fp32."""
    worst = 0.0
    for sheet in range(plan.lossless):
        drawn = held_out(seed * 1000 + sheet, sheets=1, questions=4, count=reader.count)
        text = drawn.sheets[0].text
        prefix = in_context(exact, [text])
        for item in drawn.items:
            ids = exact.chat.question(item.question)
            batch = pad(exact, [Prompt(prefix, ids)])
            hidden, _ = exact.forward(batch.ids, batch.past, batch.mask, batch.positions)
            whole = [exact.chat.sink_id, *exact.chat.documents([text]), *ids]
            expected = exact.model(torch.tensor([whole], device=exact.device)).logits[
                0, -len(ids) :
            ]
            worst = max(worst, float((exact.logits(hidden)[0] - expected).abs().max()))
    return {"lossless_max_abs_diff": worst}


def _isolated_cartridges(
    reader: Reader, exact: Reader, seed: int, plan: GatesPlan
) -> dict[str, Any]:
    """Self-study cartridges against ICL, the next-token baseline and truncated ICL; and composed.

    The next-token baseline costs as much as a cartridge: the first sheet of each seed has one.
    """
    arms: dict[str, list[bool]] = {name: [] for name in ("icl", "cartridge", "truncated")}
    next_token_em = beside_next_token_em = 0.0
    settings = TrainingSettings(seed=seed, accept_at=0.0)
    drawn = held_out(
        seed * 1000 + 800,
        sheets=plan.distilled,
        questions=plan.questions,
        count=reader.count,
        wordings=plan.wordings,
    )
    trained: list[tuple[Tensor, Tensor]] = []
    compressions, seconds, agreements = [], [], []
    for document, sheet in enumerate(drawn.sheets):
        items = _of(drawn, document)
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            cartridge = distil(reader, sheet.text, settings, workdir=Path(folder) / "study")
            seconds.append(time.monotonic() - started)
            if not document:
                baseline = _next_token_slots(reader, sheet.text, cartridge, settings, Path(folder))
        width = cartridge.keys.shape[2]
        compressions.append(cartridge.document_tokens / width)
        agreements.append(cartridge.figures["held_out_agreement"])
        trained.append((cartridge.keys, cartridge.values))
        at = settings.question_offset
        arms["icl"] += score(reader, in_context(reader, [sheet.text]), items)
        arms["cartridge"] += score(reader, slots(reader, trained[-1:], at), items)
        arms["truncated"] += score(reader, truncated(reader, sheet.text, width), items)
        if not document:
            beside_next_token_em = _share(arms["cartridge"])
            next_token_em = _share(score(reader, slots(reader, [baseline], at), items))
    together = slots(reader, trained[:2], settings.question_offset)
    composed = score(reader, together, [*_of(drawn, 0), *_of(drawn, 1)])
    return {
        "distilled_icl_em": _share(arms["icl"]),
        "cartridge_em": _share(arms["cartridge"]),
        "next_token_em": next_token_em,
        "cartridge_beside_next_token_em": beside_next_token_em,
        "truncated_em": _share(arms["truncated"]),
        "composed_two_em": _share(composed),
        "distilled_questions": len(arms["cartridge"]),
        "compression": sum(compressions) / len(compressions),
        "held_out_agreement": sum(agreements) / len(agreements),
        "seconds_per_cartridge": sum(seconds) / len(seconds),
    }


def _next_token_slots(
    reader: Reader, text: str, cartridge: Distilled, settings: TrainingSettings, folder: Path
) -> tuple[Tensor, Tensor]:
    """The baseline: as many slots from the same start, as many steps, the document's own tokens."""
    first = first_slots(reader, text, cartridge.keys.shape[2], settings)
    baseline = Distillation(*first, cartridge.figures["steps"], settings, folder)
    baseline.run(next_token(reader, text, settings), lambda _: None)
    return baseline.keys.detach(), baseline.values.detach()


_PARTS: tuple[Callable[[Reader, Reader, int, GatesPlan], dict[str, Any]], ...] = (
    _reading,
    _lossless_mounting,
    _isolated_cartridges,
)
