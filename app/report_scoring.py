"""What an answer of an arm scores: its record. Knows questions and answers; asks nothing.

Scores are those of `evaluation.marking`; beyond them a short answer is right when it states a gold
answer in a sentence, as this service's readers do.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.asked import Answer
from evaluation.datasets.questions import Question
from evaluation.marking import mark
from evaluation.report.records import Record
from evaluation.scoring import states


def question_of(entry: Mapping[str, Any], number: int) -> Question:
    """A question of a report's order as data sets have them; one without an id gets its number's."""
    golds, options = tuple(entry["answers"]), tuple(entry.get("options", ()))
    return Question(
        id=entry["id"] or f"question:{number}",  # a colon is in no id that somebody chose
        text=entry["question"],
        golds=golds,
        kind="choice" if options else entry.get("kind", "span") if golds else "unanswerable",
        documents=tuple(entry["documents"]),
        options=options,
        gold_option=options.index(golds[0]) if options else None,
    )


def scored(arm: str, question: Question, seed: int, answer: Answer) -> Record:
    """The record of an answer. The score is 1 or 0, of a free answer its token F1."""
    marked = mark(question, answer.text)
    abstained = answer.abstained or marked.abstained
    match question.kind:
        case "unanswerable":
            exact, score = False, float(abstained)
            f1 = score
        case "choice":
            exact, score = marked.correct, float(marked.correct)
            f1 = score
        case kind:
            exact, f1 = marked.correct, marked.f1 or 0.0
            right = exact or any(states(answer.text, gold) for gold in question.golds)
            score = f1 if kind == "free" else float(right)
    spent: dict[str, Any] = {"first_token_ms": answer.total_ms}
    if (completion := answer.completion) is not None:
        spent = {
            "prompt_tokens": completion.prompt_tokens,
            "cartridge_slots": completion.cartridge_slots,
            "kv_bytes": completion.kv_bytes,
            "completion_tokens": completion.completion_tokens,
            "first_token_ms": answer.retrieve_ms + answer.load_ms + completion.first_token_ms,
        }
    return replace(
        unanswered(arm, question, seed, *answer.notices),
        sources=tuple(dict.fromkeys(source.document_id for source in answer.sources)),
        answer=answer.text,
        score=score,
        exact=exact,
        f1=f1,
        abstained=abstained,
        invalid=marked.invalid,
        rouge_l=None if marked.rouge is None else marked.rouge.rouge_l,
        chrf=marked.chrf,
        total_ms=answer.total_ms,
        **spent,
    )


def unanswered(arm: str, question: Question, seed: int, *notices: str) -> Record:
    """What could not be asked, such as a document that is too long for the reader: it scores nothing."""
    return Record(
        arm=arm,
        seed=seed,
        question_id=question.id,
        question=question.text,
        golds=question.golds,
        kind=question.kind,
        gold_documents=question.documents,
        sources=(),
        answer="",
        score=0.0,
        exact=False,
        f1=0.0,
        abstained=False,
        invalid=True,
        prompt_tokens=0,
        cartridge_slots=0,
        kv_bytes=0,
        completion_tokens=0,
        first_token_ms=0.0,
        total_ms=0.0,
        notices=notices,
    )
