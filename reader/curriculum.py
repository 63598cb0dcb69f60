"""The order in which the reader learns: plain questions, all wordings, longer sheets, several sheets.

Each stage is left when the reader answers well enough on fresh examples, or when its steps are up;
the last stage runs all of its steps, the learning rate falling linearly over its second part. This
file knows recipes and numbers, no tensors.
"""

from dataclasses import dataclass

from reader.tasks import Recipe


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what is drawn, how many tokens a batch, when it is left."""

    name: str
    recipe: Recipe
    batch_tokens: int
    max_steps: int
    promote_at: float  # share of learned answers that are wholly right
    max_gap: int = 0  # tokens skipped between documents and conversation, drawn uniformly


CURRICULUM: tuple[Stage, ...] = (
    Stage("plain", Recipe((1, 1), (3, 8), 8, plain=1.0), 3_000, 420, 0.5),
    Stage("ask", Recipe((1, 1), (4, 10), 8, plain=0.2), 4_000, 600, 0.6),
    Stage(
        "sheet",
        Recipe((1, 1), (8, 18), 10, skills=0.1, unstated=0.08, plain=0.1),
        *(5_000, 500, 0.75),
    ),
    Stage(
        "long",
        Recipe((1, 1), (14, 30), 12, skills=0.2, unstated=0.1),
        *(7_000, 400, 0.8),
        max_gap=500,
    ),
    Stage(
        "pair",
        Recipe((1, 2), (8, 28), 12, skills=0.2, unstated=0.1),
        *(7_000, 300, 0.8),
        max_gap=1_000,
    ),
    Stage(
        "many",
        Recipe((1, 4), (8, 28), 16, skills=0.2, unstated=0.12),
        *(8_000, 1_600, 2.0),
        max_gap=2_000,
    ),
)
