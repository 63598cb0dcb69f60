"""A benchmark collection: documents of the world with questions, the same for the same settings.

Documents come in groups whose facts are never ambiguous inside the group; a question names the
documents that it rests on. This file knows the world; it knows no reader, no service and no folder.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from reader import layouts
from reader.names import Split
from reader.tasks import unstated
from reader.wider import WIDER, Asker
from reader.wordings import NOT_STATED
from reader.world import Group, Sheet

SINGLE, UNSTATED = "single", "not_stated"
KINDS = (SINGLE, *WIDER, UNSTATED)


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """What is drawn. Raises ValueError for what cannot be."""

    documents: int = 20
    facts: int = 20  # facts a document, about eighteen tokens each
    questions: int = 10  # questions a document
    group: int = 4  # documents that stand together, unambiguous beside each other
    alike: float = 0.2  # share of facts that say of one subject what was said of another
    recurring: float = 0.15  # share of persons that stand in other facts already
    kinds: tuple[str, ...] = KINDS
    layouts: tuple[str, ...] = (*layouts.LAYOUTS,)
    split: Split = "eval"
    seed: int = 0

    def __post_init__(self) -> None:
        known = layouts.LAYOUTS | layouts.HELD_OUT
        if strange := [name for name in self.layouts if name not in known]:
            raise ValueError(f"No kind of document is called {strange[0]!r}: {', '.join(known)}.")
        if strange := [name for name in self.kinds if name not in KINDS]:
            raise ValueError(f"No kind of question is called {strange[0]!r}: {', '.join(KINDS)}.")
        if min(self.documents, self.facts, self.group) < 1 or self.questions < 0:
            raise ValueError("documents, facts and group must be at least 1, questions at least 0.")
        if not (0 <= self.alike <= 1 and 0 <= self.recurring <= 1):
            raise ValueError("alike and recurring are shares: choose numbers from 0 to 1.")
        if not self.kinds or not self.layouts:
            raise ValueError("At least one kind of document and one of question is needed.")


@dataclass(frozen=True, slots=True)
class Document:
    """A document with its id, kind and text."""

    id: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its gold sentence, the value in it (None: not stated), and what it rests on."""

    text: str
    answer: str
    value: str | None
    kind: str
    documents: tuple[str, ...]


def draw_collection(
    plan: CollectionPlan, words: Sequence[str]
) -> Iterator[tuple[list[Document], list[Question]]]:
    """Groups of documents with their questions, one after the other."""
    for first in range(0, plan.documents, plan.group):
        size = min(plan.group, plan.documents - first)
        rng = Random(f"collection/{plan.seed}/{first}")
        group = Group(rng, plan.split, words)
        group.repeats, group.recurring = plan.alike, plan.recurring
        documents: list[Document] = []
        sheets: list[Sheet] = []
        for number in range(first, first + size):
            kind = rng.choice(plan.layouts)
            sheet = group.sheet(plan.facts, kind)
            sheets.append(sheet)
            documents.append(Document(f"doc-{number + 1:05d}", kind, sheet.text))
        yield documents, _questions(plan, rng, group, sheets, [d.id for d in documents])


def _questions(
    plan: CollectionPlan, rng: Random, group: Group, sheets: list[Sheet], ids: list[str]
) -> list[Question]:
    facts = [fact for sheet in sheets for fact in sheet.facts]
    home = {id(fact): ids[i] for i, sheet in enumerate(sheets) for fact in sheet.facts}
    asker = Asker(rng, plan.split, [sheet.facts for sheet in sheets])
    found: dict[str, Question] = {}
    for _ in range(plan.questions * len(sheets) * 5):  # some kinds have few questions, or none
        if len(found) == plan.questions * len(sheets):
            break
        kind = rng.choice(plan.kinds)
        if kind == SINGLE:
            fact = rng.choice(facts)
            asked = fact.asked(rng, plan.split)
            question = Question(asked.question, asked.answer, fact.value, kind, (home[id(fact)],))
        elif kind == UNSTATED:
            stranger = unstated(rng, facts, group)
            text = stranger.asked(rng, plan.split).question
            question = Question(text, NOT_STATED, None, kind, ())
        else:
            drawn = asker.draw(kind)
            if drawn is None:
                continue
            rests_on = tuple(dict.fromkeys(home[id(fact)] for fact in drawn.facts))
            question = Question(drawn.text, drawn.answer, drawn.value, kind, rests_on)
        found.setdefault(question.text, question)
    return list(found.values())
