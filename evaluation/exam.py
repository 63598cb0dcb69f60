"""What an experiment asks, and of whom: figures of two readers, or of two worlds, are not averaged.

This file knows the world and readers' folders; it knows no experiment.
"""

import hashlib
from functools import cache
from pathlib import Path

from evaluation.held_out import held_out
from reader.paths import bundled_reader
from training.naming import short_digest


@cache
def world_digest() -> str:
    """Names what the world says and asks for a seed: wordings, layouts, values and vocabulary."""
    drawn = held_out(
        1, sheets=4, questions=8, count=lambda text: len(text.split()), tokens=(150, 300), alike=0.5
    )
    said = [[sheet.text for sheet in drawn.sheets], [[i.question, i.answer] for i in drawn.items]]
    return short_digest(said)


@cache
def bundled_digest() -> str:
    """Names the bundled reader: its weights, tokenizer and configuration."""
    whole = hashlib.sha256()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        whole.update((bundled_reader() / name).read_bytes())
    return whole.hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Names what a file of questions holds."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def exam(reader: str) -> dict[str, str]:
    """What a plan says of both; `reader` names its weights, whichever way."""
    return {"reader": reader, "world": world_digest()}
