import logging
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retrieval.documents import DocumentLibrary
from retrieval.encoder import LexicalEncoder, MiniLmEncoder
from retrieval.errors import DocumentRefused, QuestionRefused
from retrieval.index import VectorIndex
from retrieval.retriever import Retriever

BOILER = "The boiler of the garden flat was last serviced by Franz Huber."
CHOIR = "The choir rehearses every Thursday in the old chapel."


@pytest.fixture
def two_documents(library: DocumentLibrary, retriever: Retriever) -> None:
    for id, title, text in [("flat", "Garden flat", BOILER), ("choir", "Choir", CHOIR)]:
        retriever.index_document(library.put("home", id, title, text)[0])


def damage(root: Path) -> None:
    for path in root.rglob("journal"):
        path.write_bytes(b"?" * 200)


@pytest.mark.usefixtures("two_documents")
def test_a_question_finds_its_document(retriever: Retriever) -> None:
    first, second = retriever.search("home", "Who serviced the boiler of the garden flat?", 2)
    assert (first.document_id, second.document_id) == ("flat", "choir")
    assert first.score > second.score
    assert [passage.text for passage in first.passages] == [BOILER]
    (only,) = retriever.search("home", "Who serviced the boiler?", 5, documents=["choir"])
    assert only.document_id == "choir"


@pytest.mark.usefixtures("two_documents")
def test_an_update_replaces_and_a_removal_removes(
    library: DocumentLibrary, retriever: Retriever
) -> None:
    old = library.get("home", "flat")
    new, _ = library.put("home", "flat", None, "The flat has a new stove.")
    assert retriever.is_indexed(old)
    assert not retriever.is_indexed(new)
    retriever.index_document(new)
    assert retriever.is_indexed(new)
    assert not retriever.is_indexed(old)
    found = retriever.search("home", "boiler", 9)
    assert BOILER not in [passage.text for selected in found for passage in selected.passages]
    retriever.remove_document("home", "flat")
    assert not retriever.is_indexed(new)
    assert [selected.document_id for selected in retriever.search("home", "stove", 9)] == ["choir"]


@pytest.mark.usefixtures("two_documents")
def test_a_document_deleted_from_the_library_is_never_found(
    library: DocumentLibrary, retriever: Retriever
) -> None:
    library.delete("home", "flat")
    assert [selected.document_id for selected in retriever.search("home", "boiler", 9)] == ["choir"]
    assert retriever.reconcile("home") == (0, 1)


def test_the_title_helps_to_find_but_is_not_in_the_passage(
    library: DocumentLibrary, retriever: Retriever
) -> None:
    retriever.index_documents(
        library.put("home", id, title, "It was built in 1920.")[0]
        for id, title in [("a", "Lighthouse"), ("b", "Windmill")]
    )
    for title, id in [("lighthouse", "a"), ("windmill", "b")]:
        (found,) = retriever.search("home", f"When was the {title} built?", 1)
        assert found.document_id == id
        assert found.passages[0].text == "It was built in 1920."


def test_collections_are_apart(library: DocumentLibrary, retriever: Retriever) -> None:
    retriever.index_documents(
        [library.put("one", "a", None, BOILER)[0], library.put("two", "b", None, BOILER)[0]]
    )
    assert [found.document_id for found in retriever.search("one", "boiler", 9)] == ["a"]
    assert [found.document_id for found in retriever.search("two", "boiler", 9)] == ["b"]


def test_an_unknown_collection_has_nothing_and_gets_no_folder(
    retriever: Retriever, tmp_path: Path
) -> None:
    assert retriever.search("nowhere", "boiler", 1) == []
    retriever.remove_document("nowhere", "a")
    assert not (tmp_path / "indexes").exists()


@pytest.mark.usefixtures("two_documents")
def test_two_processes_share_the_index(
    library: DocumentLibrary, retriever: Retriever, tmp_path: Path
) -> None:
    other = Retriever(library, LexicalEncoder(), tmp_path / "indexes")
    assert other.is_indexed(library.get("home", "choir"))
    other.index_document(library.put("home", "bees", None, "The bees sleep in winter.")[0])
    assert retriever.search("home", "Where do bees sleep?", 1)[0].document_id == "bees"


@pytest.mark.usefixtures("two_documents")
def test_a_corrupt_index_is_rebuilt_by_whoever_meets_it(
    library: DocumentLibrary, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "indexes"
    new, _ = library.put("home", "bees", None, "The bees sleep in winter.")
    for use in (
        lambda retriever: retriever.search("home", "boiler", 1)[0].document_id == "flat",
        lambda retriever: retriever.is_indexed(library.get("home", "choir")),
        lambda retriever: retriever.index_document(new) or retriever.is_indexed(new),
        lambda retriever: retriever.remove_document("home", "x") or retriever.is_indexed(new),
        lambda retriever: retriever.reconcile("home") == (0, 0),
    ):
        damage(root)
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="retrieval.retriever"):
            assert use(Retriever(library, LexicalEncoder(), root))
        assert "being rebuilt" in caplog.text


