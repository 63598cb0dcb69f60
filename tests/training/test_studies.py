"""Studies are kept beyond a run, found for the same question put, and only for that."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inference.reader import Reader, load_reader
from tests.models import studied_questions, write_tiny_model
from training import studying
from training.examples import StudyExample, read_examples, seconds_before
from training.revision import Revision
from training.settings import Cancelled, TrainingRefused, TrainingSettings
from training.studies import Studies
from training.studying import kept_study

TEXT = "The boiler of the garden flat was last serviced by Franz Huber."
SETTINGS = TrainingSettings(top_k=4)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return load_reader(write_tiny_model(tmp_path_factory.mktemp("reader")), dtype="float32")


@pytest.fixture
def asked(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were studied; a study is ten made-up questions."""
    texts: list[str] = []

    def study(
        reader: Reader,
        text: str,
        settings: TrainingSettings,
        report: Callable[[float], None],
        since: Revision | None = None,
        folder: Path | None = None,
    ) -> list[StudyExample]:
        texts.append(text)
        questions = [
            f"Who serviced boiler {number}?" for number in range(2 if "thin" in text else 10)
        ]
        return studied_questions(reader, text, questions, max_tokens=4, top_k=4)

    monkeypatch.setattr(studying, "study", study)
    return texts


def test_another_run_finds_what_one_has_studied(
    reader: Reader, tmp_path: Path, asked: list[str]
) -> None:
    kept, told = tmp_path / "kept", list[float]()

    def marked(examples: list[StudyExample]) -> list[StudyExample]:
        return [replace(each, rivals=("other",)) for each in examples]

    first = kept_study(reader, TEXT, SETTINGS, tmp_path / "a", told.append, marked, studies=kept)
    again = kept_study(reader, TEXT, SETTINGS, tmp_path / "b", told.append, studies=kept)
    assert asked == [TEXT]
    assert [each.answer for each in again] == [each.answer for each in first]
    # What a run looked up for itself is not another's.
    assert {each.rivals for each in first} == {("other",)}
    assert {each.rivals for each in again} == {()}
    assert told == [1.0]
    assert seconds_before(tmp_path / "a") == 0.0 < seconds_before(tmp_path / "b")


def test_what_was_studied_before_a_stop_goes_with_the_study(reader: Reader, tmp_path: Path) -> None:
    settings = replace(SETTINGS, max_question=6, max_answer=6, asking_temperature=2.0)
    settings = replace(settings, min_conversations=24, generation_batch=8)

    def stopping(done: float) -> None:
        if done > 0.4:
            raise Cancelled

    path = tmp_path / "a.parquet"
    with pytest.raises(Cancelled):
        kept_study(reader, TEXT, settings, path, stopping)
    assert list((tmp_path / "a.batches").rglob("*.parquet"))
    kept_study(reader, TEXT, settings, path, lambda _: None)
    assert [each.name for each in tmp_path.iterdir()] == ["a.parquet"]


@pytest.mark.parametrize(
    ("text", "settings"),
    [(TEXT + " Twice.", SETTINGS), (TEXT, replace(SETTINGS, seed=1))],
    ids=["another text", "another recipe of study"],
)
def test_what_would_be_studied_otherwise_is_studied_again(
    reader: Reader, tmp_path: Path, asked: list[str], text: str, settings: TrainingSettings
) -> None:
    kept_study(reader, TEXT, SETTINGS, tmp_path / "a", lambda _: None, studies=tmp_path / "kept")
    kept_study(reader, text, settings, tmp_path / "b", lambda _: None, studies=tmp_path / "kept")
    assert len(asked) == 2


def test_a_recipe_that_studies_alike_reads_the_study(
    reader: Reader, tmp_path: Path, asked: list[str]
) -> None:
    for name, settings in (("a", SETTINGS), ("b", replace(SETTINGS, compression=20.0))):
        kept_study(
            reader, TEXT, settings, tmp_path / name, lambda _: None, studies=tmp_path / "kept"
        )
    assert len(asked) == 1


def test_a_damaged_study_is_made_again(reader: Reader, tmp_path: Path, asked: list[str]) -> None:
    kept = tmp_path / "kept"
    kept_study(reader, TEXT, SETTINGS, tmp_path / "a", lambda _: None, studies=kept)
    (file,) = kept.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    kept_study(reader, TEXT, SETTINGS, tmp_path / "b", lambda _: None, studies=kept)
    assert len(asked) == 2
    assert len(read_examples(file)) == 10


def test_only_the_newest_studies_stay(reader: Reader, tmp_path: Path, asked: list[str]) -> None:
    for seed in range(5):
        settings = replace(SETTINGS, seed=seed)
        kept_study(
            reader, TEXT, settings, tmp_path / str(seed), lambda _: None, studies=tmp_path / "kept"
        )
    studies = Studies(tmp_path / "kept")
    found = [studies.find(reader, TEXT, replace(SETTINGS, seed=seed)) for seed in range(5)]
    assert [each is not None for each in found] == [False, False, True, True, True]


def test_too_thin_a_study_is_not_kept(reader: Reader, tmp_path: Path, asked: list[str]) -> None:
    with pytest.raises(TrainingRefused, match="only 2 questions"):
        kept_study(
            reader, "thin", SETTINGS, tmp_path / "a", lambda _: None, studies=tmp_path / "kept"
        )
    assert not (tmp_path / "kept").exists()


@pytest.mark.usefixtures("asked")
def test_another_ways_study_is_known_where_it_can_stand_beside_this_ways(
    reader: Reader, tmp_path: Path
) -> None:
    kept_study(reader, TEXT, SETTINGS, tmp_path / "a", lambda _: None, studies=tmp_path / "kept")
    studies = Studies(tmp_path / "kept")
    other = replace(SETTINGS, asking_temperature=0.3)
    assert studies.find(reader, TEXT, other) is None
    assert studies.known(reader, TEXT, other) is not None
    # Rows of other widths make no batch, and what was learned is no check.
    assert studies.known(reader, TEXT, replace(other, top_k=5)) is None
    assert studies.known(reader, TEXT, replace(other, held_out=30)) is None
    assert studies.known(reader, "Another text.", other) is None
