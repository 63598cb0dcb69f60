"""Values in forms that the world's own sheets never write: accents, decimals, thousands, numerals, seasons.

What people write is not one form a kind: a price has a point, a name an accent, a count is spelt out, and a
reader that has copied none of these loses its place in them. This file knows forms; it knows no sentence.
"""

from collections.abc import Callable, Mapping
from random import Random

from reader import lexicon as lx
from reader import names

_ACCENTED: Mapping[str, str] = {
    "a": "áäåãâ",
    "c": "çćč",
    "d": "đ",
    "e": "éèëêě",
    "g": "ğ",
    "i": "íïî",
    "l": "ł",
    "n": "ñńň",
    "o": "óöøõô",
    "r": "ř",
    "s": "šśş",
    "u": "üúů",
    "y": "ý",
    "z": "žźż",
}
_NUMERALS = (
    "two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty sixty "
    "a-hundred two-hundred a-thousand eleven-thousand half-a-dozen"
).split()
_TITLES = ("Dr", "Mr", "Mrs", "Ms", "Sister", "Uncle")
UNITS = tuple(sorted({unit for units in lx.MEASURE_NOUNS.values() for unit in units}))
ASKED_BY_UNIT: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("kg", "tonnes", "grams"), ("how much", "how heavy", "what weight", "which weight")
    ),
    **dict.fromkeys(
        ("metres", "feet", "cm", "mm"),
        ("how long", "how high", "how wide", "how deep", "how tall", "what length", "what height"),
    ),
    **dict.fromkeys(("km", "miles"), ("how far", "how long", "what distance", "how many")),
    **dict.fromkeys(
        ("euros", "dollars", "crowns"),
        ("how much", "what price", "how much money", "what sum", "how many"),
    ),
    "pounds": ("how much", "how many"),
    **dict.fromkeys(("litres", "gallons"), ("how much", "how many", "what volume")),
    "seats": ("how many",),
    **dict.fromkeys(
        ("km per hour", "knots", "miles per hour"), ("how fast", "what speed", "which speed")
    ),
    **dict.fromkeys(("watts", "kilowatts"), ("how much", "what power", "how much power")),
    "volts": ("what voltage", "how many"),
    "bar": ("what pressure", "how much pressure"),
    "degrees": ("what temperature", "how hot", "how warm", "how many"),
    **dict.fromkeys(
        ("years", "months", "days", "weeks", "hours", "minutes"),
        ("how long", "for how long", "how many", "how much time"),
    ),
    "people": ("how many", "how many people"),
    **dict.fromkeys(("hectares", "acres"), ("how large", "how big", "what area")),
}
"""How an amount of each unit is asked for: what is heavy is not long."""


def _person(rng: Random) -> str:
    """One name alone, or a name whose letters have a mark or two, a capital's among them."""
    if rng.random() < 0.5:
        return rng.choice((names.given, names.proper))(rng, "train")
    name = names.person(rng, "train")
    if rng.random() < 0.2:
        first, last = names.given(rng, "train"), names.proper(rng, "train")
        name = f"{rng.choice(_TITLES)} {first} {last}"
    letters = list(name)
    places = [i for i, letter in enumerate(letters) if letter.lower() in _ACCENTED]
    for place in rng.sample(places, min(len(places), rng.randint(0, 2))):
        marked = rng.choice(_ACCENTED[letters[place].lower()])
        letters[place] = marked.upper() if letters[place].isupper() else marked
    return "".join(letters)


def _number(rng: Random) -> str:
    return rng.choice(
        (
            f"{rng.randint(1_000, 99_999):,}",
            rng.choice(_NUMERALS).replace("-", " "),
            f"minus {rng.randint(1, 30)}.{rng.randrange(10)}",
            f"{rng.randint(1, 99)}.{rng.randrange(100):02d}",
            f"0{rng.randint(100, 999)} {rng.randint(100, 999)} {rng.randint(10, 99)} {rng.randint(10, 99)}",
        )
    )


def _amount(rng: Random) -> str:
    number = rng.choice(
        (
            f"{rng.randint(1_000, 99_999):,}",
            f"{rng.randint(0, 99)}.{rng.randint(1, 99)}",
            rng.choice(_NUMERALS).replace("-", " "),
        )
    )
    return f"{number} {rng.choice(UNITS)}"


def _day(rng: Random) -> str:
    month, year, day = rng.choice(lx.MONTHS), rng.randint(1500, 2039), rng.randint(4, 20)
    season = rng.choice(("spring", "summer", "autumn", "winter", "early", "late"))
    return rng.choice((str(year), f"the {day}th", month, f"{season} {year}", f"{month} {year}"))


def _hour(rng: Random) -> str:
    return f"{rng.randrange(24):02d}:{rng.randrange(60):02d}"


IN_OTHER_FORMS: Mapping[str, Callable[[Random], str]] = {
    "person": _person,
    "number": _number,
    "amount": _amount,
    "day": _day,
    "hour": _hour,
}
"""Of some kinds of values in prose, a source of other forms."""
