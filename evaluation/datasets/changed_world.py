"""Held-out sheets of the world as they are and as they become: some facts get another value.

What was asked before is asked again: changed facts must be answered anew, and all others as before. Knows
no reader but for counting tokens, and no score.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from evaluation.datasets.questions import Document
from evaluation.datasets.world import bundled_count
from evaluation.held_out import held_out
from reader.paths import word_list
from reader.tokenizer import dictionary
from retrieval.text import first_line


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the value that the sheet had and the one it has: the same where nothing changed."""

    question: str
    before: str
    after: str

    @property
    def changed(self) -> bool:
        """Whether the answer is another one now."""
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class Changed:
    """A document with its next text, and questions about all that it states."""

    before: Document
    after: Document
    asked: tuple[Asked, ...]


def load_changed(
    seed: int,
    *,
    sheets: int,
    changes: int,
    count: Callable[[str], int] | None = None,
) -> tuple[Changed, ...]:
    """`sheets` sheets of about 400 tokens; in each, `changes` facts get a value of another sheet's.

    Such a fact's value stands in its sheet once, and its new one nowhere in it. The same seed gives the
    same sheets.
    """
    count, words = count or bundled_count(), dictionary(word_list())
    rng = Random(f"changed/{seed}")
    drawn = held_out(seed, sheets=sheets, questions=1_000, count=count, words=words)
    others = held_out(seed + 10_000, sheets=sheets, questions=1, count=count, words=words)
    values: dict[tuple[str, str], list[str]] = {}
    for fact in (fact for sheet in others.sheets for fact in sheet.facts):
        values.setdefault(fact.key, []).append(fact.value)
    found = []
    for index, sheet in enumerate(drawn.sheets):
        text, became = sheet.text, dict[str, str]()
        for fact in rng.sample(sheet.facts, len(sheet.facts)):
            new = [value for value in values.get(fact.key, ()) if value not in text]
            if len(became) < changes and new and text.count(fact.value) == 1:
                became[fact.value] = rng.choice(new)
                text = text.replace(fact.value, became[fact.value])
        id = f"sheet-{seed}-{index + 1}"
        title = first_line(sheet.text) or id
        found.append(
            Changed(
                Document(id, title, sheet.text),
                Document(id, title, text),
                tuple(
                    Asked(item.question, item.value, became.get(item.value, item.value))
                    for item in drawn.items
                    if item.document == index
                ),
            )
        )
    return tuple(found)
