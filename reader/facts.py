"""A fact: how it is stated, asked for and answered, labelled, continued and joined with another.

This file knows wordings; it draws no values and knows no document.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

from reader import lexicon as lx
from reader.distortion import distorted, held_out
from reader.names import Split
from reader.wordings import RELATIONS, fill
from reader.wrapping import EVAL_WRAPPERS, TRAILERS, WRAPPERS, closed, opened, wrap

_MEASURED = {
    "weigh": ("weight",),
    "cost": ("price", "annual rent", "monthly fee"),
    "hold": ("capacity",),
    "measure": ("length", "height", "width", "depth"),
    "use": ("power",),
}


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
    person: bool = False  # whether the subject is a person: then no pronoun stands for it

    def _filled(self, template: str, subject: str, adverb: str = "") -> str:
        return fill(template, {**dict(self.fields), "S": subject, "V": self.value, "adv": adverb})

    @property
    def key(self) -> tuple[str, str]:
        """What is asked, without its subject: two facts with equal keys look alike."""
        return self.relation, " ".join(text for _, text in self.fields)

    def means(self, other: "Fact") -> bool:
        """Whether the other says as much in another relation's words: "costs" and "price"."""
        for one, two in ((self, other), (other, self)):
            noun, fields = dict(two.fields).get("N", ""), dict(one.fields)
            if one.relation == "measure" and two.relation == "attribute":
                return noun in _MEASURED.get(fields["base"], ())
            if one.relation in {"agent", "habit"} and two.relation == "holder":
                return noun.split()[-1][:5] == fields["part"][:5]  # "designer", "designed"
        return False

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

    def asked(
        self, rng: Random, split: Split, *, wrapped: bool = True, synonyms: bool = False
    ) -> Exchange:
        """One question for the fact, with the answer in the question's own verb form.

        `wrapped` is a question as people put it: with courtesies and, in training, at times damaged.
        With `synonyms`, another word stands for the noun wherever one is known; training does so now
        and then.
        """
        relation = RELATIONS[self.relation]
        train = split == "train"
        template = rng.choice(relation.questions if train else relation.eval_questions)
        if train and wrapped and rng.random() < 0.3:
            template = distorted(template, rng)
        meant = dict(self.fields).get("N", "")
        noun = meant
        if meant in lx.SYNONYMS and (synonyms or (train and rng.random() < 0.2)):
            noun = rng.choice(lx.SYNONYMS[meant])
        asked = replace(self, fields=tuple((k, noun if k == "N" else v) for k, v in self.fields))
        question = asked._filled(template, self.subject, _adverb(rng) if train else "")
        passive = relation.passive and "{part}" in template
        if wrapped:
            question = wrap(question, rng.choice(WRAPPERS if train else EVAL_WRAPPERS))
        return Exchange(
            question,
            self._filled(relation.passive if passive else relation.answer, self.subject),
        )

    def continued(self, rng: Random, split: Split) -> str:
        """A sentence whose subject is a pronoun: it follows one that names the subject."""
        relation = RELATIONS[self.relation]
        templates = relation.statements if split == "train" else relation.eval_statements
        fitting = [t for t in templates if t.startswith(("{S} ", "{S}'s "))]
        if self.person or not fitting:
            return self.stated(rng, split)
        template = rng.choice(fitting)
        pronoun = "Its " if template.startswith("{S}'s ") else "It "
        return self._filled(pronoun + template.split(" ", 1)[1], self.mention, _adverb(rng))

    def joined(self, other: "Fact", rng: Random, split: Split) -> str:
        """One sentence that states this fact and another about the same subject."""
        first, second = self._predicate(rng, split), other._predicate(rng, split)
        if first and second:
            return fill(f"{{S}} {first} and {second}.", {"S": self.mention})
        return f"{self.stated(rng, split)} {other.stated(rng, split)}"

    def _predicate(self, rng: Random, split: Split) -> str:
        """What a sentence says behind its subject; empty where no wording begins with the subject."""
        relation = RELATIONS[self.relation]
        templates = relation.statements if split == "train" else relation.eval_statements
        fitting = [
            t for t in templates if t.startswith("{S} ") and t.count(",") + t.count(":") == 0
        ]
        if not fitting:
            return ""
        filled = self._filled(rng.choice(fitting), "", _adverb(rng))
        return filled.strip().rstrip(".")

    @property
    def question(self) -> str:
        """The plainest wording of the question."""
        return self._filled(RELATIONS[self.relation].questions[0], self.subject)

    @property
    def answer(self) -> str:
        """The sentence that answers the plainest question."""
        return self._filled(RELATIONS[self.relation].answer, self.subject)


def label(fact: Fact) -> str:
    """The key under which a fact stands in a list of key: value lines."""
    fields = dict(fact.fields)
    noun = (
        {
            "agent": f"{fields.get('part')} by",
            "habit": f"usually {fields.get('part')} by",
            "measure": f"amount it {fields.get('third')}",
            "when": f"{fields.get('part')} on",
            "where": f"{fields.get('part')}",
            "count": f"number of {fields.get('N')}",
        }.get(fact.relation)
        or fields.get("N")
        or fields["third"]
    )
    return noun.capitalize()


def _varied(template: str, rng: Random) -> str:
    """A statement's template, at times damaged, at times behind an opener."""
    varied = distorted(template, rng) if rng.random() < 0.2 else template
    if rng.random() < 0.25:
        varied = opened(varied, rng)
    return template if held_out(varied) else varied


def _adverb(rng: Random) -> str:
    return f"{rng.choice(lx.ADVERBS)} " if rng.random() < 0.4 else ""
