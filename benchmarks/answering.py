"""Answering the same questions from a cartridge and from text: `cartridges bench`.

Arms alternate question by question in one process, so that whatever else the machine does falls on
both alike. Slots here are untrained (the document's KV, evenly spread): the cost of a cartridge does
not depend on what it was taught. This file measures time and memory; it knows nothing of quality.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from cartridge_store.cartridge import Cartridge
from cartridge_store.manifest import PositionRule
from evaluation.held_out import held_out
from evaluation.results import machine
from inference.engine import Completion, LocalEngine, Request, Sampling
from inference.reader import Reader
from training.pipeline import TrainingSettings, first_slots


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of answering, with what its completions said."""

    name: str
    completions: list[Completion]

    def row(self) -> dict[str, Any]:
        """Medians over the questions."""
        done = self.completions
        return {
            "arm": self.name,
            "questions": len(done),
            "first_token_ms": round(median(c.first_token_ms for c in done), 2),
            "total_ms": round(median(c.total_ms for c in done), 2),
            "prompt_tokens": median(c.prompt_tokens for c in done),
            "kv_bytes": median(c.kv_bytes for c in done),
        }


def measure(
    reader: Reader, *, rounds: int = 5, questions: int = 8, seed: int = 1
) -> dict[str, Any]:
    """Cartridge against the whole text, interleaved; ratios are text over cartridge."""
    drawn = held_out(seed, sheets=1, questions=questions, count=reader.count)
    text = drawn.sheets[0].text
    cartridge = _untrained(reader, text)
    arms = [Arm("cartridge", []), Arm("text", [])]
    engine = LocalEngine(reader)
    try:
        for turn in range(rounds + 1):  # the first one warms up and is not kept
            for item in drawn.items:
                for arm in _alternating(arms, turn):
                    request = Request(
                        item.question,
                        (cartridge,) if arm.name == "cartridge" else (),
                        (text,) if arm.name == "text" else (),
                        Sampling(max_tokens=24),
                    )
                    completion = engine.submit(request).result()
                    if turn:
                        arm.completions.append(completion)
    finally:
        engine.close()
    ours, theirs = (arm.row() for arm in arms)
    keys = ("first_token_ms", "total_ms", "prompt_tokens", "kv_bytes")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "document_tokens": reader.count(text),
        "slots": cartridge.slots,
        "rows": [ours, theirs],
        "ratios_text_over_cartridge": {key: round(theirs[key] / ours[key], 2) for key in keys},
    }


def _alternating(arms: Sequence[Arm], turn: int) -> Sequence[Arm]:
    return arms if turn % 2 else arms[::-1]


def _untrained(reader: Reader, text: str) -> Cartridge:
    settings = TrainingSettings()
    tokens = reader.count(text)
    keys, values = first_slots(reader, text, settings.slots(tokens), settings)
    return Cartridge.create(
        keys.to(reader.dtype),
        values.to(reader.dtype),
        collection="bench",
        document_id="sheet",
        document_sha256="0" * 64,
        document_tokens=tokens,
        reader_fingerprint=reader.fingerprint,
        tokenizer_fingerprint=reader.tokenizer_fingerprint,
        position_rule=PositionRule("fixed", settings.question_offset),
        initialiser="spread",
        recipe={},
        figures={},
    )
