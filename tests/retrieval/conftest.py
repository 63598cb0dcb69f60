"""What the tests of retrieval share: a library, the two encoders and a retriever."""

from pathlib import Path

import pytest

from retrieval.documents import DocumentLibrary
from retrieval.encoder import LexicalEncoder, MiniLmEncoder
from retrieval.retriever import Retriever


@pytest.fixture(scope="session")
def minilm() -> MiniLmEncoder:
    return MiniLmEncoder()


@pytest.fixture
def library(tmp_path: Path) -> DocumentLibrary:
    return DocumentLibrary(tmp_path / "documents")


@pytest.fixture
def retriever(library: DocumentLibrary, tmp_path: Path) -> Retriever:
    return Retriever(library, LexicalEncoder(), tmp_path / "indexes")
