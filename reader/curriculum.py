"""The order in which the reader learns: plain questions, all wordings, several sheets, the wide world.

Each stage is left when the reader answers well enough on fresh examples, or when its steps are up;
the last stage runs all of its steps, the learning rate falling linearly to nothing. This
file knows recipes and numbers, no tensors.
"""

from dataclasses import dataclass

from reader.tasks import Recipe


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what is drawn, how many tokens a batch, when it is left."""

    name: str
    recipes: tuple[Recipe, ...]  # each batch draws one of them
    batch_tokens: int
    max_steps: int
    promote_at: float  # share of learned answers that are wholly right
    grow: bool = False  # the reader is grown before the first step
    enlarge: bool = False  # it gets layers and wider MLPs before the first step
    max_gap: int = 0  # tokens skipped between documents and conversation, drawn uniformly


CURRICULUM: tuple[Stage, ...] = (
    Stage(
        "values",
        (Recipe((1, 1), (4, 12), 8, plain=1.0, values_only=True, alike=0.7),),
        *(3_000, 400, 0.8),
    ),
    Stage(
        "answers",
        (Recipe((1, 1), (4, 12), 8, plain=1.0, alike=0.6),),
        *(3_000, 80, 0.8),
    ),
    Stage(
        "ask",
        (Recipe((1, 1), (4, 12), 8, plain=0.4, alike=0.4),),
        *(4_000, 130, 0.8),
    ),
    Stage(
        "sheet",
        (Recipe((1, 1), (8, 20), 10, skills=0.1, unstated=0.08, plain=0.2, alike=0.3),),
        *(5_000, 110, 0.8),
    ),
    Stage(
        "long",
        (Recipe((1, 1), (10, 26), 16, skills=0.15, unstated=0.12, plain=0.1, alike=0.2),),
        *(6_000, 240, 0.95),
        max_gap=1_000,
    ),
    Stage(
        "single",
        (Recipe((1, 1), (8, 22), 22, skills=0.15, unstated=0.1, alike=0.4),),
        *(3_200, 2_500, 2.0),
        max_gap=1_500,
    ),
    # Asked in the wild, a question is the first of its conversation, and self-study reads windows of a
    # few sentences: half of the batches look like that.
    Stage(
        "many",
        (
            Recipe((1, 1), (1, 4), 3, skills=0.5, unstated=0.12),
            Recipe((1, 1), (3, 8), 3, skills=0.3, unstated=0.12, alike=0.1),
            Recipe((1, 1), (10, 24), 5, skills=0.1, unstated=0.12, alike=0.1),
            Recipe((1, 4), (8, 22), 20, skills=0.1, unstated=0.12, alike=0.15),
            Recipe((2, 4), (8, 20), 6, skills=0.05, unstated=0.12, alike=0.15),
        ),
        *(4_000, 5_000, 2.0),
        max_gap=2_000,
    ),
    # Sheets of one kind of fact hold many values that could be meant: the last errors are among those.
    Stage(
        "polish",
        (
            Recipe((1, 1), (1, 5), 3, skills=0.5, unstated=0.12, alike=0.2),
            Recipe((1, 1), (10, 24), 6, skills=0.1, unstated=0.12, alike=0.3),
            Recipe((1, 1), (14, 24), 12, skills=0.05, unstated=0.08, alike=0.1),
            Recipe((1, 4), (8, 22), 12, skills=0.1, unstated=0.12, alike=0.2),
        ),
        *(4_000, 1_000, 2.0),
        max_gap=2_000,
    ),
    # Here the reader is grown and shown how to find a sentence (`grow.py`). Sentences that no template
    # wrote, in few and short documents first: to quote one, its first word has to be found by the words
    # behind it, which no template asks for.
    Stage(
        "prose",
        (
            Recipe((1, 1), (2, 8), 6, prose=1.0, skills=0.1, unstated=0.05),
            Recipe((1, 1), (8, 24), 10, prose=1.0, skills=0.1, unstated=0.08),
            Recipe((1, 1), (8, 20), 8, skills=0.2, unstated=0.12, wider=0.1),
        ),
        *(4_000, 1_200, 2.0),
        grow=True,
        max_gap=1_500,
    ),
    Stage(
        "wide",
        (
            Recipe((1, 1), (1, 5), 3, skills=0.5, unstated=0.08, wider=0.1, prose=0.4),
            Recipe(
                (1, 1), (4, 14), 5, skills=0.2, unstated=0.08, wider=0.2, repeats=0.2, prose=0.4
            ),
            Recipe(
                (1, 1), (14, 50), 10, skills=0.1, unstated=0.08, wider=0.25, repeats=0.3, prose=0.4
            ),
            Recipe(
                (2, 4), (6, 20), 10, skills=0.05, unstated=0.08, wider=0.4, repeats=0.3, prose=0.2
            ),
            Recipe((4, 4), (24, 60), 20, skills=0.05, unstated=0.08, wider=0.2, repeats=0.5),
        ),
        *(4_000, 2_400, 2.0),
        max_gap=3_000,
    ),
    # As before prose: the last errors are among values of one kind. Many questions of each document:
    # reading it costs more than being asked. The first two are what self-study sees: a few lines.
    Stage(
        "settle",
        (
            Recipe((1, 1), (1, 4), 3, skills=0.8, unstated=0.4, labelled=0.4, unlisted=0.2),
            Recipe((1, 1), (1, 8), 5, skills=0.6, unstated=0.3, labelled=0.3, prose=0.3),
            Recipe(
                (1, 1),
                (8, 24),
                16,
                skills=0.1,
                unstated=0.12,
                labelled=0.2,
                alike=0.25,
                prose=0.25,
            ),
            Recipe(
                (1, 1),
                (10, 26),
                20,
                unstated=0.12,
                wider=0.1,
                repeats=0.3,
                alike=0.15,
                unlisted=0.3,
            ),
            Recipe(
                (1, 1),
                (14, 50),
                20,
                unstated=0.12,
                wider=0.15,
                repeats=0.3,
                prose=0.5,
                unlisted=0.2,
            ),
            Recipe(
                (1, 4), (8, 22), 20, skills=0.05, unstated=0.12, wider=0.15, alike=0.2, prose=0.1
            ),
            Recipe((2, 2), (10, 24), 20, unstated=0.1, wider=0.4, repeats=0.3, recurring=0.4),
            Recipe((4, 4), (20, 50), 24, unstated=0.1, wider=0.15, repeats=0.5, unlisted=0.1),
            # Beside many others: what tells look-alikes apart is whose they are.
            Recipe((4, 12), (2, 7), 20, unstated=0.1, wider=0.05, repeats=0.5, recurring=0.25),
        ),
        *(4_000, 4_600, 2.0),
        enlarge=True,
        max_gap=2_000,
    ),
)
