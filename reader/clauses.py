"""Sentences as people write them, by a small grammar, and questions about each of their parts.

The world states one fact a sentence and asks in that fact's wordings; prose asks in what is left of a
sentence. What people write has several parts in one clause (who, what, when, where, what for), a
value anywhere in it, and is asked about in plain English. Whatever a clause does not say can be asked as
well, and has no answer. This file knows English clauses; it knows no document, no relation and no tokens.
"""

from collections.abc import Mapping, Sequence
from random import Random

from reader import lexicon as lx
from reader import names
from reader.parts import SAME_AS, Doer, Parts, Thing
from reader.sayings import Sayings, Told

_ASKED: Mapping[str, tuple[str, ...]] = {
    "when": ("when {does}?", "when {done}?", "on which day {done}?"),
    "where": ("where {does}?", "where {done}?"),
    "price": (
        "for how much {done}?",
        "for how much money {does}?",
        "what did it cost to {base} {it}?",
    ),
    "span": ("how long {does}?", "for how long {done}?"),
    "tool": ("what {does} with?", "with what {done}?"),
    "why": ("why {does}?", "why {done}?", "for what reason {done}?"),
    "receiver": ("for whom {does}?", "for whom {done}?", "who {done} for?"),
}
_TAKEN = "how long did it take to {base} {it}?"
_WENT = (
    ("arrive", "arrived", "in {place}"),
    ("move", "moved", "to {place}"),
    ("start", "started", "at the {noun}"),
    ("retire", "retired", "from the {noun}"),
    ("travel", "travelled", "to {place}"),
    ("come", "came", "to the {noun}"),
    ("speak", "spoke", "about the {noun}"),
    ("live", "lived", "in {place}"),
    ("work", "worked", "for the {noun}"),
)
_JOINTS = (", and", ";", ", but", ", while", ", then")


