"""Held-out sheets and questions of the bundled world: names, values and wordings never trained on.

Same seed, same questions. This file knows the world; it knows no reader but for counting tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from reader.paths import word_list
from reader.tokenizer import dictionary
from reader.world import Group, Sheet

PLAIN = ("report", "report", "notes", "dossier")
"""Sentences in paragraphs and lists, records: what the gates have always asked about.

Every other kind of document is measured by `reading.py`.
"""


@dataclass(frozen=True, slots=True)
class Item:
    """A question with its gold sentence, the value in it, and the index of its document."""

    question: str
    answer: str
    value: str
    document: int


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Sheets that stand together, and questions about them."""

    sheets: tuple[Sheet, ...]
    items: tuple[Item, ...]


def held_out(
    seed: int,
    *,
    sheets: int,
    questions: int,
    count: Callable[[str], int],
    wordings: int = 1,
    tokens: tuple[int, int] = (340, 460),
    alike: float = 0.0,
    words: Sequence[str] | None = None,
) -> HeldOut:
    """`sheets` plain sheets of about 400 tokens; `questions` facts of each, in up to `wordings` wordings.

    `alike` is the share of facts that say of one subject what was said of another, in whatever sheet.
    """
    words = words or dictionary(word_list())
    rng = Random(f"held-out/{seed}")
    group = Group(rng, "eval", words)
    group.repeats, group.recurring = alike, 0.0  # as ever: nobody stands at two places
    drawn = tuple(fitting(group, rng, tokens, count) for _ in range(sheets))
    return HeldOut(drawn, asked_about(drawn, rng, questions=questions, wordings=wordings))


def asked_about(
    sheets: Sequence[Sheet], rng: Random, *, questions: int, wordings: int
) -> tuple[Item, ...]:
    """Questions about so many facts of each sheet, in up to `wordings` wordings, each question once."""
    items = [
        Item(*fact.asked(rng, "eval"), fact.value, index)
        for index, sheet in enumerate(sheets)
        for fact in rng.sample(sheet.facts, min(questions, len(sheet.facts)))
        for _ in range(wordings)
    ]
    return tuple(dict.fromkeys(items))


def fitting(
    group: Group,
    rng: Random,
    tokens: tuple[int, int],
    count: Callable[[str], int],
    layouts: Sequence[str] = PLAIN,
) -> Sheet:
    """The next sheet of a group, in one of these layouts, of so many tokens.

    Raises ValueError where none is drawn.
    """
    for _ in range(1_000):
        tried = group.copy()
        facts = rng.randint(max(1, tokens[0] // 21), max(1, tokens[1] // 17))
        sheet = tried.sheet(facts, rng.choice(layouts))
        if tokens[0] <= count(sheet.text) <= tokens[1]:
            group.become(tried)
            return sheet
    raise ValueError(f"No sheet of {tokens[0]} to {tokens[1]} tokens was drawn; widen the range.")
