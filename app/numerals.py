"""Numerals: an answer's numbers that the text it was made from has as the beginning of longer ones.

A reader that stops within a number answers a wrong one fluently: 250 where the text says 250,000. Knows
texts alone.
"""

import re
from collections.abc import Iterable, Iterator

_NUMERAL = re.compile(r"(?<![\w.,])\d+(?:[.,'\u2019 \u00a0\u202f]\d+)*(?!\d)")


def cut_numerals(answer: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each number of the answer that stands nowhere in the texts by itself, and the longer one there."""
    spoken = dict.fromkeys(_NUMERAL.findall(answer))
    if not spoken:  # most answers: a book need not be looked through
        return
    written = dict.fromkeys(numeral for text in texts for numeral in _NUMERAL.findall(text))
    for said in spoken:
        if said not in written:
            longer = (each for each in written if re.match(rf"{re.escape(said)}\D", each))
            if found := min(longer, key=len, default=None):
                yield said, found
