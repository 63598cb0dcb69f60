"""The procedurally generated world: facts and the fact sheets that state them.

A sheet describes one entity (a ship, a firm, a choir, a lease ...) and the things around it. Sheets
of one group share no ambiguous fact: whatever a sheet leaves to its title is said by no other sheet
of the group. Same seed, same sheet. This file knows no tokens and no chat format.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from reader import lexicon as lx
from reader import names
from reader.names import Split
from reader.wordings import EVAL_WRAPPERS, OPENERS, RELATIONS, WRAPPERS, fill, opened, wrap

# How often each kind of fact occurs.
KINDS = (
    *("holder", "holder", "attribute", "attribute", "attribute", "agent", "agent", "habit"),
    *("when", "where", "schedule", "object", "count", "measure"),
)


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

    def _filled(self, template: str, subject: str) -> str:
        return fill(template, {**dict(self.fields), "S": subject, "V": self.value, "adv": ""})

    @property
    def key(self) -> tuple[str, str]:
        """What is asked, without its subject: two facts with equal keys look alike."""
        return self.relation, " ".join(text for _, text in self.fields)

    def stated(self, rng: Random, split: Split | None) -> str:
        """One sentence that states the fact; without a split, the plainest one."""
        relation = RELATIONS[self.relation]
        if split is None:
            return self._filled(relation.statements[0], self.mention)
        templates = relation.statements if split == "train" else relation.eval_statements
        template = rng.choice(templates)
        if "{adv}" in template and rng.random() < 0.3:
            template = template.replace("{adv}", rng.choice(("last ", "first ", "originally ")))
        sentence = self._filled(template, self.mention)
        if split == "train" and rng.random() < 0.12:
            return opened(sentence, rng.choice(OPENERS))
        return sentence

    def asked(self, rng: Random, split: Split) -> str:
        """One question for the fact."""
        relation = RELATIONS[self.relation]
        if split == "train":
            return wrap(
                self._filled(rng.choice(relation.questions), self.subject), rng.choice(WRAPPERS)
            )
        question = self._filled(rng.choice(relation.eval_questions), self.subject)
        return wrap(question, rng.choice(EVAL_WRAPPERS))

    @property
    def question(self) -> str:
        """The plainest wording of the question."""
        return self._filled(RELATIONS[self.relation].questions[0], self.subject)

    @property
    def answer(self) -> str:
        """The sentence that answers every question for this fact."""
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
            fact = _fact(rng, self.split, self.words, self.kinds, subject, mention)
            if self._admit(fact, entity):
                facts.append(fact)
        return facts

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


def _fact(
    rng: Random,
    split: Split,
    words: Sequence[str],
    kinds: Sequence[str],
    subject: str,
    mention: str,
) -> Fact:
    """A random fact about `subject`."""
    kind = rng.choice(kinds)
    fields: dict[str, str] = {}
    if kind == "holder":
        noun = rng.choice(lx.PERSON_NOUNS) if rng.random() < 0.8 else names.invented(rng, "train")
        if rng.random() < 0.15:
            noun = f"{rng.choice(lx.ADJECTIVES)} {noun}"
        fields["N"], value = noun, names.person(rng, split)
    elif kind == "attribute":
        fields["N"], value = _attribute(rng, split, words)
    elif kind in {"agent", "habit"}:
        verb = rng.choice(lx.AGENT_VERBS) if rng.random() < 0.85 else _invented_verb(rng)
        fields |= {"past": verb.past, "third": verb.third, "part": verb.participle}
        value = names.person(rng, split)
    elif kind == "when":
        verb = rng.choice(lx.AGENT_VERBS) if rng.random() < 0.85 else _invented_verb(rng)
        fields["part"], value = verb.participle, names.date(rng, split)
    elif kind == "where":
        fields["part"], value = rng.choice(lx.PLACED), names.whereabouts(rng, split, words)
    elif kind == "schedule":
        verb = rng.choice(lx.SCHEDULED)
        fields |= {"base": verb.base, "third": verb.third}
        value = names.moment(rng, split)
    elif kind == "object":
        verb = rng.choice(lx.OBJECT_VERBS)
        fields |= {"base": verb.base, "third": verb.third}
        value = names.thing(rng, split, words)
    elif kind == "count":
        noun = rng.choice(lx.COUNTED) if rng.random() < 0.8 else names.invented(rng, "train") + "s"
        fields["N"], value = noun, names.number(rng, split, small=True)
    else:
        base, third, units = rng.choice(lx.MEASURES)
        fields |= {"base": base, "third": third}
        value = names.amount(rng, split, units)
    return Fact(kind, subject, mention, value, tuple(fields.items()))


def _invented_verb(rng: Random) -> lx.Verb:
    base = names.invented(rng, "train").rstrip("e")
    return lx.Verb(base, base + "s", base + "ed", base + "ed")


def _attribute(rng: Random, split: Split, words: Sequence[str]) -> tuple[str, str]:
    """An attribute's noun and a value of the type that it calls for."""
    draw = rng.random()
    if draw < 0.15:
        return rng.choice(lx.PLACE_NOUNS), names.place(rng, split)
    if draw < 0.3:
        return rng.choice(lx.DATE_NOUNS), names.date(rng, split)
    if draw < 0.45:
        noun = rng.choice(list(lx.MEASURE_NOUNS))
        return noun, names.amount(rng, split, lx.MEASURE_NOUNS[noun])
    if draw < 0.6:
        return rng.choice(lx.CODE_NOUNS), names.code(rng, split)
    if draw < 0.8:
        noun = rng.choice(lx.THING_NOUNS)
    else:  # an attribute that no list has: it can only be read
        noun = names.noun(rng, words)
        if rng.random() < 0.4:
            noun = f"{rng.choice(words)} {noun}"
    draw = rng.random()
    if draw < 0.6:
        return noun, names.thing(rng, split, words)
    if draw < 0.8:
        return noun, names.proper(rng, split)
    return noun, names.code(rng, split) if draw < 0.9 else names.person(rng, split)


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
