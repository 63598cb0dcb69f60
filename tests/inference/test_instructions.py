"""What a reader is told about answering: before every question, and nowhere else."""

from pathlib import Path

import pytest

from inference.chat import ChatFormat
from inference.composer import compose
from inference.decoding import Prompt
from inference.prompting import build_prompt
from inference.reader import Reader, load_reader
from inference.requests import Request
from inference.sampling import Sampling
from tests.models import TEXT, studied_questions, write_model_from_elsewhere, write_tiny_model
from training.settings import TrainingSettings
from training.studies import Studies
from training.teacher import answered, asked, read

TOLD = "Answer briefly."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that brings no instructions, as any from elsewhere."""
    return write_model_from_elsewhere(tmp_path_factory.mktemp("reader"))


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
    write_model_from_elsewhere(tmp_path, cartridge_instructions="In rhymes.")
    assert load_reader(tmp_path, instructions=TOLD).chat.instructions == "In rhymes."


def test_what_is_no_word_is_not_told(tmp_path: Path) -> None:
    write_model_from_elsewhere(tmp_path, cartridge_instructions=None)
    assert load_reader(tmp_path, instructions=TOLD).chat.instructions == TOLD


def test_questions_are_asked_with_them_and_seed_prompts_without(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefixes, chat = list(read(reader, [TEXT]).values()), reader.chat
    seen: list[list[int]] = []

    def looked(prefix: object, ids: list[int], *_: object) -> Prompt:
        seen.append(ids)
        return Prompt(compose(reader), ids, Sampling(1))

    monkeypatch.setattr("training.teacher.Prompt", looked)
    asked(reader, prefixes, ["Ask."], Sampling(1))
    answered(reader, prefixes, ["Who?"], 1, 1)
    assert seen == [chat.message("Ask."), chat.question("Who?")]
    assert build_prompt(reader, Request("Who?", (), (TEXT,), Sampling(1))).ids == [
        *chat.documents([TEXT]),
        *chat.question("Who?"),
    ]


def test_a_study_made_under_others_is_made_again_and_its_questions_are_known(
    reader: Reader, folder: Path, tmp_path: Path
) -> None:
    settings, studies = TrainingSettings(top_k=2), Studies(tmp_path)
    plain = load_reader(folder, dtype="float32")
    assert plain.fingerprint == plain.as_told == reader.fingerprint != reader.as_told
    examples = studied_questions(plain, TEXT, ["Who?"], max_tokens=3, top_k=2)
    studies.keep(plain, TEXT, settings, examples, 1.0)
    assert studies.find(plain, TEXT, settings) is not None
    assert studies.find(reader, TEXT, settings) is None
    found = studies.known(reader, TEXT, settings)
    assert found is not None
    assert [each.prompt for each in found] == [each.prompt for each in examples]
    assert studies.known(reader, "Another text.", settings) is None
