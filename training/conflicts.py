"""Which answers change when another document is read beside their own.

A document may say of others what they do not: by mistake, as an amendment, or to have its words given for
theirs. Questions that others' studies answer surely, and that its words fit, are asked again with both
texts in view; an answer that then is the newcomer's is a conflict. This file knows a reader, texts and
studies; it knows no cartridge and no index.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from inference.composer import in_context
from inference.decoding import Prompt, decode
from inference.reader import Reader
from inference.sampling import Sampling
from training.examples import StudyExample, sureness
from training.neighbourhood import Known
from training.settings import TrainingSettings
from training.teacher import batched

_FITS = 0.5
"""Share of a question's words, by their rarity, that a text must have to be able to answer it."""
_SURE = 0.8
"""Probability of its least likely token from which an answer counts as one that was known."""
MISLEADING_FROM = 2
"""Conflicts from which a text counts as misleading: one answer alone may turn by chance."""
_ASKED = 16  # questions of each document, at most: those that fit best
_ROWS = 8
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Conflict:
    """A question to `document`, its own answer, and what is said with the other text in view."""

    document: str
    question: str
    answer: str
    instead: str


def conflicts(
    reader: Reader,
    text: str,
    others: Sequence[Known],
    fit: Callable[[Sequence[str]], Sequence[float]],
    settings: TrainingSettings,
    report: Callable[[float], None] = lambda _: None,
) -> list[Conflict]:
    """What `text` turns of the answers that `others` give, in whatever order both are read.

    `fit` tells how well its words fit questions, 0 to 1. Others that do not fit into the reader beside it
    are left out. What `report` raises stops it.
    """
    found: list[Conflict] = []
    for place, other in enumerate(others):
        report(place / len(others))
        asked = [each for each in other.examples if each.kind == "question"]
        sure = [each for each in asked if sureness(each.top_logprobs) >= _SURE]
        fits = fit([each.question for each in sure])
        best = sorted(zip(fits, range(len(sure)), strict=True), key=lambda pair: -pair[0])
        chosen = [sure[index] for share, index in best[:_ASKED] if share >= _FITS]
        both = reader.count(text) + reader.count(other.text.text)
        if chosen and both < reader.max_positions // 2:
            found += _turned(reader, text, other, chosen, settings)
    return found


def _turned(
    reader: Reader,
    text: str,
    other: Known,
    asked: Sequence[StudyExample],
    settings: TrainingSettings,
) -> Iterator[Conflict]:
    own = other.text.text
    foreign = _words(text) - _words(own)
    said = [_answers(reader, order, asked, settings) for order in ([own, text], [text, own])]
    for example, *answers in zip(asked, *said, strict=True):
        known = reader.decode([t for t in example.answer if t not in reader.end_ids]).strip()
        expected = _words(known) | _words(example.question) | _words(settings.not_stated)
        turned = [each for each in answers if (_words(each) - expected) & foreign]
        if turned:
            yield Conflict(other.text.name, example.question, known, turned[0])


@torch.no_grad()
def _answers(
    reader: Reader, texts: Sequence[str], asked: Sequence[StudyExample], settings: TrainingSettings
) -> list[str]:
    """Greedy answers with these texts in view, in this order."""
    prefix = in_context(reader, texts)
    answers: list[str] = []
    for rows in batched(len(asked), _ROWS):
        prompts = [
            Prompt(prefix, reader.chat.question(asked[row].question), Sampling(settings.max_answer))
            for row in rows
        ]
        answers += [reader.decode(ids).strip() for ids in decode(reader, prompts)]
    return answers


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))
