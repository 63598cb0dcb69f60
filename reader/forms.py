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
UNITS = tuple(sorted({unit for units in lx.MEASURE_NOUNS.values() for unit in units}))


def _accented(rng: Random) -> str:
    """A person's name, one or two of its letters with a mark."""
    letters = list(names.person(rng, "train"))
    places = [i for i, letter in enumerate(letters) if letter in _ACCENTED]
    for place in rng.sample(places, min(len(places), rng.randint(1, 2))):
        letters[place] = rng.choice(_ACCENTED[letters[place]])
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
    "person": _accented,
    "number": _number,
    "amount": _amount,
    "day": _day,
    "hour": _hour,
}
"""Of some kinds of values in prose, a source of other forms."""