@pytest.mark.usefixtures("two_documents")
def test_those_who_meet_a_corrupt_index_together_rebuild_it_once(
    library: DocumentLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(tmp_path)
    rebuilt: list[str] = []
    whole = Retriever.rebuild

    def rebuild(self: Retriever, collection: str) -> int:
        rebuilt.append(collection)
        return whole(self, collection)

    monkeypatch.setattr(Retriever, "rebuild", rebuild)
    asked = [Retriever(library, LexicalEncoder(), tmp_path / "indexes") for _ in range(4)] * 3
    with ThreadPoolExecutor(8) as threads:
        # Some look while it is being filled.
        [*threads.map(lambda each: each.search("home", "Who serviced the boiler?", 2), asked)]
    assert rebuilt == ["home"]
    for retriever in asked:
        assert {hit.document_id for hit in retriever.search("home", "boiler?", 2)} == {
            "flat",
            "choir",
        }


def test_letters_with_loose_accents_are_the_same_letters(
    library: DocumentLibrary, retriever: Retriever
) -> None:
    for id, text in (("a", "Käthe Jäger leads the choir."), ("b", "Kate Jager leads the band.")):
        retriever.index_document(library.put("home", id, None, text)[0])
    question = "Who is Käthe Jäger?"
    loose = unicodedata.normalize("NFD", question)
    assert loose != question
    assert retriever.search("home", loose, 2) == retriever.search("home", question, 2)
    assert retriever.relevances("home", [loose]) == retriever.relevances("home", [question])
    document = library.get("home", "a")
    assert retriever.passages(document, loose) == retriever.passages(document, question)


@pytest.mark.usefixtures("two_documents")
def test_another_encoder_rebuilds_the_index(
    library: DocumentLibrary, minilm: MiniLmEncoder, tmp_path: Path
) -> None:
    retriever = Retriever(library, minilm, tmp_path / "indexes")
    assert (
        retriever.search("home", "When does the singing group meet?", 1)[0].document_id == "choir"
    )
    assert retriever.is_indexed(library.get("home", "flat"))


@pytest.mark.usefixtures("two_documents")
def test_rebuild_leaves_out_what_cannot_be_read(
    library: DocumentLibrary, retriever: Retriever, tmp_path: Path
) -> None:
    (tmp_path / "documents/home/documents/flat.json").write_bytes(b"{")
    assert retriever.rebuild("home") == 1
    assert [found.document_id for found in retriever.search("home", "boiler", 9)] == ["choir"]


@pytest.mark.usefixtures("two_documents")
def test_a_rebuild_that_is_interrupted_leaves_the_index_whole(
    library: DocumentLibrary, retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.put("home", "bees", None, "The bees sleep in winter.")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Retriever, "_encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            retriever.rebuild("home")
    assert {found.document_id for found in retriever.search("home", "the", 9)} == {"flat", "choir"}
    assert retriever.rebuild("home") == 3


@pytest.mark.usefixtures("two_documents")
def test_a_collection_is_forgotten_at_one_go(
    library: DocumentLibrary, retriever: Retriever, tmp_path: Path
) -> None:
    library.delete("home", "flat")
    retriever.forget_collection("home")
    # What is in the library stays, or came meanwhile.
    assert [found.document_id for found in retriever.search("home", "boiler", 9)] == ["choir"]
    files = [each for each in (tmp_path / "indexes").rglob("*") if each.is_file()]
    assert files
    assert all(BOILER.encode() not in each.read_bytes() for each in files)
    retriever.forget_collection("nowhere")
    assert not (tmp_path / "indexes/nowhere").exists()


def test_reconcile_adds_what_is_missing_and_replaces_what_is_not_the_librarys(
    library: DocumentLibrary, retriever: Retriever, tmp_path: Path
) -> None:
    encoder = LexicalEncoder()
    index = VectorIndex(tmp_path / "indexes/home", encoder.dimension, encoder.name)
    document, _ = library.put("home", "flat", None, BOILER)
    index.add("flat", 7, (), encoder.encode([]), sha256="of a lost document")
    assert retriever.reconcile("home") == (1, 0)
    assert retriever.is_indexed(document)
    assert retriever.reconcile("home") == (0, 0)


def test_200_documents_at_once(library: DocumentLibrary, retriever: Retriever) -> None:
    documents = [
        library.put("home", None, f"Sheet {number}", f"The keeper of hut {number} is K{number:x}.")[
            0
        ]
        for number in range(200)
    ]
    for document in documents[:50]:
        retriever.index_document(document)
    retriever.index_documents(documents[50:])
    assert all(map(retriever.is_indexed, documents))
    for number in (0, 49, 50, 199):
        (found,) = retriever.search("home", f"Who is the keeper of hut {number}?", 1)
        assert found.document_id == documents[number].id
    assert len(retriever.search("home", "keeper", 10)) == 10


@pytest.mark.usefixtures("two_documents")
def test_a_question_of_10_kb_is_answered(retriever: Retriever) -> None:
    question = "Who serviced the boiler of the garden flat? " * 230
    assert retriever.search("home", question, 1)[0].document_id == "flat"


@pytest.mark.parametrize("question", ["", " \n", "a\ud800", "a\x00b"])
def test_questions_that_are_none_are_refused(retriever: Retriever, question: str) -> None:
    with pytest.raises(QuestionRefused, match="ask one in words"):
        retriever.search("home", question, 1)


def test_senseless_requests_are_refused(retriever: Retriever) -> None:
    with pytest.raises(ValueError, match="at least one"):
        retriever.search("home", "boiler", 0)
    with pytest.raises(ValueError, match="at least one"):
        retriever.search("home", "boiler", 1, chunk_k=0)
    with pytest.raises(DocumentRefused):
        retriever.search("../home", "boiler", 1)
