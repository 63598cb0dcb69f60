"""Numerals: an answer's numbers that the text it was made from has as the beginning of longer ones.

A reader that stops within a number answers a wrong one fluently: 250 where the text says 250,000. Knows
texts alone.
"""

import re
from collections.abc import Iterable, Iterator

_NUMERAL = re.compile(r"(?<![\w.,])\d+(?:[.,'\u2019 \u00a0\u202f]\d+)*(?!\d)")
_MARK = re.compile(r"\D")


def cut_numerals(answer: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each number of the answer that stands nowhere in the texts by itself, and the longer one there."""
    spoken = dict.fromkeys(_NUMERAL.findall(answer))
    if not spoken:  # most answers: a book need not be looked through
        return
    written = dict.fromkeys(numeral for text in texts for numeral in _NUMERAL.findall(text))
    longer: dict[str, str] = {}
    for each in written:
        for mark in _MARK.finditer(each):
            said = each[: mark.start()]
            if said in spoken and len(each) < len(longer.get(said, f"{each}0")):
                longer[said] = each
    for said in spoken:
        if said not in written and said in longer:
            yield said, longer[said]
