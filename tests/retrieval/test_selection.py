import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.selection import select_documents
from retrieval.table import Hit


def hit(document_id: str, score: float, chunk_index: int = 0) -> Hit:
    return Hit(document_id, chunk_index, "text", 0, 4, score)


def test_chunks_become_documents_by_their_best_chunk() -> None:
    hits = [hit("b", 0.5), hit("a", 0.4), hit("b", 0.9, 1), hit("c", 0.9)]
    selected = select_documents(hits, 2)
    assert [(document.document_id, document.score) for document in selected] == [
        ("b", 0.9),
        ("c", 0.9),
    ]
    assert [passage.chunk_index for passage in selected[0].passages] == [1, 0]


@given(
    st.lists(st.builds(hit, st.sampled_from("abcde"), st.floats(-1, 1), st.integers(0, 9))),
    st.integers(1, 6),
)
def test_selection_is_ordered_deduplicated_and_complete(hits: list[Hit], top_k: int) -> None:
    selected = select_documents(hits, top_k)
    order = [(-document.score, document.document_id) for document in selected]
    assert order == sorted(set(order))
    assert len(selected) == min(top_k, len({found.document_id for found in hits}))
    for document in selected:
        mine = [found for found in hits if found.document_id == document.document_id]
        assert len(document.passages) == len(mine)
        assert document.score == max(found.score for found in mine)


def test_nothing_found_selects_nothing() -> None:
    assert select_documents([], 3) == []
    with pytest.raises(ValueError, match="at least one"):
        select_documents([], 0)
