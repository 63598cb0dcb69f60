"""A report's own parts: what answers score, and the cartridges that it makes for itself."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from app.asked import Answer
from app.report_cartridges import DocumentsChanged, MadeCartridges, training_cost
from app.report_files import ReportFiles
from app.report_scoring import question_of, scored
from app.study_shelf import StudyShelf
from cartridge_store.cartridge import Cartridge
from cartridge_store.manifest import Manifest
from inference.reader import Reader, load_reader
from retrieval.documents import DocumentLibrary
from tests.models import TEXT, studied_questions, write_tiny_model
from training.examples import write_examples
from training.initialisers import document_key_values
from training.settings import Cancelled, TrainingSettings

SETTINGS = TrainingSettings(question_offset=256, min_steps=4, max_steps=4, joint_share=0.5)


def answered(text: str, *, abstained: bool = False) -> Answer:
    return Answer(text, "rag", abstained, (), (), None, 1.0, 1.0, 5.0)


def entry(**fields: object) -> dict[str, object]:
    return {"id": None, "question": "Who?", "answers": ["Mira Tolen"], "documents": []} | fields


@pytest.mark.parametrize(
    ("fields", "said", "score", "invalid"),
    [
        ({}, "Mira Tolen", 1.0, False),
        ({}, "It was Mira Tolen who did.", 1.0, False),
        ({}, "Nobody", 0.0, False),
        ({"kind": "free"}, "Mira", 2 / 3, False),
        ({"answers": []}, "That is not stated.", 1.0, False),
        ({"answers": []}, "Mira Tolen", 0.0, False),
        ({"options": ["Mira Tolen", "Franz"]}, "A", 1.0, False),
        ({"options": ["Mira Tolen", "Franz"]}, "B", 0.0, False),
        ({"options": ["Mira Tolen", "Franz"]}, "perhaps", 0.0, True),
    ],
)
def test_each_kind_of_question_has_its_score(
    fields: dict[str, object], said: str, score: float, invalid: bool
) -> None:
    question = question_of(entry(**fields), 7)
    record = scored("rag_3", question, 0, answered(said, abstained="not stated" in said))
    assert (record.score, record.invalid) == (pytest.approx(score), invalid)
    assert record.question_id == "question:7"
    assert record.kind == question.kind
    # What the papers of free answers report; of others nobody asks for it.
    assert (record.rouge_l is None) == (record.chrf is None) == (question.kind != "free")
    if question.kind == "free":
        assert record.rouge_l == pytest.approx(2 / 3)
        assert 0 < (record.chrf or 0) < 1


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return load_reader(write_tiny_model(tmp_path_factory.mktemp("reader")), dtype="float32")


@pytest.fixture
def library(tmp_path: Path) -> DocumentLibrary:
    library = DocumentLibrary(tmp_path / "documents")
    for id in ("boiler", "gate"):
        library.put("default", id, id, f"{id}. {TEXT}")
    return library


def served(reader: Reader, library: DocumentLibrary, slots: int) -> dict[str, Manifest]:
    """Manifests as if each document had a trained cartridge of so many slots."""
    found = {}
    for document in library.list("default"):
        kv = document_key_values(reader, document.text)
        keys, values = (torch.cat([layer[part] for layer in kv])[:, :, :slots] for part in (0, 1))
        found[document.id] = Cartridge.create(
            keys,
            values,
            collection="default",
            document_id=document.id,
            document_sha256=document.sha256,
            document_tokens=reader.count(document.text),
            reader_fingerprint=reader.fingerprint,
            tokenizer_fingerprint=reader.tokenizer_fingerprint,
            position_rule=MadeCartridges.position_rule(SETTINGS),
            initialiser="first",
            recipe={},
            figures={"train_seconds": 2.5},
        ).manifest
    return found


def made(
    reader: Reader,
    library: DocumentLibrary,
    folder: Path,
    manifests: dict[str, Manifest],
    stopped: bool = False,
    told: Callable[[], None] = lambda: None,
) -> MadeCartridges:
    def report(stage: str, done: float) -> None:
        told()
        if stopped:
            raise Cancelled

    return MadeCartridges(
        library=library,
        reader=reader,
        settings=SETTINGS,
        folder=folder,
        collection="default",
        manifests=manifests,
        shelf=StudyShelf(folder / "studies"),
        report=report,
    )


def test_a_compacted_cartridge_is_as_large_as_the_served_one_and_made_once(
    reader: Reader, library: DocumentLibrary, tmp_path: Path
) -> None:
    manifests = served(reader, library, slots=6)
    first = made(reader, library, tmp_path, manifests).compacted("boiler")
    assert first is not None
    assert (first.slots, first.manifest.initialiser) == (6, "compaction")
    making = made(reader, library, tmp_path, manifests)
    assert making.costs(["compaction"])["compaction"].documents == 1
    again = making.compacted("boiler")
    assert again is not None
    assert again.id == first.id
    assert again.manifest.created_at == first.manifest.created_at
    assert made(reader, library, tmp_path, manifests).compacted("nobody") is None


def test_one_cartridge_for_all_goes_on_where_it_was_stopped(
    reader: Reader, library: DocumentLibrary, tmp_path: Path
) -> None:
    manifests = served(reader, library, slots=6)
    work = tmp_path / "monolithic"
    work.mkdir()
    for id in manifests:
        write_examples(work / f"{id}.parquet", studied_questions(reader) * 4)
    with pytest.raises(Cancelled):
        made(reader, library, tmp_path, manifests, stopped=True).whole()
    making = made(reader, library, tmp_path, manifests)
    whole = making.whole()
    assert whole is not None
    assert whole.slots == 12
    assert making.whole() is whole
    # It took longer than this process knows.
    assert making.costs(["monolithic", "rag_3"]) == {}
    # The studies are read and not made again, and so is the cartridge.
    assert made(reader, library, tmp_path, manifests, stopped=True).whole() is not None


def test_a_document_that_leaves_while_all_are_trained_together_is_told_apart(
    reader: Reader, library: DocumentLibrary, tmp_path: Path
) -> None:
    manifests = served(reader, library, slots=6)
    files = ReportFiles(tmp_path)
    folder = tmp_path / "default" / "r1" / "runs" / "a" / "cartridges"
    making = made(
        reader,
        library,
        folder,
        manifests,
        told=lambda: files.forget_made("default", "boiler"),
    )
    work = folder / "monolithic"
    work.mkdir(parents=True)
    for id in manifests:
        write_examples(work / f"{id}.parquet", studied_questions(reader) * 4)
    with pytest.raises(DocumentsChanged):
        making.whole()
    assert not work.exists()
    assert making.refusals() == {}


def test_what_would_reach_the_question_is_not_made(
    reader: Reader, library: DocumentLibrary, tmp_path: Path
) -> None:
    manifests = served(reader, library, slots=6)
    gone = {"deleted-since": manifests["boiler"]}
    making = made(reader, library, tmp_path / "gone", gone)
    assert (making.whole(), making.compacted("deleted-since")) == (None, None)
    assert making.refusals().keys() == {"monolithic", "compaction-deleted-since"}
    many = {f"copy-{n}": manifest for n in range(50) for manifest in manifests.values()}
    for id in many:
        library.put("default", id, id, TEXT)
    making = made(reader, library, tmp_path, many)
    assert making.whole() is None
    assert "does not fit" in making.refusals()["monolithic"]


def test_a_cost_is_known_when_every_training_was_timed(
    reader: Reader, library: DocumentLibrary
) -> None:
    manifests = list(served(reader, library, slots=6).values())
    cost = training_cost(manifests)
    assert cost is not None
    assert (cost.seconds, cost.documents) == (5.0, 2)
    assert training_cost([]) is None