class Clauses:
    """Tells one sentence or two after another."""

    def __init__(self, rng: Random, words: Sequence[str]) -> None:
        """`words` is the dictionary that nouns are drawn from; everything drawn is of training."""
        self._rng = rng
        self._parts = Parts(rng, words)
        self._sayings = Sayings(rng, self._parts)

    def told(self) -> Told:
        """One sentence or two, with what they answer and what they leave open."""
        draw = self._rng.random()
        if draw < 0.4:
            found = self._act()
        elif draw < 0.5:
            found = self._two_acts()
        elif draw < 0.6:
            found = self._went()
        else:
            found = self._sayings.told()
        asks = tuple((_upper(question), answer) for question, answer in found.asks)
        return Told(_upper(found.text), asks, tuple(map(_upper, found.open)))

    def _act(self) -> Told:
        """Somebody does something: in the active, the passive, a note or a relative clause."""
        rng, parts = self._rng, self._parts
        verb, doer, thing, state = parts.verb(), parts.doer(), parts.thing(), parts.state()
        said = {kind: getattr(parts, kind)() for kind in self._kinds()}
        behind = "".join(f" {text}" for text in said.values())
        first = next((kind for kind in ("when", "where") if kind in said), "")
        rest = "".join(f" {text}" for kind, text in said.items() if kind != first)
        front = said.get(first, "Later") + rng.choice((",", ""))
        done = f"{verb.participle} by {doer.text}{behind}"
        forms = (
            *(f"{doer.text} {verb.past} {thing.text}{behind}.",) * 4,
            *(f"{front} {doer.text} {verb.past} {thing.text}{rest}.",) * 2,
            *(f"{thing.text} {thing.was} {done}.",) * 3,
            f"{thing.bare}: {done}.",
            f"{thing.bare} {state}. {_upper(done)}.",
            f"{thing.text} that {doer.text} {verb.past}{behind} {thing.was} {state}.",
        )
        unnamed = (
            f"{thing.text} {thing.was} {verb.participle}{behind}.",
            f"{verb.past} {thing.text}{behind}.",
        )
        known = not said or rng.random() < 0.85  # or there were nothing to ask for
        asked = SAME_AS.get(verb.base, verb) if rng.random() < 0.3 else verb
        asks, left = self._about(asked, doer if known else None, thing, said)
        return Told(rng.choice(forms if known else unnamed), tuple(asks), tuple(left))

    def _kinds(self) -> list[str]:
        drawn = self._rng.sample(["when", "where", *_ASKED], self._rng.choice((0, 1, 1, 2, 2, 3)))
        return list(dict.fromkeys(drawn))

    def _about(
        self, verb: lx.Verb, doer: Doer | None, thing: Thing, said: Mapping[str, str]
    ) -> tuple[list[tuple[str, str]], list[str]]:
        """Questions about an act, answered and open."""
        rng, it, done = self._rng, thing.asked, f"{thing.was} {thing.asked} {verb.participle}"
        who = (
            f"who {verb.past} {it}?",
            f"by whom {done}?",
            f"who was it that {verb.past} {it}?",
            f"which person {verb.past} {it}?",
        )
        asks: list[tuple[str, str]] = []
        left: list[str] = []
        if doer is None:
            left.append(rng.choice(who))
        else:
            answer = _person_who(verb, it, doer)
            asks += [(who[0], answer), (rng.choice(who), answer)]
            asks.append((f"what did {doer.named} {verb.base}?", ""))
            asks.append((f"what {thing.was} {verb.participle} by {doer.named}?", ""))
        for there in (said[kind] for kind in ("when", "where") if kind in said):
            asks.append((f"what {thing.was} {verb.participle} {there}?", ""))
            if doer is not None:
                asks.append(
                    (f"who {verb.past} {it} {there}?", _person_who(verb, f"{it} {there}", doer))
                )
        if thing.counted:
            asks.append((f"{thing.counted} {thing.was} {verb.participle}?", ""))
            if doer is not None:
                asks.append((f"{thing.counted} did {doer.named} {verb.base}?", ""))
        does = f"did {doer.named} {verb.base} {it}" if doer else done
        for kind, ways in _ASKED.items():
            taken = said.get(kind, "").startswith("in ") and kind == "span"
            way = _TAKEN if taken else rng.choice(ways)
            if kind == "when" and not names_day(said.get(kind, "on")):
                way = rng.choice(ways[:2])  # "in 1661" names no day
            question = way.format(does=does, done=done, base=verb.base, it=it)
            if kind in said:
                asks.append((question, ""))
            else:
                left.append(question)
        return asks, left

    def _two_acts(self) -> Told:
        """Two clauses about one person, or about two that did something else each."""
        rng, parts = self._rng, self._parts
        one, other = parts.verb(), parts.verb()
        doer, first, second, when = parts.doer(), parts.thing(), parts.thing(), parts.when()
        if rng.random() < 0.5:  # who "he" is stands in the sentence before
            later, subject, joint = doer, doer.pronoun, "."
        else:
            later, joint = parts.doer(), rng.choice(_JOINTS)
            subject = later.text
        text = f"{doer.text} {one.past} {first.text}{joint} {subject} {other.past} {second.text} {when}."
        asks = (
            (f"what did {doer.named} {one.base}?", ""),
            (f"who {one.past} {first.asked}?", _person_who(one, first.asked, doer)),
            (f"who {other.past} {second.asked}?", _person_who(other, second.asked, later)),
            (f"when {second.was} {second.asked} {other.participle}?", ""),
        )
        return Told(text, asks, (f"where {first.was} {first.asked} {one.participle}?",))

    def _went(self) -> Told:
        """Somebody comes, goes or begins somewhere."""
        rng, doer, when = self._rng, self._parts.doer(), self._parts.when()
        base, past, form = rng.choice(_WENT)
        where = form.format(place=names.place(rng, "train"), noun=self._parts.noun())
        texts = (f"{doer.text} {past} {where} {when}.",) * 3
        text = rng.choice((*texts, f"{when} {doer.text} {past} {where}."))
        preposition = where.split(" ")[0]
        asking = "where" if preposition in {"in", "to", "at"} else f"{preposition} what"
        named = f"The person who {past} {{}} is {doer.person}." if doer.person else ""
        asks = (
            (f"when did {doer.named} {base} {where}?", ""),
            (f"when did {doer.named} {base}?", ""),
            (f"{asking} did {doer.named} {base}?", ""),
            (f"who {past} {where}?", named.format(where)),
            (f"who {past} {when}?", named.format(when)),
        )
        return Told(text, asks, (f"why did {doer.named} {base} {where}?",))


def names_day(when: str) -> bool:
    """Whether "on which day" asks for it."""
    return when.startswith("on ") or any(day in when for day in lx.DAYS)


def _person_who(verb: lx.Verb, thing: str, doer: Doer) -> str:
    return f"The person who {verb.past} {thing} is {doer.person}." if doer.person else ""


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
