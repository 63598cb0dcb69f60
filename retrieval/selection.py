"""Selection: the chunks that a search found become the documents to answer from.

Knows nothing of how the chunks were found.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from retrieval.table import Hit


@dataclass(frozen=True)
class Selected:
    """A document to answer from, with its passages, best first; `score` is the best one's."""

    document_id: str
    score: float
    passages: tuple[Hit, ...]


def select_documents(hits: Iterable[Hit], top_k: int) -> list[Selected]:
    """The `top_k` documents with the best chunks, each once, by score and then by id.

    Raises `ValueError` for `top_k` < 1.
    """
    if top_k < 1:
        raise ValueError("Select at least one document.")
    passages: dict[str, list[Hit]] = {}
    for hit in sorted(hits, key=lambda hit: (-hit.score, hit.chunk_index)):
        passages.setdefault(hit.document_id, []).append(hit)
    selected = [Selected(id, found[0].score, tuple(found)) for id, found in passages.items()]
    return sorted(selected, key=lambda document: (-document.score, document.document_id))[:top_k]
