"""The bundled world's held-out collections as a data set: sheets that no reader was trained on.

To the questions of `evaluation.held_out` come some that no sheet answers, so that abstaining can be
measured. Golds are the sentence that the gates count and the value in it. Knows no score.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from transformers import PreTrainedTokenizerFast

from evaluation.datasets.questions import Dataset, Document, Question
from evaluation.held_out import HeldOut, held_out
from reader.paths import bundled_reader, word_list
from reader.tasks import unstated
from reader.tokenizer import dictionary
from reader.world import Group
from retrieval.text import first_line

SHEETS, STATED, UNSTATED = 8, 16, 4
"""Sheets of a collection unless told otherwise; questions to each that it answers, and that none does."""


def load_world(
    seed: int = 0,
    *,
    sheets: int = SHEETS,
    stated: int = STATED,
    unstated_too: int = UNSTATED,
    count: Callable[[str], int] | None = None,
) -> Dataset:
    """`sheets` sheets of about 400 tokens that stand together, and questions about them.

    `count` counts a text's tokens: those of the bundled reader unless told otherwise. The same seed
    gives the same data set. Raises ValueError when no sheet of that length can be drawn.
    """
    words = dictionary(word_list())
    drawn = held_out(
        seed, sheets=sheets, questions=stated, count=count or bundled_count(), words=words
    )
    ids = [f"sheet-{seed}-{number}" for number in range(1, sheets + 1)]
    found = as_dataset("world", seed, drawn, ids)
    rng = Random(f"world/unstated/{seed}")
    facts = [fact for sheet in drawn.sheets for fact in sheet.facts]
    group = Group(rng, "eval", words)
    # Two facts that nobody states may be asked for in the same words; one question is enough.
    opened = dict.fromkeys(
        unstated(rng, facts, group).asked(rng, "eval").question
        for _ in range(unstated_too * sheets)
    )
    open_questions = [
        Question(f"world-{seed}/open-{number}", text, (), "unanswerable")
        for number, text in enumerate(opened, 1)
    ]
    return replace(found, questions=(*found.questions, *open_questions))


def as_dataset(name: str, seed: int, drawn: HeldOut, ids: Sequence[str]) -> Dataset:
    """Held-out sheets, by these ids, and the questions about them; golds are sentence and value."""
    return Dataset(
        name,
        tuple(
            Document(id, first_line(sheet.text) or id, sheet.text)
            for id, sheet in zip(ids, drawn.sheets, strict=True)
        ),
        tuple(
            Question(
                f"{name}-{seed}/{number}",
                item.question,
                tuple(dict.fromkeys((item.answer, item.value))),
                "span",
                (ids[item.document],),
            )
            for number, item in enumerate(drawn.items, 1)
        ),
    )


def bundled_count() -> Callable[[str], int]:
    """Counts tokens as the bundled reader does."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(bundled_reader())
    return lambda text: len(tokenizer(text, add_special_tokens=False).input_ids)
