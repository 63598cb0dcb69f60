"""What the demonstration ingests and asks: six generated sheets and two hand-written files.

The sheets and their questions come from the evaluation split of the bundled world. This file knows
no service.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from random import Random

from reader.facts import Fact
from reader.paths import word_list
from reader.tokenizer import dictionary
from reader.world import Group

SEED = 7
LAYOUTS = ("report", "notes", "contract", "dossier", "minutes", "manual")
FACTS = 14


@dataclass(frozen=True, slots=True)
class Paper:
    """A document as a person would upload it."""

    filename: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the value that its answer must state; None when nothing states it."""

    text: str
    expected: str | None


def material() -> tuple[list[Paper], list[Question]]:
    """The eight documents and sixteen questions, the same every time."""
    folder = files(__package__)
    papers = [
        Paper(name, folder.joinpath(name).read_text(encoding="utf-8"))
        for name in ("choir.md", "garden.md")
    ]
    written = json.loads(folder.joinpath("questions.json").read_text(encoding="utf-8"))
    questions = [Question(each["question"], each["expected"]) for each in written]
    rng = Random(SEED)
    group = Group(rng, "eval", dictionary(word_list()))
    for number, layout in enumerate(LAYOUTS, 1):
        # Only a question that names its sheet's subject can be answered from a whole collection.
        named: list[Fact] = []
        while not named:
            tried = group.copy()
            sheet = tried.sheet(FACTS, layout)
            named = [f for f in sheet.facts if sheet.title.lower() in f.subject.lower()]
        group.become(tried)
        papers.append(Paper(f"sheet-{number}.md", sheet.text))
        fact = rng.choice(named)
        questions.append(Question(fact.asked(rng, "eval").question, fact.value))
    return papers, questions
