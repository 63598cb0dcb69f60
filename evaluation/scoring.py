"""Scores of one answer, as SQuAD's published scripts define them. Knows no reader and no document.

`normalise` is their `normalize_answer` to the letter: lower case, ASCII punctuation out, articles out,
single spaces. The scripts do not compose Unicode, so neither does it: "é" in one code point and in two
are different answers, and of an "a" that a combining accent follows, the "a" counts as an article. Who
compares texts of unknown origin composes them first (NFC), as the loaders of `evaluation.datasets` and
`evaluation.marking` do, and as the document library does with documents.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_AROUND = " .,;:!?\"'"
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces (`normalize_answer` of SQuAD's scripts)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, gold: str) -> bool:
    """Whether the whole answer equals the whole gold answer after normalisation."""
    return normalise(answer) == normalise(gold)


def states(answer: str, value: str) -> bool:
    """Whether the answer contains the value as whole words: for questions with no gold sentence.

    Not one of SQuAD's scores: both texts are composed (NFC) first.
    """
    answer, value = (unicodedata.normalize("NFC", text) for text in (answer, value))
    if not normalise(value):  # "A", "+": nothing would be in everything
        return _says_as_written(answer, value)
    return f" {normalise(value)} " in f" {normalise(answer)} "


def _says_as_written(answer: str, value: str) -> bool:
    """Whether the value stands in the answer as it is, between spaces or punctuation."""
    value = value.strip()
    around = r"[\s.,;:!?()\[\]\"']"
    found = re.search(rf"(?:^|{around}){re.escape(value)}(?:{around}|$)", answer)
    return bool(value) and found is not None


def token_f1(answer: str, gold: str) -> float:
    """F1 of the words that answer and gold share, counted with repetition.

    `f1_score` of SQuAD's evaluate-v1.1.py: 0 where no word is shared, also between two texts of which
    normalisation leaves nothing.
    """
    said, meant = normalise(answer).split(), normalise(gold).split()
    shared = sum((Counter(said) & Counter(meant)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(said), shared / len(meant)
    return 2 * precision * recall / (precision + recall)


def token_f1_or_none(answer: str, gold: str) -> float:
    """`compute_f1` of SQuAD's evaluate-v2.0.py: as `token_f1`, but two empty texts agree (1)."""
    said, meant = normalise(answer).split(), normalise(gold).split()
    if not said or not meant:
        return float(said == meant)
    return token_f1(answer, gold)


@dataclass(frozen=True, slots=True)
class Match:
    """How well an answer matches the gold that it matches best, in each of the two scores."""

    exact: bool
    f1: float


def squad_v1(answer: str, golds: Sequence[str]) -> Match:
    """Exact match and token F1, each the best over the golds, as evaluate-v1.1.py has them.

    Raises ValueError when there are no golds.
    """
    return Match(
        max(exact_match(answer, gold) for gold in golds),
        max(token_f1(answer, gold) for gold in golds),
    )


def squad_v2(answer: str, golds: Sequence[str]) -> Match:
    """Exact match and token F1, each the best over the golds, as evaluate-v2.0.py has them.

    Golds of which normalisation leaves nothing do not count; without any gold the question is
    unanswerable, and only the empty answer is right.
    """
    golds = [gold for gold in golds if normalise(gold)] or [""]
    return Match(
        max(exact_match(answer, gold) for gold in golds),
        max(token_f1_or_none(answer, gold) for gold in golds),
    )


def match_as_written(answer: str, golds: Sequence[str]) -> Match:
    """Golds of which normalisation leaves nothing ("A", "+"), held against the answer as they are written.

    Not one of SQuAD's scores: its scripts would take the question for unanswerable.
    """
    said, *meant = ((text.strip(_AROUND) or text.strip()).casefold() for text in (answer, *golds))
    exact = said in meant
    return Match(exact, float(exact))
