"""Questions that need more than one fact, or a fact read backwards.

Two hops, yes or no, reverse look-up, list, count, and whether two documents agree. Every answer says
the facts that it rests on before it concludes, so that each step is a reading of its own. Wordings
under EVAL never occur in training. This file knows facts and sheets; it knows no layout.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random

from reader.facts import Fact
from reader.names import Split
from reader.wordings import fill

NAMED = frozenset({"attribute", "holder"})
READ_BACK = NAMED | {"agent"}
WIDER = ("reverse", "yes_no", "two_hop", "join", "same", "list", "count")


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its gold sentence, the value in it, its kind and its facts."""

    text: str
    answer: str
    value: str
    kind: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Wordings:
    """Templates of one kind, for training and for evaluation."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]

    def pick(self, rng: Random, split: Split) -> str:
        """One template of the split."""
        return rng.choice(self.train if split == "train" else self.held_out)


REVERSE_NAMED = Wordings(
    (
        "What has the {N} {V}?",
        "What is {V} the {N} of?",
        "{V} is whose {N}?",
        "What has {V} as its {N}?",
        "Tell me what {V} is the {N} of.",
        "Whose {N} is {V}?",
        "For what is the {N} {V}?",
    ),
    ("{V} is the {N} of what?", "Of what is {V} the {N}?"),
)
REVERSE_DONE = Wordings(
    (
        "What was {part} by {V}?",
        "What is it that {V} {past}?",
        "Tell me what {V} {past}.",
        "What do we know {V} {past}?",
        "{V} {past} what?",
    ),
    ("Which thing was {part} by {V}?", "Name what {V} {past}."),
)
YES_NO_NAMED = Wordings(
    (
        "Is the {N} of {S} {V}?",
        "Is {V} the {N} of {S}?",
        "Is it true that the {N} of {S} is {V}?",
        "Does {S} have the {N} {V}?",
        "The {N} of {S} is {V}, right?",
    ),
    ("Is {S}'s {N} {V}?", "Am I right that the {N} of {S} is {V}?"),
)
YES_NO_DONE = Wordings(
    (
        "Was {S} {part} by {V}?",
        "Is it true that {V} {past} {S}?",
        "Was it {V} who {past} {S}?",
        "{V} {past} {S}, right?",
    ),
    ("Was {V} the one who {past} {S}?", "Am I right that {V} {past} {S}?"),
)
SAME = Wordings(
    (
        "Do {S} and {T} have the same {N}?",
        "Is the {N} of {S} the same as that of {T}?",
        "Have {S} and {T} one and the same {N}?",
        "Is it true that {S} and {T} share the {N}?",
    ),
    ("Are the {N} of {S} and the {N} of {T} the same?", "Does {S} have the same {N} as {T}?"),
)
LIST_DONE = Wordings(
    (
        "List all that {V} {past}.",
        "Which things did {V} have {part}?",
        "What all was {part} by {V}?",
    ),
    ("List the things that {V} {past}.",),
)
COUNT_DONE = Wordings(
    ("How many things were {part} by {V}?", "Count what {V} {past}."),
    ("How many things were there that {V} {past}?",),
)


class Asker:
    """Draws questions about sheets that stand together."""

    def __init__(self, rng: Random, split: Split, sheets: Sequence[Sequence[Fact]]) -> None:
        """`sheets` are the facts of each sheet."""
        self._rng, self._split = rng, split
        self._facts = [fact for sheet in sheets for fact in sheet]
        self._sheet_of = {id(f): i for i, sheet in enumerate(sheets) for f in sheet}
        self._with_value: dict[tuple[str, tuple[str, str]], list[Fact]] = defaultdict(list)
        self._with_key: dict[tuple[str, str], list[Fact]] = defaultdict(list)
        self._about: dict[str, list[Fact]] = defaultdict(list)
        for fact in self._facts:
            self._with_value[fact.value, fact.key].append(fact)
            self._with_key[fact.key].append(fact)
            self._about[fact.subject].append(fact)

    def draw(self, kind: str) -> Question | None:
        """A question of `kind`, or None when the sheets allow none."""
        makers: dict[str, Callable[[], Question | None]] = {
            "reverse": self._reverse,
            "yes_no": self._yes_no,
            "two_hop": lambda: self._two_hop(across=False),
            "join": lambda: self._two_hop(across=True),
            "same": self._same,
            "list": lambda: self._gathered(LIST_DONE, "list"),
            "count": lambda: self._gathered(COUNT_DONE, "count"),
        }
        return makers[kind]()

    def _reverse(self) -> Question | None:
        fact = self._some(
            f
            for f in self._facts
            if f.relation in READ_BACK and len(self._with_value[f.value, f.key]) == 1
        )
        if fact is None:
            return None
        if fact.relation in NAMED:
            text = self._fill(REVERSE_NAMED, fact)
            answer = fill("{V} is the {N} of {S}.", _fields(fact))
        else:
            text = self._fill(REVERSE_DONE, fact)
            answer = fill("{V} {past} {S}.", _fields(fact))
        return Question(text, answer, fact.subject, "reverse", (fact,))

    def _yes_no(self) -> Question | None:
        fact = self._some(f for f in self._facts if f.relation in READ_BACK)
        if fact is None:
            return None
        supposed = fact
        if self._rng.random() < 0.5:
            others = [
                f for f in self._facts if f.relation == fact.relation and f.value != fact.value
            ]
            if not others:
                return None
            supposed = replace(fact, value=self._rng.choice(others).value)
        form = YES_NO_NAMED if fact.relation in NAMED else YES_NO_DONE
        verdict = "yes" if supposed.value == fact.value else "no"
        answer = f"{fact.answer} So: {verdict}."
        return Question(self._fill(form, supposed), answer, verdict, "yes_no", (fact,))

    def _two_hop(self, *, across: bool) -> Question | None:
        links = [
            (first, second)
            for first in self._facts
            if first.relation in {"holder", "agent"}
            for second in self._about.get(first.value, ())
            if (self._sheet_of[id(first)] != self._sheet_of[id(second)]) == across
        ]
        if not links:
            return None
        first, second = self._rng.choice(links)
        form = "the {N} of {S}" if first.relation == "holder" else "the person who {past} {S}"
        described = form.format_map(_fields(first))
        text = replace(second, subject=described).asked(self._rng, self._split).question
        answer = f"{first.answer} {second.answer}"
        kind = "join" if across else "two_hop"
        return Question(text, answer, second.value, kind, (first, second))

    def _same(self) -> Question | None:
        pairs = [
            facts
            for facts in self._with_key.values()
            if facts[0].relation == "attribute" and len(facts) > 1
        ]
        if not pairs:
            return None
        one, two = self._rng.sample(self._rng.choice(pairs), 2)
        template = SAME.pick(self._rng, self._split)
        text = fill(template, _fields(one) | {"T": two.subject})
        verdict = "yes" if one.value == two.value else "no"
        answer = f"{one.answer} {two.answer} So: {verdict}."
        return Question(text, answer, verdict, "same", (one, two))

    def _gathered(self, form: Wordings, kind: str) -> Question | None:
        done: dict[tuple[str, tuple[str, str]], list[Fact]] = {
            key: facts for key, facts in self._with_value.items() if facts[0].relation == "agent"
        }
        many = [facts for facts in done.values() if len(facts) > 1] or list(done.values())
        if not many:
            return None
        facts = self._rng.choice(many)
        subjects = [f.subject for f in facts]
        listed = ", ".join(subjects[:-1]) + " and " + subjects[-1] if subjects[1:] else subjects[0]
        answer = fill("{V} {past} ", _fields(facts[0])) + listed
        value = listed if kind == "list" else str(len(facts))
        answer += "." if kind == "list" else f": {len(facts)}."
        return Question(self._fill(form, facts[0]), answer, value, kind, tuple(facts))

    def _some(self, facts: Iterable[Fact]) -> Fact | None:
        found = list(facts)
        return self._rng.choice(found) if found else None

    def _fill(self, form: Wordings, fact: Fact) -> str:
        return fill(form.pick(self._rng, self._split), _fields(fact))


def _fields(fact: Fact) -> dict[str, str]:
    return {**dict(fact.fields), "S": fact.subject, "V": fact.value, "adv": ""}
