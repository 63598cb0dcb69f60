"""What can be said of a subject: a kind of fact, its nouns and verbs, and a source of its values.

This file knows lists and vocabularies; it knows no subject and no sentence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from reader import lexicon as lx
from reader import names
from reader.names import Split

# How often each kind of fact occurs.
KINDS = (
    *("holder", "holder", "attribute", "attribute", "attribute", "agent", "agent", "habit"),
    *("when", "where", "schedule", "object", "count", "measure"),
)
UNLISTED = "unlisted"
"""Attributes that no list has, which the kinds above draw now and then."""


@dataclass(frozen=True, slots=True)
class Predicate:
    """What can be stated of any subject: a relation, its fields, and a source of values."""

    relation: str
    fields: tuple[tuple[str, str], ...]
    value: Callable[[], str]


def draw(rng: Random, split: Split, words: Sequence[str], kinds: Sequence[str]) -> Predicate:
    """A random relation with its fields."""
    kind = rng.choice(kinds)
    fields: dict[str, str] = {}
    value: Callable[[], str]
    if kind == "holder":
        noun = rng.choice(lx.PERSON_NOUNS) if rng.random() < 0.8 else names.invented(rng, "train")
        if rng.random() < 0.15:
            noun = f"{rng.choice(lx.ADJECTIVES)} {noun}"
        fields["N"], value = noun, partial(names.person, rng, split)
    elif kind in {"attribute", UNLISTED}:
        fields["N"], value = _attribute(rng, split, words, listed=kind == "attribute")
        kind = "attribute"
    elif kind in {"agent", "habit"}:
        verb = rng.choice(lx.AGENT_VERBS) if rng.random() < 0.95 else _invented_verb(rng)
        fields |= {"past": verb.past, "third": verb.third, "part": verb.participle}
        value = partial(names.person, rng, split)
    elif kind == "when":
        verb = rng.choice(lx.AGENT_VERBS) if rng.random() < 0.95 else _invented_verb(rng)
        fields["part"], value = verb.participle, partial(names.date, rng, split)
    elif kind == "where":
        fields["part"] = rng.choice(lx.PLACED)
        value = partial(names.whereabouts, rng, split, words)
    elif kind == "schedule":
        verb = rng.choice(lx.SCHEDULED)
        fields |= {"base": verb.base, "third": verb.third}
        value = partial(names.moment, rng, split)
    elif kind == "object":
        verb = rng.choice(lx.OBJECT_VERBS)
        fields |= {"base": verb.base, "third": verb.third}
        value = partial(names.thing, rng, split, words)
    elif kind == "count":
        noun = rng.choice(lx.COUNTED) if rng.random() < 0.8 else names.invented(rng, "train") + "s"
        fields["N"], value = noun, partial(names.number, rng, split, small=True)
    else:
        base, third, units = rng.choice(lx.MEASURES)
        fields |= {"base": base, "third": third}
        value = partial(names.amount, rng, split, units)
    return Predicate(kind, tuple(fields.items()), value)


def _invented_verb(rng: Random) -> lx.Verb:
    base = names.invented(rng, "train").rstrip("e")
    return lx.Verb(base, base + "s", base + "ed", base + "ed")


def _attribute(
    rng: Random, split: Split, words: Sequence[str], *, listed: bool
) -> tuple[str, Callable[[], str]]:
    """An attribute's noun and a source of values of the type that it calls for."""
    draw = rng.random() if listed else 1.0
    if draw < 0.15:
        return rng.choice(lx.PLACE_NOUNS), partial(names.place, rng, split)
    if draw < 0.3:
        return rng.choice(lx.DATE_NOUNS), partial(names.date, rng, split)
    if draw < 0.45:
        noun = rng.choice(list(lx.MEASURE_NOUNS))
        return noun, partial(names.amount, rng, split, lx.MEASURE_NOUNS[noun])
    if draw < 0.6:
        return rng.choice(lx.CODE_NOUNS), partial(names.code, rng, split)
    if draw < 0.8:
        noun = rng.choice(lx.THING_NOUNS)
    else:  # an attribute that no list has: it can only be read
        noun = names.attribute(rng, split, words)
        if rng.random() < 0.4:
            noun = f"{names.drawn(lambda r: r.choice(words), rng, split)} {noun}"
    draw = rng.random()
    if draw < 0.6:
        return noun, partial(names.thing, rng, split, words)
    if draw < 0.8:
        return noun, partial(names.proper, rng, split)
    return noun, partial(names.code if draw < 0.9 else names.person, rng, split)
