"""An answer of a report scored: the record of one question by one arm. Knows no arm and no file."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.answering import Answer
from evaluation.report.records import Record
from evaluation.scoring import squad_v1, states


def id_of(question: Mapping[str, Any], number: int) -> str:
    """The id of a report's question: its own, or its number."""
    # A colon is in no id that somebody chose.
    return str(question["id"] or f"question:{number}")


def scored(
    arm: str,
    question: Mapping[str, Any],
    number: int,
    request: Mapping[str, Any],
    answer: Answer,
) -> Record:
    """What an arm answered to a question, held against its gold answers."""
    golds = tuple(question["answers"])
    asked = unanswered(arm, question, number, request)
    exact, f1 = False, float(answer.abstained)
    right = answer.abstained
    if golds:
        match = squad_v1(answer.text, golds)
        exact, f1 = match.exact, match.f1
        right = exact or any(states(answer.text, gold) for gold in golds)
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
        asked,
        sources=tuple(dict.fromkeys(source.document_id for source in answer.sources)),
        answer=answer.text,
        score=float(right),
        exact=exact,
        f1=f1,
        abstained=answer.abstained,
        invalid=False,
        total_ms=answer.total_ms,
        notices=answer.notices,
        **spent,
    )


def unanswered(
    arm: str,
    question: Mapping[str, Any],
    number: int,
    request: Mapping[str, Any],
    *notices: str,
) -> Record:
    """What could not be asked, such as a document that is too long for the reader: it scores nothing."""
    return Record(
        arm=arm,
        seed=request["seed"],
        question_id=id_of(question, number),
        question=question["question"],
        golds=tuple(question["answers"]),
        kind="span" if question["answers"] else "unanswerable",
        gold_documents=tuple(question["documents"]),
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
