"""Held-out letters and registers of numbers side by side: much in as many tokens, and little.

Knows no reader but for counting tokens, and no score.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from random import Random

from evaluation.datasets.questions import Dataset
from evaluation.datasets.world import as_dataset, bundled_count
from evaluation.held_out import HeldOut, asked_about, fitting
from reader import lexicon, names
from reader.facts import Fact, label
from reader.layouts import Page, capital, comma_separated, letter
from reader.paths import word_list
from reader.predicates import Predicate, draw
from reader.tokenizer import dictionary
from reader.world import Group, Sheet

_TOKENS = (340, 460)
_TRIES = 100
_ENTRIES = 5
"""Numbers to each thing in a register."""


def load_mixed(
    seed: int,
    *,
    sheets: int,
    stated: int,
    count: Callable[[str], int] | None = None,
) -> Dataset:
    """`sheets` documents of about 400 tokens, every other one a register, and `stated` questions to each.

    Letters say a thing in a sentence, and once more in another; registers have a number in a line, about
    three times as many. The same seed gives the same data set; the ids of registers end in `-register`.
    Raises ValueError where no letter of that length can be drawn.
    """
    count, words = count or bundled_count(), dictionary(word_list())
    rng = Random(f"mixed/{seed}")
    group = Group(rng, "eval", words)
    group.recurring = 0.0
    letters = [_letter(group, rng, count) for _ in range((sheets + 1) // 2)]
    taken = "\n".join(sheet.text for sheet in letters).casefold()
    drawn: list[Sheet] = []
    for number in range(sheets):
        drawn.append(_register(rng, words, taken, count) if number % 2 else letters[number // 2])
        taken += drawn[-1].text.casefold()
    kinds = ("letter", "register")
    ids = [f"mixed-{seed}-{number + 1}-{kinds[number % 2]}" for number in range(sheets)]
    items = asked_about(drawn, rng, questions=stated, wordings=1)
    return as_dataset("mixed", seed, HeldOut(tuple(drawn), items), ids)


def _letter(group: Group, rng: Random, count: Callable[[str], int]) -> Sheet:
    """A letter that says everything twice. Raises ValueError as `fitting` does."""
    for _ in range(_TRIES):
        once = fitting(group, rng, (_TOKENS[0] // 2, _TOKENS[1] // 2), count, ("letter",))
        sections = [[*facts] for _, facts in groupby(once.facts, lambda fact: fact.subject)]
        told = letter(Page(once.title, [*sections, *sections], rng, "eval"))
        text = "\n\n".join([f"# {once.title}", *told])
        if _TOKENS[0] <= count(text) <= _TOKENS[1]:
            return Sheet(once.title, text, once.facts)
    raise ValueError(f"No letter of {_TOKENS[0]} to {_TOKENS[1]} tokens was drawn.")


def _register(rng: Random, words: Sequence[str], taken: str, count: Callable[[str], int]) -> Sheet:
    """Lines of numbers, until there are tokens enough; nothing in it is named in `taken`."""
    entries: dict[str, Predicate] = {}
    while len(entries) < _ENTRIES:
        predicate = draw(rng, "eval", words, ("count", "measure"))
        entries[label(_fact("it", predicate))] = predicate
    title = f"The {names.proper(rng, 'eval')} register"
    sections: dict[str, list[Fact]] = {}
    text = ""
    while count(text) < _TOKENS[0]:
        subject = f"the {rng.choice(lexicon.ADJECTIVES)} {names.noun(rng, words)}"
        if subject in sections or subject.casefold() in taken:
            continue
        sections[subject] = [_fact(subject, predicate) for predicate in entries.values()]
        lines = comma_separated(Page(title, [*sections.values()], rng, "eval"))
        text = "\n\n".join([f"# {capital(title)}", *lines])
    return Sheet(title, text, tuple(fact for section in sections.values() for fact in section))


def _fact(subject: str, predicate: Predicate) -> Fact:
    return Fact(predicate.relation, subject, subject, predicate.value(), predicate.fields)
