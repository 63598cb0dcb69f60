"""Short sentences of notices, letters and lists, with questions about them.

Every saying is a row of a table: the sentence, what it answers, and what it leaves open; fields in
braces are drawn once a row. This file knows English sentences; it knows no document.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from reader import lexicon as lx
from reader import names
from reader.parts import COLOURS, Parts
from reader.wordings import RELATIONS


@dataclass(frozen=True, slots=True)
class Told:
    """A text, questions that it answers (with the answer, empty where the text is it), and others."""

    text: str
    asks: tuple[tuple[str, str], ...]
    open: tuple[str, ...] = ()


_Row = tuple[str, Sequence[str], Sequence[str]]

_OPEN_THING = ("who made the {noun}?", "how heavy is the {noun}?", "whose is the {noun}?")
_OPEN_COST = ("when was the {noun} paid for?", "who counted the {noun}?")
_OPEN_USE = ("who uses the {noun}?", "how much does the {noun} cost?", "where is the {noun}?")
_OPEN_POST = ("who is the {other_role}?", "when did the {role} start?")
_POST = (
    "who is the {role}?|The {role} is {name}.",
    "what is the name of the {role}?|The {role} is {name}.",
)
# Of posts, in as many wordings as the world has: in two alone they are all that is heard.
_POST_OF = (*_POST, *("{holder}|The {role} of the {noun} is {name}.",) * 4)
HOLDERS = tuple(each for each in RELATIONS["holder"].questions if each.endswith("?"))
_COUNTED = (
    "how many {things} are there?",
    "how many {things} are there {where}?",
    "where are the {things}?",
)
_OPEN_COUNTED = ("who counted the {things}?", "how old are the {things}?")
_OPEN_RULE = ("who {must} {verb.base} the {noun}?", "where {must} the {noun} be {verb.participle}?")
_RULE = ("when {must} the {noun} be {verb.participle}?", "what {must} be {verb.participle} {when}?")
_LIMIT = (
    "how many {things} {must} the {role} {verb.base}?",
    "what {must} the {role} {verb.base}?",
    "who {must} {verb.base} {things}?",
)
_OPEN_LIMIT = ("when {must} the {role} {verb.base} {things}?",)
_UNITS = ("cm", "metres", "kg", "minutes", "hours", "km")
_PAID = "how much does each {role} pay?"

_KINDS: Sequence[Sequence[_Row]] = (
    (
        ("the {noun} {must} be {verb.participle} {when}.", _RULE, _OPEN_RULE),
        ("the {noun} {must} only be {verb.participle} {when}.", _RULE, _OPEN_RULE),
        ("the {role} {must} {verb.base} {count} {things}.", _LIMIT, _OPEN_LIMIT),
        ("the {role} {must} {verb.base} up to {count} {things}.", _LIMIT, _OPEN_LIMIT),
        ("the {role} {must} {verb.base} at least {count} {things}.", _LIMIT, _OPEN_LIMIT),
        ("the {role} {must} {verb.base} no more than {count} {things}.", _LIMIT, _OPEN_LIMIT),
    ),
    (
        ("the {role}, {name}, {verb.past} {thing.text}.", _POST, _OPEN_POST),
        ("the {role} of the {noun}, {name}, {verb.past} {thing.text}.", _POST_OF, _OPEN_POST),
        ("{name}, the {role} of the {noun}, {verb.past} {thing.text}.", _POST_OF, _OPEN_POST),
        (
            "{thing.text} {thing.was} {verb.participle} by the {role}, at present {name}.",
            _POST,
            _OPEN_POST,
        ),
        ("{thing.text} {thing.was} {verb.participle} by our {role} {name}.", _POST, _OPEN_POST),
        ("{name} is our {role} and {verb.past} {thing.text}.", _POST, _OPEN_POST),
        ("ask the {role} ({name}) about {thing.text}.", _POST, _OPEN_POST),
        ("{name} took over as {role} of the {noun}.", _POST_OF, _OPEN_POST),
        ("{role} of the {noun}: {name}", _POST_OF, _OPEN_POST),
        ("{role}: {name}", _POST, _OPEN_POST),
    ),
    (
        ("there are {count} {things} {where}.", _COUNTED, _OPEN_COUNTED),
        ("{count} {things} stand {where}.", _COUNTED, _OPEN_COUNTED),
        ("{where} we counted {count} {things}.", _COUNTED, _OPEN_COUNTED[1:]),
        ("the {things}, of which there are {count}, are {where}.", _COUNTED, _OPEN_COUNTED),
        ("we have {count} {things} {where}.", _COUNTED, _OPEN_COUNTED),
    ),
    (
        (
            "the {noun} stands {where}.",
            ("where does the {noun} stand?", "what stands {where}?"),
            _OPEN_THING,
        ),
        (
            "the {noun} hangs {where}.",
            ("where does the {noun} hang?", "what hangs {where}?"),
            _OPEN_THING,
        ),
        (
            "the spare {noun} lies {where}.",
            ("where is the spare {noun}?", "what lies {where}?"),
            _OPEN_THING,
        ),
        (
            "the {noun} is kept {where}.",
            ("where is the {noun} kept?", "what is kept {where}?"),
            _OPEN_THING,
        ),
        ("the old {noun} was left {where}.", ("where was the old {noun} left?",), _OPEN_THING),
        ("the {noun} can be found {where}.", ("where is the {noun}?",), _OPEN_THING),
    ),
    (
        ("the {noun} is made of {material}.", ("what is the {noun} made of?",), _OPEN_THING),
        ("a {noun} of {material} stands {where}.", ("what is the {noun} made of?",), _OPEN_THING),
        (
            "the {noun}, made of {material}, is {state}.",
            ("what is the {noun} made of?",),
            _OPEN_THING,
        ),
        (
            "the {colour} {noun} is for {things}.",
            ("what is the {colour} {noun} for?",),
            _OPEN_THING,
        ),
        ("the {noun} is only for {things}.", ("what is the {noun} for?",), _OPEN_THING),
        ("the {noun} is painted {colour}.", ("what colour is the {noun}?",), _OPEN_THING),
        (
            "the {noun} has a {colour} {other}.",
            ("what colour is the {other} of the {noun}?",),
            _OPEN_THING,
        ),
    ),
    (
        ("the {noun} is {cm} long.", ("how long is the {noun}?",), _OPEN_USE),
        ("the {noun} is {metres} high.", ("how high is the {noun}?",), _OPEN_USE),
        ("the {noun} is {metres} wide.", ("how wide is the {noun}?",), _OPEN_USE),
        ("the {noun} is {metres} deep.", ("how deep is the {noun}?",), _OPEN_USE),
        (
            "the {noun} weighs {kg}.",
            ("how heavy is the {noun}?", "what does the {noun} weigh?"),
            _OPEN_USE,
        ),
        ("the {noun} takes {minutes}.", ("how long does the {noun} take?",), _OPEN_USE),
        ("the {noun} lasts {hours}.", ("how long does the {noun} last?",), _OPEN_USE),
        ("it is {km} to the {noun}.", ("how far is the {noun}?",), _OPEN_USE[:2]),
        ("allow {minutes} for the {noun}.", ("how long does the {noun} take?",), _OPEN_USE),
    ),
    (
        ("the {noun} costs {money}.", ("how much does the {noun} cost?",), _OPEN_COST),
        ("each {role} pays {money} for the {noun}.", (_PAID,), _OPEN_COST),
        ("the {noun} raised {money}.", ("how much did the {noun} raise?",), _OPEN_COST[1:]),
        (
            "the {noun} brought in {money}.",
            ("how much did the {noun} bring in?",),
            _OPEN_COST[1:],
        ),
        ("we paid the {role} {money}.", ("how much was the {role} paid?",), _OPEN_POST),
        (
            "the {role} asked for {money}.",
            ("how much did the {role} ask for?",),
            _OPEN_POST,
        ),
        (
            "{money} were spent on the {noun}.",
            ("how much was spent on the {noun}?",),
            _OPEN_COST,
        ),
    ),
)


class _Fields(dict[str, object]):
    """Fields of one saying, each drawn when it is first named."""

    def __init__(self, draws: Mapping[str, Callable[[], object]]) -> None:
        super().__init__()
        self._draws = draws

    def __missing__(self, name: str) -> object:
        self[name] = self._draws[name]()
        return self[name]


class Sayings:
    """Draws one saying after another."""

    def __init__(self, rng: Random, parts: Parts) -> None:
        self._rng = rng
        self._draws: Mapping[str, Callable[[], object]] = {
            "noun": parts.noun,
            "other": parts.noun,
            "things": parts.plural,
            "verb": parts.verb,
            "thing": parts.thing,
            "role": parts.role,
            "name": parts.person,
            "count": parts.number,
            "state": parts.state,
            "when": parts.when,
            "where": parts.where,
            "must": lambda: rng.choice(("must", "may", "can", "should", "will")),
            "money": lambda: parts.amount(("euros", "dollars", "pounds", "crowns")),
            **{unit: partial(parts.amount, (unit,)) for unit in _UNITS},
            "colour": lambda: rng.choice(COLOURS),
            "material": lambda: names.drawn(lambda r: r.choice(lx.MATERIALS), rng, "train"),
        }

    def told(self) -> Told:
        """One saying."""
        text, asks, left = self._rng.choice(self._rng.choice(_KINDS))
        fields = _Fields(self._draws)
        said = text.format_map(fields)
        if "{role}" in text:
            fields["holder"] = self._rng.choice(HOLDERS).format(
                N=fields["role"], S=f"the {fields['noun']}"
            )
            others = [role for role in lx.PERSON_NOUNS if role != fields["role"]]
            fields["other_role"] = self._rng.choice(others)
        filled = (each.format_map(fields).partition("|") for each in asks)
        return Told(
            said,
            tuple((question, answer) for question, _, answer in filled),
            tuple(each.format_map(fields) for each in left),
        )
