"""Real text, real questions, the real encoder."""

import json
import os
from pathlib import Path

import pytest

from retrieval.documents import DocumentLibrary
from retrieval.encoder import MiniLmEncoder
from retrieval.retriever import Retriever

VARIABLE = "CARTRIDGES_REAL_DATA"
ARTICLES = 6
PARAGRAPHS = 10


@pytest.mark.skipif(
    VARIABLE not in os.environ, reason=f"{VARIABLE} names no folder with squad_v1.1_dev_even.json"
)
def test_the_right_article_is_among_the_first_five_chunks(
    library: DocumentLibrary, minilm: MiniLmEncoder, tmp_path: Path
) -> None:
    file = Path(os.environ[VARIABLE]) / "squad_v1.1_dev_even.json"
    articles = json.loads(file.read_text("utf-8"))["data"][:ARTICLES]
    retriever = Retriever(library, minilm, tmp_path / "indexes")
    questions: list[tuple[str, str]] = []
    for article in articles:
        paragraphs = article["paragraphs"][:PARAGRAPHS]
        title = article["title"].replace("_", " ")
        text = "\n\n".join(paragraph["context"] for paragraph in paragraphs)
        document, _ = library.put("squad", None, title, text)
        retriever.index_document(document)
        questions += [(paragraph["qas"][0]["question"], document.id) for paragraph in paragraphs]
    right = 0
    for question, id in questions:
        found = retriever.search("squad", question, top_k=5, chunk_k=5)
        right += id in [selected.document_id for selected in found]
    assert len(questions) == ARTICLES * PARAGRAPHS
    assert right / len(questions) >= 0.85
