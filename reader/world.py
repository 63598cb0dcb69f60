"""The procedurally generated world: facts and the fact sheets that state them.

A sheet describes one entity (a ship, a firm, a choir, a lease ...) and the things around it. Sheets
of one group share no ambiguous fact: whatever a sheet leaves to its title is said by no other sheet
of the group. Same seed, same sheet. This file knows no tokens and no chat format.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from reader import lexicon as lx
from reader import names
from reader.distortion import distorted, held_out
from reader.names import Split
from reader.predicates import KINDS, Predicate, draw
from reader.wordings import RELATIONS, fill
from reader.wrapping import EVAL_WRAPPERS, TRAILERS, WRAPPERS, closed, opened, wrap


class Exchange(NamedTuple):
    """A question and the sentence that answers it."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a sheet states.

    `subject` names it in full, as a question does ("the north gate of the Aldora"); `mention` is how
    its own sheet says it ("the north gate").
    """

    relation: str
    subject: str
    mention: str
    value: str
    fields: tuple[tuple[str, str], ...]

    def _filled(self, template: str, subject: str, adverb: str = "") -> str:
        return fill(template, {**dict(self.fields), "S": subject, "V": self.value, "adv": adverb})

    @property
    def key(self) -> tuple[str, str]:
        """What is asked, without its subject: two facts with equal keys look alike."""
        return self.relation, " ".join(text for _, text in self.fields)

    def stated(self, rng: Random, split: Split | None) -> str:
        """One sentence that states the fact; without a split, the plainest one."""
        relation = RELATIONS[self.relation]
        if split is None:
            return self._filled(relation.statements[0], self.mention)
        template = rng.choice(relation.statements if split == "train" else relation.eval_statements)
        if split == "train":
            template = _varied(template, rng)
        sentence = self._filled(template, self.mention, _adverb(rng))
        if split == "train" and rng.random() < 0.08:
            sentence = closed(sentence, rng.choice(TRAILERS))
        return sentence

    def asked(self, rng: Random, split: Split, *, wrapped: bool = True) -> Exchange:
        """One question for the fact, with the answer in the question's own verb form.

        `wrapped` is a question as people put it: with courtesies and, in training, at times damaged.
        """
        relation = RELATIONS[self.relation]
        train = split == "train"
        template = rng.choice(relation.questions if train else relation.eval_questions)
        if train and wrapped and rng.random() < 0.3:
            template = distorted(template, rng)
        question = self._filled(template, self.subject, _adverb(rng) if train else "")
        passive = relation.passive and "{part}" in template
        if wrapped:
            question = wrap(question, rng.choice(WRAPPERS if train else EVAL_WRAPPERS))
        return Exchange(
            question,
            self._filled(relation.passive if passive else relation.answer, self.subject),
        )

    @property
    def question(self) -> str:
        """The plainest wording of the question."""
        return self._filled(RELATIONS[self.relation].questions[0], self.subject)

    @property
    def answer(self) -> str:
        """The sentence that answers the plainest question."""
        return self._filled(RELATIONS[self.relation].answer, self.subject)


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
        self._drawn: list[Predicate] = []
        self._elliptical: set[tuple[object, ...]] = set()
        self._explicit: set[tuple[object, ...]] = set()

    def sheet(self, facts: int) -> Sheet:
        """A sheet with about `facts` facts."""
        rng = self.rng
        kind = rng.choice(list(lx.ROLES_OF_ENTITY))
        entity = rng.choice(lx.ROLES_OF_ENTITY[kind]).format(names.proper(rng, self.split))
        sections: list[list[Fact]] = []
        stated = 0
        while stated < facts:
            about = min(rng.choice((1, 2, 2, 3, 3, 4)), facts - stated)
            section = self._section(entity, about)
            sections.append(section)
            stated += len(section)
        title = entity[0].upper() + entity[1:]
        ordered = [fact for section in sections for fact in section]
        text = _render(title, sections, rng, None if self.plain else self.split)
        return Sheet(title, text, tuple(ordered))

    def _section(self, entity: str, count: int) -> list[Fact]:
        rng = self.rng
        draw = rng.random()
        if draw < 0.2:
            subject = mention = entity
        elif draw < 0.3:
            subject = mention = names.person(rng, self.split)
        else:
            part = names.noun(rng, self.words)
            if rng.random() < 0.6:
                part = f"{rng.choice(lx.ADJECTIVES)} {part}"
            mention = f"the {part}"
            explicit = f"the {part} of {entity}"
            style = rng.random()
            if self.plain:
                subject = mention
            elif style < 0.4:
                subject, mention = explicit, explicit
            elif style < 0.55:
                subject = explicit
            else:
                subject = mention
        facts: list[Fact] = []
        for _ in range(count * 4):
            if len(facts) == count:
                break
            predicate = self._predicate()
            fact = Fact(predicate.relation, subject, mention, predicate.value(), predicate.fields)
            if self._admit(fact, entity):
                self._drawn.append(predicate)
                facts.append(fact)
        return facts

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
        self._explicit.add((fact.key, fact.subject.lower()))
        self._explicit.add(bare)
        if fact.mention != fact.subject:
            self._elliptical.add(bare)
        return True


def _varied(template: str, rng: Random) -> str:
    """A statement's template, at times damaged, at times behind an opener."""
    varied = distorted(template, rng) if rng.random() < 0.2 else template
    if rng.random() < 0.25:
        varied = opened(varied, rng)
    return template if held_out(varied) else varied


def _adverb(rng: Random) -> str:
    return f"{rng.choice(lx.ADVERBS)} " if rng.random() < 0.4 else ""


def _render(title: str, sections: list[list[Fact]], rng: Random, split: Split | None) -> str:
    """Sections as paragraphs, bullet lists or headed `key: value` lines, under the title."""
    style = rng.choice(("prose", "prose", "bullets", "mixed"))
    blocks = [f"# {title}"]
    prose: list[str] = []
    for section in sections:
        lines = (
            split
            and style == "mixed"
            and all(f.relation in {"attribute", "holder"} for f in section)
        )
        if lines and section:
            heading = section[0].subject
            keyed = [f"{dict(f.fields)['N'].capitalize()}: {f.value}" for f in section]
            blocks.append("\n".join([f"## {heading[0].upper()}{heading[1:]}", *keyed]))
            continue
        sentences = [fact.stated(rng, split) for fact in section]
        if style == "bullets":
            blocks.append("\n".join(f"- {sentence}" for sentence in sentences))
        else:
            prose.extend(sentences)
            if len(prose) >= 5 or style == "mixed":
                blocks.append(" ".join(prose))
                prose = []
    if prose:
        blocks.append(" ".join(prose))
    return "\n\n".join(block for block in blocks if block)
