"""How well a passage fits a question: how near it is in meaning, and which of its words it holds.

Meaning alone mistakes one document of a kind for another and hardly tells a question that some document
answers from one that none does; names, numbers and other rare words do. This file knows questions,
passages and how rare words are; it knows no index and no threshold.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace

from retrieval.sampling import spread
from retrieval.table import Hit
from retrieval.text import HAN

_WORD = re.compile(r"\w+")
_RUN = re.compile(rf"[{HAN}]+")
_DIGIT = re.compile(r"\d")
_STEM = 6
"""Letters that count: words that begin alike are taken for forms of one."""
_COUNTED = 5_000
"""Passages, at most, from which it is learned how rare words are: about a second's work."""


def words_of(text: str) -> frozenset[str]:
    """The different words of a text, without case and endings; what has digits stays as it is.

    Of Chinese and Japanese, which part no words, every two characters that follow each other.
    """
    text = text.casefold()
    runs = _RUN.findall(text)
    if runs:
        text = _RUN.sub(" ", text)
    pairs = (run[at : at + 2] for run in runs for at in range(max(1, len(run) - 1)))
    words = (word if _DIGIT.search(word) else word[:_STEM] for word in _WORD.findall(text))
    return frozenset((*words, *pairs))


class Rarity:
    """How rare words are in a collection's passages (inverse document frequency)."""

    def __init__(self, passages: Sequence[str]) -> None:
        """Of very many passages some are counted, evenly spread."""
        counts: Counter[str] = Counter()
        self._passages = 0
        for text in spread(passages, _COUNTED):
            counts.update(words_of(text))
            self._passages += 1
        self._counts: Mapping[str, int] = counts

    def of(self, word: str) -> float:
        """0 for a word of nearly every passage; most for one that no passage has."""
        return max(0.0, math.log((self._passages + 1) / (self._counts.get(word, 0) + 0.5)))


def by_relevance(question: str, hits: Iterable[Hit], rarity: Rarity) -> list[Hit]:
    """The hits, best first, each with its relevance as its score: its nearness and the share that it holds
    of the question's words, by their rarity (0 to 1). With equal ones the nearer comes first."""
    held = held_of(question, rarity)
    found = [replace(hit, score=hit.score + held(words_of(hit.text))) for hit in hits]
    return sorted(found, key=lambda hit: -hit.score)


def held_of(question: str, rarity: Rarity) -> Callable[[Set[str]], float]:
    """Tells what share of the question's words, by their rarity, a text's words hold (0 to 1)."""
    rare = {word: rarity.of(word) for word in words_of(question)}
    # fsum: sets have no order, and every process is to rank alike.
    whole = math.fsum(rare.values()) or 1.0
    return lambda words: math.fsum(rare[word] for word in rare.keys() & words) / whole
