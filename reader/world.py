"""The procedurally generated world: facts and the fact sheets that state them.

A sheet describes one entity (a ship, a firm, a choir, a lease ...) and the things around it. Sheets
of one group share no ambiguous fact: whatever a sheet leaves to its title is said by no other sheet
of the group. Same seed, same sheet. This file knows no tokens and no chat format.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from reader import layouts, names
from reader import lexicon as lx
from reader.facts import Fact, label
from reader.names import Split
from reader.predicates import KINDS, Predicate, draw

AGREEING = 0.3  # share of repeated attributes that have the value of another subject's
PERSONAL = frozenset({"holder", "agent", "habit"})


@dataclass(frozen=True, slots=True)
class Sheet:
    """A generated document: its title, its Markdown text and the facts that it states, in order."""

    title: str
    text: str
    facts: tuple[Fact, ...]


class Group:
    """Sheets that stand together: what they have said, so that no two are confused."""

    def __init__(
        self, rng: Random, split: Split, words: Sequence[str], *, plain: bool = False
    ) -> None:
        """`plain` sheets name every subject shortly and say everything in the plainest wording."""
        self.rng, self.split, self.words, self.plain = rng, split, words, plain
        self.kinds: Sequence[str] = KINDS
        self.repeats = 0.0  # share of facts that say of one subject what was said of another
        self.recurring = 0.15  # share of persons who stand elsewhere already
        self._persons: list[str] = []
        self._drawn: list[Predicate] = []
        self._elliptical: set[tuple[object, ...]] = set()
        self._explicit: set[tuple[object, ...]] = set()
        self._labels: set[tuple[str, str]] = set()
        self._agreeing: dict[tuple[object, ...], list[str]] = {}  # values of an attribute so far

    def copy(self) -> "Group":
        """A group that has said the same: what it says from here on, this one has not said."""
        twin = Group(self.rng, self.split, self.words, plain=self.plain)
        twin.become(self)
        return twin

    def become(self, other: "Group") -> None:
        """Have said what `other` has said."""
        self.kinds, self.repeats, self.recurring = other.kinds, other.repeats, other.recurring
        self._persons, self._drawn = list(other._persons), list(other._drawn)
        self._elliptical, self._explicit = set(other._elliptical), set(other._explicit)
        self._labels = set(other._labels)
        self._agreeing = {key: list(values) for key, values in other._agreeing.items()}

    def sheet(self, facts: int, layout: str | None = None) -> Sheet:
        """A sheet with about `facts` facts, in the layout named or in any of training's."""
        rng = self.rng
        kind = rng.choice(list(lx.ROLES_OF_ENTITY))
        entity = rng.choice(lx.ROLES_OF_ENTITY[kind]).format(names.proper(rng, self.split))
        sections: list[list[Fact]] = []
        stated = 0
        while stated < facts:
            about = min(rng.choice((1, 2, 2, 3, 3, 4)), facts - stated)
            section = self._section(entity, about)
            if section:  # none where everything drawn would have been ambiguous
                sections.append(section)
                stated += len(section)
        title = layouts.capital(entity)
        page = layouts.Page(title, sections, rng, None if self.plain else self.split)
        chosen = layouts.report if self.plain else self._layout(layout)
        text = "\n\n".join([f"# {title}", *chosen(page)])
        facts_in_order = tuple(fact for section in sections for fact in section)
        return Sheet(title, text, facts_in_order)

    def _layout(self, name: str | None) -> layouts.Layout:
        if name is not None:
            return (layouts.LAYOUTS | layouts.HELD_OUT)[name]
        return layouts.LAYOUTS[self.rng.choice(list(layouts.LAYOUTS))]

    def _section(self, entity: str, count: int) -> list[Fact]:
        subject, mention, person = self._subject(entity)
        facts: list[Fact] = []
        for _ in range(count * 4):
            if len(facts) == count:
                break
            predicate = self._predicate()
            fact = Fact(
                predicate.relation,
                subject,
                mention,
                self._value(predicate, subject),
                predicate.fields,
                person,
            )
            if self._admit(fact, entity):
                self._drawn.append(predicate)
                key = (predicate.relation, predicate.fields)
                self._agreeing.setdefault(key, []).append(fact.value)
                facts.append(fact)
        return facts

    def _subject(self, entity: str) -> tuple[str, str, bool]:
        """A subject in full, as its sheet mentions it, and whether it is a person."""
        rng = self.rng
        draw = rng.random()
        if draw < 0.2:
            return entity, entity, False
        if draw < 0.35:
            known = self._persons and rng.random() < 0.6
            person = rng.choice(self._persons) if known else names.person(rng, self.split)
            return person, person, True
        part = names.noun(rng, self.words)
        if rng.random() < 0.6:
            part = f"{rng.choice(lx.ADJECTIVES)} {part}"
        mention, explicit = f"the {part}", f"the {part} of {entity}"
        style = rng.random()
        if self.plain or style >= 0.55:
            return mention, mention, False
        return explicit, explicit if style < 0.4 else mention, False

    def _value(self, predicate: Predicate, subject: str) -> str:
        """A fresh value, or now and then a person that stands elsewhere already."""
        known = [person for person in self._persons if person != subject]
        if predicate.relation in PERSONAL and known and self.rng.random() < self.recurring:
            return self.rng.choice(known)
        alike = self._agreeing.get((predicate.relation, predicate.fields))
        if predicate.relation == "attribute" and alike and self.rng.random() < AGREEING:
            return self.rng.choice(alike)
        value = predicate.value()
        if predicate.relation in PERSONAL:
            self._persons.append(value)
        return value

    def _predicate(self) -> Predicate:
        if self._drawn and self.rng.random() < self.repeats:
            return self.rng.choice(self._drawn)
        return draw(self.rng, self.split, self.words, self.kinds)

    def _admit(self, fact: Fact, entity: str) -> bool:
        """Whether the fact is unambiguous beside everything said so far; remembers it if so."""
        bare = (fact.key, fact.mention.lower())
        if bare in self._elliptical or (fact.key, fact.subject.lower()) in self._explicit:
            return False
        if entity.lower() not in fact.mention.lower() and bare in self._explicit:
            return False
        if (fact.subject.lower(), label(fact)) in self._labels:  # in a table they would be one
            return False
        self._labels.add((fact.subject.lower(), label(fact)))
        self._explicit.add((fact.key, fact.subject.lower()))
        self._explicit.add(bare)
        if fact.mention != fact.subject:
            self._elliptical.add(bare)
        return True
