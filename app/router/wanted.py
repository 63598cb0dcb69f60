"""What a question wants: the documents that it will be answered from, found as a replica would find them.

Reads just as much of a request as that takes; what cannot be read is a replica's to refuse. Knows the
forms of questions and how documents are chosen; knows no replica and no cartridge.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.keys import Access
from retrieval.retriever import Retriever

ANSWERS, CHAT = "/v1/answers", "/v1/chat/completions"
_MOUNTING = ("auto", "cartridge")
_MOST = 100  # documents; no route takes as many


@dataclass(frozen=True, slots=True)
class Wanted:
    """The documents of a question, best first; none where all that is known is the collection."""

    collection: str
    documents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """As much of a question as routing needs."""

    question: str
    collection: str
    documents: tuple[str, ...]
    mode: str
    top_k: int | None


class Seeker:
    """Says what requests want; without a `retriever` only what they name."""

    def __init__(
        self,
        access: Callable[[str], Access | None],
        retriever: Retriever | None = None,
        max_question_chars: int = 8000,
    ) -> None:
        """`access` says what the bearer of an Authorization header may do, None for nothing.

        A longer question than `max_question_chars` wants nothing, because it is going to be refused.
        """
        self._access = access
        self._retriever = retriever
        self._max_question_chars = max_question_chars

    def wanted(self, path: str, authorization: str, body: bytes) -> Wanted | None:
        """What a POST to `path` wants; None for what needs no cartridge, or is going to be refused.

        Nothing is searched for a key that may not read the collection. Raises RetrievalError.
        """
        access = self._access(authorization)
        asked = None if access is None else read_question(path, body)
        if access is None or asked is None or asked.mode not in _MOUNTING:
            return None
        if len(asked.question) > self._max_question_chars or not access.sees(asked.collection):
            return None
        return Wanted(asked.collection, self._documents(asked))

    def _documents(self, asked: Asked) -> tuple[str, ...]:
        every = asked.documents and asked.mode == "cartridge"
        most = asked.top_k or (len(asked.documents) if every else 1)
        if every and most >= len(asked.documents):
            return asked.documents
        if self._retriever is None:
            return asked.documents
        found = self._retriever.search(
            asked.collection, asked.question, most, documents=asked.documents or None
        )
        return tuple(selected.document_id for selected in found) or asked.documents


def read_question(path: str, body: bytes) -> Asked | None:
    """The question in a request's body; None when there is none that could be answered."""
    if path not in (ANSWERS, CHAT):
        return None
    try:
        fields: dict[str, Any] = json.loads(body)
        return _of_answers(fields) if path == ANSWERS else _of_chat(fields)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return None


def _of_answers(fields: dict[str, Any]) -> Asked:
    return _asked(
        fields["question"],
        fields.get("collection", "default"),
        fields.get("documents"),
        fields,
    )


def _of_chat(fields: dict[str, Any]) -> Asked:
    content = fields["messages"][-1]["content"]
    if isinstance(content, list):
        content = "\n".join(part.get("text", "") for part in content)
    _, _, named = fields["model"].partition("/")
    collection = fields.get("collection") or named or "default"
    return _asked(content, collection, fields.get("cartridges"), fields)


def _asked(question: Any, collection: Any, documents: Any, fields: dict[str, Any]) -> Asked:
    names = list(dict.fromkeys(documents or ()))
    mode, top_k = fields.get("mode", "auto"), fields.get("top_k")
    strings = [question, collection, mode, *names]
    if not all(isinstance(value, str) for value in strings) or not question.strip():
        raise TypeError
    if len(names) > _MOST or (
        top_k is not None and (type(top_k) is not int or not 1 <= top_k <= _MOST)
    ):
        raise ValueError
    return Asked(question, collection, tuple(names), mode, top_k)
