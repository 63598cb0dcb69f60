"""Open vocabularies: names, places, dates, codes, amounts, noun phrases, invented words.

Every value a question can ask for is drawn here. A value belongs to the training split or to the
evaluation split by a hash of its text, so that the two are disjoint by construction: no list has to
be kept apart by hand. This file knows no sentence and no document.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Literal

from reader import lexicon as lx

Split = Literal["train", "eval"]
EVAL_SHARE = 5  # one value in five is kept for evaluation

_ONSETS = [
    "b",
    "c",
    "d",
    "f",
    "g",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "z",
    "br",
    "cr",
    "dr",
    "fr",
    "gr",
    "pr",
    "tr",
    "bl",
    "cl",
    "fl",
    "gl",
    "pl",
    "st",
    "sk",
    "sn",
    "sh",
    "th",
    "ch",
    "kn",
]
_VOWELS = ["a", "e", "i", "o", "u", "a", "e", "i", "o", "ai", "ea", "ee", "ou", "oa"]
_CODAS = [
    "n",
    "r",
    "l",
    "s",
    "t",
    "m",
    "nd",
    "rn",
    "ck",
    "ld",
    "st",
    "th",
    "x",
    "d",
    "g",
    "p",
    "ss",
] + [""] * 8
_ENDINGS = [
    "a",
    "er",
    "in",
    "o",
    "en",
    "us",
    "el",
    "ia",
    "or",
    "ett",
    "ley",
    "ford",
    "wick",
    "ham",
    "by",
    "ton",
    "mer",
    "dale",
    "well",
    "son",
    "ov",
    "ic",
]


@cache
def split_of(text: str) -> Split:
    """The split that owns `text`, by a hash of its lower-cased form."""
    digest = hashlib.sha256(text.lower().encode()).digest()
    return "eval" if digest[0] % EVAL_SHARE == 0 else "train"


def drawn(make: Callable[[Random], str], rng: Random, split: Split) -> str:
    """Draw from `make` until the text belongs to `split`."""
    while True:
        text = make(rng)
        if split_of(text) == split:
            return text


def _syllables(rng: Random) -> str:
    count = 2 if rng.random() < 0.12 else 1
    return "".join(
        rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(count)
    )


def invented(rng: Random, split: Split) -> str:
    """A lower-case word that no dictionary has, such as `drelmin`."""
    return drawn(lambda r: _syllables(r) + r.choice(_ENDINGS), rng, split)


def proper(rng: Random, split: Split) -> str:
    """A capitalised invented name, such as `Braiston`."""
    return invented(rng, split).capitalize()


def given(rng: Random, split: Split) -> str:
    """An invented first name of one to three short syllables, spelled as plainly as real ones."""

    def make(r: Random) -> str:
        name = ""
        for number in range(r.choice((1, 2, 2, 2, 3))):
            onset = "" if not number and r.random() < 0.3 else r.choice("bcdfghjklmnprstvwyz")
            name += onset + r.choice("aeiou") + r.choice(["", "", "", *"nlrsfmtdk"])
        return name.capitalize() if len(name) > 2 else (name + "nna").capitalize()

    return drawn(make, rng, split)


def person(rng: Random, split: Split) -> str:
    """First and last name; each word belongs to `split`.

    The few listed first names are single tokens to a tokenizer that training has met them with; in
    training, as many are invented, so that a name is read in pieces as readily.
    """
    draw = rng.random()
    if split == "train" and draw < 0.4:
        first = given(rng, split)
    elif draw < 0.75:
        first = drawn(lambda r: r.choice(lx.FIRST_NAMES), rng, split)
    else:
        first = proper(rng, split)
    if rng.random() < 0.1:
        title = rng.choice(("Dr", "Mr", "Mrs", "Captain", "Professor"))
        return f"{title} {proper(rng, split)}"
    return f"{first} {proper(rng, split)}"


def place(rng: Random, split: Split) -> str:
    """An invented place name."""
    pattern = rng.choice(("{}", "{}", "{}", "Port {}", "{} Bay", "Upper {}", "{} Street"))
    return pattern.format(proper(rng, split))


def date(rng: Random, split: Split) -> str:
    """A date, with or without its year."""

    def make(r: Random) -> str:
        day, month, year = r.randint(1, 28), r.choice(lx.MONTHS), r.randint(1700, 2039)
        return r.choice((f"{day} {month} {year}", f"{day} {month} {year}", f"{day} {month}"))

    return drawn(make, rng, split)


def moment(rng: Random, split: Split) -> str:
    """When something recurs: a day, a time or both."""

    def make(r: Random) -> str:
        clock = f"{r.randint(5, 23)}:{r.choice((0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55)):02d}"
        day = r.choice(lx.DAYS)
        return r.choice(
            (
                f"on {day} at {clock}",
                f"at {clock}",
                f"every {day} at {clock}",
                f"on {day}s at {clock}",
            )
        )

    return drawn(make, rng, split)


def number(rng: Random, split: Split, *, small: bool = False) -> str:
    """A whole number in digits."""

    def make(r: Random) -> str:
        return str(
            r.randint(2, 99) if small else r.choice((r.randint(2, 99), r.randint(100, 9999)))
        )

    return drawn(make, rng, split)


def amount(rng: Random, split: Split, units: Sequence[str]) -> str:
    """A number with a unit, such as `480 kg`."""
    return drawn(lambda r: f"{number(r, 'train')} {r.choice(units)}", rng, split)


def code(rng: Random, split: Split) -> str:
    """A serial number, room number or the like."""
    letters = "ABCDEFGHKLMNPRSTVWXZ"

    def make(r: Random) -> str:
        head = "".join(r.choice(letters) for _ in range(r.randint(1, 3)))
        return r.choice(
            (
                f"{head}-{r.randint(10, 9999)}",
                f"{head}{r.randint(10, 999)}",
                f"{r.randint(100, 999)} {r.randint(100, 999)}",
                f"{r.randint(10, 99)}/{r.randint(100, 999)}",
            )
        )

    return drawn(make, rng, split)


def noun(rng: Random, words: Sequence[str]) -> str:
    """A noun for keys (not for values): listed, from the dictionary, or invented."""
    draw = rng.random()
    if draw < 0.6:
        return rng.choice(lx.PARTS)
    if draw < 0.85:
        return rng.choice(words)
    return invented(rng, "train")


def attribute(rng: Random, split: Split, words: Sequence[str]) -> str:
    """A noun for an attribute that no list has: of the dictionary or invented; of `split`."""
    own = drawn(lambda r: r.choice(words), rng, split)
    return own if rng.random() < 0.8 else invented(rng, split)


def thing(rng: Random, split: Split, words: Sequence[str]) -> str:
    """A short noun phrase that serves as a value, such as `dark copper lantern`."""

    def make(r: Random) -> str:
        head = r.choice(lx.MATERIALS) if r.random() < 0.6 else r.choice(words)
        if r.random() < 0.25:
            return f"{r.choice(lx.ADJECTIVES)} {r.choice(words)} {head}"
        return f"{r.choice(lx.ADJECTIVES)} {head}"

    return drawn(make, rng, split)


def whereabouts(rng: Random, split: Split, words: Sequence[str]) -> str:
    """A place inside the world with its preposition, such as `behind the old mill`."""

    def make(r: Random) -> str:
        if r.random() < 0.3:
            return f"{r.choice(('in', 'near', 'at'))} {place(r, split)}"
        adjective = r.choice(lx.ADJECTIVES)
        return f"{r.choice(lx.PREPOSITIONS)} the {adjective} {noun(r, words)}"

    return drawn(make, rng, split)
