"""Marks: what one answer to one question of a data set scores, and what many score together.

Answers are composed (NFC) and stripped first, as golds and documents are. Knows questions and scores;
knows no arm, and of readers the bundled one's way to abstain.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evaluation.abstention import abstains, score_abstention
from evaluation.choices import choice
from evaluation.datasets.questions import Kind, Question
from evaluation.overlap import Rouge, chrf, rouge
from evaluation.scoring import Match, exact_match, match_as_written, normalise, squad_v2
from reader.wordings import NOT_STATED

# Of golds only these words abstain: "not mentioned" may be what a document does say.
_GOLD_ABSTAINS = ("Unanswerable", NOT_STATED)


@dataclass(frozen=True, slots=True)
class Mark:
    """One answer's scores; those that its kind of question does not have are None.

    `correct` is SQuAD's exact match, of a choice the right option. `unanswerable` is None where golds
    disagree whether there is an answer. `invalid` answers to a choice named no one option.
    """

    question: str
    kind: Kind
    correct: bool
    abstained: bool
    unanswerable: bool | None
    invalid: bool = False
    f1: float | None = None
    rouge: Rouge | None = None
    chrf: float | None = None


def mark(question: Question, answer: str) -> Mark:
    """The scores of an answer.

    An answer that abstains counts as SQuAD v2.0's empty answer: right where the question is
    unanswerable or a gold abstains too ("Unanswerable" in QASPER), wrong elsewhere. An answer that
    equals a gold does not abstain, whatever it says.
    """
    answer = unicodedata.normalize("NFC", answer).strip()
    if question.kind == "choice":
        picked = choice(answer, question.options)
        return Mark(
            question.id,
            question.kind,
            picked == question.gold_option,
            picked is None and abstains(answer),
            unanswerable=False,
            invalid=picked is None,
        )
    golds = [gold for gold in question.golds if not _open(gold)]
    disputed = bool(golds) and len(golds) < len(question.golds)
    as_written = bool(golds) and not any(map(normalise, golds))
    match = match_as_written(answer, golds) if as_written else squad_v2(answer, golds)
    abstained = abstains(answer) and not (golds and match.exact)
    if abstained:
        match = Match(False, 0.0) if as_written else squad_v2("", () if disputed else golds)
    free = question.kind == "free" and bool(golds)
    said = "" if abstained else answer
    return Mark(
        question.id,
        question.kind,
        match.exact,
        abstained,
        None if disputed else not golds,
        f1=match.f1,
        rouge=rouge(said, golds) if free else None,
        chrf=chrf(said, golds) if free else None,
    )


def mark_all(questions: Sequence[Question], answers: Sequence[str]) -> list[Mark]:
    """The marks of answers in the order of their questions. Raises ValueError when lengths differ."""
    return [mark(question, answer) for question, answer in zip(questions, answers, strict=True)]


def summary(marks: Sequence[Mark]) -> dict[str, float | int | None]:
    """Means of many marks, each over the questions that have the score; None where none has.

    `exact_match` and `token_f1` are over all questions but choices, `accuracy` and `invalid` over
    choices, ROUGE and chrF over free answers, abstention over all questions whose golds agree.
    """
    chosen = [one for one in marks if one.kind == "choice"]
    worded = [one for one in marks if one.kind != "choice"]
    settled = [one for one in marks if one.unanswerable is not None]
    rouges = [one.rouge for one in marks if one.rouge is not None]
    abstention = score_abstention(
        [one.abstained for one in settled], [bool(one.unanswerable) for one in settled]
    )
    return {
        "questions": len(marks),
        "exact_match": _mean(one.correct for one in worded),
        "token_f1": _mean(one.f1 for one in worded if one.f1 is not None),
        "accuracy": _mean(one.correct for one in chosen),
        "choices": len(chosen),
        "invalid": sum(one.invalid for one in chosen),
        "rouge1": _mean(one.rouge1 for one in rouges),
        "rouge2": _mean(one.rouge2 for one in rouges),
        "rouge_l": _mean(one.rouge_l for one in rouges),
        "chrf": _mean(one.chrf for one in marks if one.chrf is not None),
        "abstained": sum(one.abstained for one in marks),
        "abstention_precision": abstention.precision,
        "abstention_recall": abstention.recall,
        "abstention_f1": abstention.f1,
    }


def _open(gold: str) -> bool:
    return any(exact_match(gold, words) for words in _GOLD_ABSTAINS)


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None
