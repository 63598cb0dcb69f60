"""What a reader is told about answering: before every question, and nowhere else."""

import json
from pathlib import Path

import pytest

from app.parts import Parts
from app.settings import Settings
from inference.chat import ChatFormat
from inference.reader import Reader, load_reader
from tests.models import write_tiny_model
from training.settings import TrainingSettings
from training.studies import _way

TOLD = "Answer briefly."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that brings no instructions, as any from elsewhere."""
    folder = write_tiny_model(tmp_path_factory.mktemp("reader"))
    config = folder / "tokenizer_config.json"
    words = json.loads(config.read_text())
    del words["instructions"]
    config.write_text(json.dumps(words))
    return folder


@pytest.fixture(scope="module")
def reader(folder: Path) -> Reader:
    return load_reader(folder, dtype="float32", instructions=TOLD)


def test_they_stand_before_the_question_and_nowhere_else(reader: Reader) -> None:
    chat, bare = reader.chat, ChatFormat(reader.tokenizer)
    assert chat.question("Who?") == bare.question(f"{TOLD}\n\nWho?")
    turns = [("user", "Who?"), ("assistant", "Franz Huber."), ("user", "When?")]
    first = [("user", f"{TOLD}\n\nWho?"), *turns[1:]]
    assert chat.conversation(turns) == bare.conversation(first)
    assert chat.conversation(turns[:1]) == chat.question("Who?")
    assert chat.message("Ask.") == bare.question("Ask.")
    assert chat.bare_question("Who?") == bare.bare_question("Who?")
    assert chat.documents(["A text."]) == bare.documents(["A text."])


def test_a_reader_that_brings_its_own_is_told_those(tmp_path: Path) -> None:
    assert load_reader(write_tiny_model(tmp_path), instructions=TOLD).chat.instructions == ""
    config = tmp_path / "tokenizer_config.json"
    words = json.loads(config.read_text()) | {"instructions": "In rhymes."}
    config.write_text(json.dumps(words))
    assert load_reader(tmp_path, instructions=TOLD).chat.instructions == "In rhymes."


def test_the_service_tells_how_to_say_that_nothing_is_stated(folder: Path) -> None:
    settings = Settings(reader=str(folder), dtype="float32", not_stated="Unknown.")
    reader = Parts().reader(settings)
    assert reader.chat.instructions.endswith("If the text does not say it, answer: Unknown.")
    assert Parts().reader(Settings()).chat.instructions == ""  # the bundled one


def test_a_study_made_under_others_is_not_taken(reader: Reader, folder: Path) -> None:
    settings = TrainingSettings()
    plain = load_reader(folder, dtype="float32")
    assert plain.fingerprint == reader.fingerprint
    assert _way(plain, settings) != _way(reader, settings)
