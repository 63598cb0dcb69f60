"""What a sentence is made of: verbs, people, things, and when, where, why or with what.

Everything drawn is of training. This file knows words and phrases; it knows no sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from reader import lexicon as lx
from reader import names
from reader.forms import IN_OTHER_FORMS


def _bent(forms: str) -> list[lx.Verb]:
    return [lx.Verb(*each.split()) for each in forms.split("|")]


VERBS = (
    *lx.AGENT_VERBS,
    *lx.regular(
        "carry mend postpone rescue bake cook offer miss change want watch follow fetch announce "
        "promise refuse describe damage destroy admire invite help ask call empty return present loosen "
        "shift switch iron notice request smash translate hand count taste try"
    ),
    *_bent(
        "send sends sent sent|bring brings brought brought|lose loses lost lost|give gives gave given|"
        "steal steals stole stolen|break breaks broke broken|catch catches caught caught|"
        "eat eats ate eaten|drive drives drove driven|win wins won won|throw throws threw thrown|"
        "tear tears tore torn|hide hides hid hidden|choose chooses chose chosen|feed feeds fed fed|"
        "leave leaves left left|forget forgets forgot forgotten|read reads read read|"
        "sew sews sewed sewn|dig digs dug dug|lend lends lent lent|show shows showed shown|"
        "take takes took taken|see sees saw seen|bind binds bound bound|hang hangs hung hung|"
        "rebuild rebuilds rebuilt rebuilt|scrub scrubs scrubbed scrubbed|drop drops dropped dropped|"
        "cancel cancels cancelled cancelled|plan plans planned planned|ship ships shipped shipped"
    ),
)
"""What somebody does to something."""
SAME_AS: Mapping[str, lx.Verb] = dict(
    zip(
        "buy repair mend replace send find build write check inspect choose give lend show fetch "
        "deliver damage".split(),
        _bent(
            "purchase purchases purchased purchased|mend mends mended mended|"
            "repair repairs repaired repaired|exchange exchanges exchanged exchanged|"
            "post posts posted posted|discover discovers discovered discovered|"
            "construct constructs constructed constructed|compose composes composed composed|"
            "examine examines examined examined|examine examines examined examined|"
            "select selects selected selected|donate donates donated donated|loan loans loaned loaned|"
            "present presents presented presented|collect collects collected collected|"
            "bring brings brought brought|harm harms harmed harmed"
        ),
        strict=True,
    )
)
"""Another verb for the same, by base form."""
COLOURS = "red green blue yellow grey black white brown purple orange pink turquoise".split()
_KIN = (
    "sister brother aunt uncle cousin neighbour friend colleague daughter son niece nephew".split()
)
_FIRMS = tuple(form for forms in lx.ROLES_OF_ENTITY.values() for form in forms)
_NUMERALS = "two three four five six seven eight nine ten eleven twelve twenty fifty".split()
_ORDINALS = "first second third fourth fifth sixth".split()
_STATES = (*lx.ADJECTIVES, "lost", "cracked", "empty", "late", "ready", "too old")
_ARTICLES = ("the", "the", "the", "a", "our", "my", "his", "her")


@dataclass(frozen=True, slots=True)
class Doer:
    """Who does something: as the text has it, as a question may, and the name where it is a person."""

    text: str
    named: str
    person: str
    pronoun: str


@dataclass(frozen=True, slots=True)
class Thing:
    """What something is done to: as the text has it, as a question may, and how to ask how many."""

    text: str
    asked: str
    counted: str = ""
    was: str = "was"

    @property
    def bare(self) -> str:
        """The text without its article."""
        article, _, rest = self.text.partition(" ")
        return rest if article in {*_ARTICLES, "an"} else self.text


class Parts:
    """Draws the parts of sentences."""

    def __init__(self, rng: Random, words: Sequence[str]) -> None:
        """`words` is the dictionary that nouns are drawn from."""
        self._rng, self._words = rng, words

    def noun(self) -> str:
        """A word that stands for a thing, whatever it is elsewhere."""
        pool = lx.PARTS if self._rng.random() < 0.35 else self._words
        while True:
            noun = names.drawn(lambda rng: rng.choice(pool), self._rng, "train")
            if noun not in lx.FUNCTION_WORDS:
                return noun

    def plural(self) -> str:
        """A word that stands for several things."""
        if self._rng.random() < 0.5:
            return names.drawn(lambda rng: rng.choice(lx.COUNTED), self._rng, "train")
        return names.drawn(lambda _: f"{self.noun().removesuffix('s')}s", self._rng, "train")

    def verb(self) -> lx.Verb:
        """What somebody does to something."""
        return self._rng.choice(VERBS)

    def role(self) -> str:
        """What somebody is."""
        return self._rng.choice(lx.PERSON_NOUNS)

    def state(self) -> str:
        """How something is."""
        return self._rng.choice(_STATES)

    def number(self) -> str:
        """A count in digits or spelt out."""
        if self._rng.random() < 0.3:
            return self._rng.choice(_NUMERALS)
        return names.number(self._rng, "train", small=self._rng.random() < 0.7)

    def amount(self, units: Sequence[str]) -> str:
        """So many of one of the units."""
        return names.drawn(lambda rng: f"{self.number()} {rng.choice(units)}", self._rng, "train")

    def person(self) -> str:
        """A person's name, at times one name alone, with a title or an accent."""
        if self._rng.random() < 0.3:
            return names.drawn(IN_OTHER_FORMS["person"], self._rng, "train")
        return names.person(self._rng, "train")

    def doer(self) -> Doer:
        """Who does something: a person, somebody's relative, a post or a firm."""
        rng = self._rng
        draw, pronoun = rng.random(), rng.choice(("He", "She"))
        if draw < 0.6:
            name = self.person()
            called = name.split(" ")[-1] if rng.random() < 0.15 else name
            return Doer(name, called, name, pronoun)
        if draw < 0.7:
            name = names.given(rng, "train")
            return Doer(
                f"{rng.choice(('my', 'our', 'his'))} {rng.choice(_KIN)} {name}", name, name, pronoun
            )
        if draw < 0.85:
            role = f"the {self.role()}"
            return Doer(role, role, "", pronoun)
        firm = rng.choice(_FIRMS).format(names.proper(rng, "train"))
        return Doer(firm, firm, "", "It")

    def thing(self) -> Thing:
        """What something is done to: one thing, several, or so much of something."""
        rng = self._rng
        draw, noun = rng.random(), self.noun()
        if draw < 0.2:
            things = self.plural()
            return Thing(f"{self.number()} {things}", f"the {things}", f"how many {things}", "were")
        if draw < 0.3:
            amount = self.amount(("kg", "litres", "metres", "tonnes", "boxes", "bags"))
            return Thing(f"{amount} of {noun}", f"the {noun}", f"how much {noun}")
        article = rng.choice(_ARTICLES)
        quality = f"{rng.choice(lx.ADJECTIVES)} " if rng.random() < 0.3 else ""
        if article == "a" and f"{quality}{noun}"[0] in "aeiou":
            article = "an"
        asked = f"the {quality if rng.random() < 0.7 else ''}{noun}"
        return Thing(f"{article} {quality}{noun}", asked)

    def when(self) -> str:
        """A day, an hour or a season, with its preposition."""
        return names.drawn(self._when, self._rng, "train")

    @staticmethod
    def _when(rng: Random) -> str:
        year, day = rng.randint(1500, 2039), rng.choice(lx.DAYS)
        return rng.choice(
            (
                f"on {names.date(rng, 'train')}",
                f"on {day}",
                f"in {rng.choice(lx.MONTHS)}",
                f"in {year}",
                f"in the {rng.choice(('spring', 'summer', 'autumn', 'winter'))} of {year}",
                f"on the {rng.randint(4, 20)}th",
                f"at {rng.randrange(24):02d}:{rng.randrange(60):02d}",
                f"on {day} at {rng.randint(5, 22)} o'clock",
                f"before {day}",
                f"until {names.date(rng, 'train')}",
                f"every {rng.choice(('second', 'third'))} {day}",
                f"last {rng.choice((*lx.DAYS, *lx.MONTHS))}",
            )
        )

    def where(self) -> str:
        """A place, with its preposition."""
        return names.drawn(self._where, self._rng, "train")

    def _where(self, rng: Random) -> str:
        near, noun = rng.choice(lx.PREPOSITIONS), self.noun()
        return rng.choice(
            (
                f"{near} the {noun}",
                f"{near} the {rng.choice(lx.ADJECTIVES)} {noun}",
                f"in {names.place(rng, 'train')}",
                f"on the {rng.choice(_ORDINALS)} floor",
            )
        )

    def price(self) -> str:
        """For how much money."""
        return f"for {self.amount(('euros', 'dollars', 'crowns'))}"

    def span(self) -> str:
        """How long, or in how much time."""
        units = ("minutes", "hours", "days", "weeks", "months", "years")
        return f"{self._rng.choice(('for', 'in'))} {self.amount(units)}"

    def tool(self) -> str:
        """With what."""
        return f"with {self._rng.choice(('a', 'the', 'his', 'an old'))} {self.noun()}"

    def why(self) -> str:
        """For what reason."""
        noun = self.noun()
        return self._rng.choice(
            (
                f"because the {noun} was {self.state()}",
                f"because of the {noun}",
                f"since nobody had {self.verb().participle} the {noun}",
                f"to {self.verb().base} the {noun}",
            )
        )

    def receiver(self) -> str:
        """For whom."""
        return f"for {self._rng.choice((self.person(), f'the {self.role()}'))}"
