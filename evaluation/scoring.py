"""Scores of one answer, as SQuAD defines them. Knows no reader and no document."""

import re
import string
import unicodedata

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces (SQuAD's evaluation script)."""
    text = unicodedata.normalize("NFC", text).lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def exact_match(answer: str, gold: str) -> bool:
    """Whether the whole answer equals the whole gold answer after normalisation."""
    return normalise(answer) == normalise(gold)


def states(answer: str, value: str) -> bool:
    """Whether the answer contains the value as whole words: for questions with no gold sentence."""
    return f" {normalise(value)} " in f" {normalise(answer)} "
