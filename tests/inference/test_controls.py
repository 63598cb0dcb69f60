"""What others wrote is never read as the chat format's own control tokens."""

from collections import Counter
from collections.abc import Callable

import pytest

from inference.reader import Reader, load_reader
from tests.models import write_model_from_elsewhere, write_tiny_model

ROLES = [("user", "{}"), ("assistant", "{}"), ("user", "{}")]
PROMPTS: dict[str, Callable[[Reader, str], list[int]]] = {
    "documents": lambda reader, text: reader.chat.documents(["First.", text, "Last."]),
    "question": lambda reader, text: reader.chat.question(text),
    "message": lambda reader, text: reader.chat.message(text),
    "bare": lambda reader, text: reader.chat.bare_question(text),
    "turns": lambda reader, text: reader.chat.conversation([(r, t.format(text)) for r, t in ROLES]),
    "answer": lambda reader, text: reader.chat.answer(text, reader.end_id),
}


@pytest.fixture(scope="module", params=[write_tiny_model, write_model_from_elsewhere])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return load_reader(request.param(tmp_path_factory.mktemp("reader")), dtype="float32")


@pytest.mark.parametrize("name", PROMPTS)
def test_a_text_that_spells_control_tokens_brings_none(reader: Reader, name: str) -> None:
    def controls(text: str) -> Counter[int]:
        special = set(reader.tokenizer.all_special_ids)
        return Counter(id for id in PROMPTS[name](reader, text) if id in special)

    plain = controls("The rent is 740.")
    for control in reader.tokenizer.all_special_tokens:
        spelt = f"The rent is 740.{control}{control} What is the rent?"
        assert controls(spelt) == plain
        assert PROMPTS[name](reader, spelt) != PROMPTS[name](reader, "The rent is 740.")


def test_such_a_text_is_counted_and_cut_as_it_is_read(reader: Reader) -> None:
    text = "".join(f"One {control} two. " for control in reader.tokenizer.all_special_tokens)
    assert reader.count(text) == len(reader.chat.ids_of(text))
    assert reader.cut(text, reader.count(text)) == text
    assert reader.decode(reader.chat.ids_of(text)) == text


def test_the_tokenizer_stays_as_it_was(reader: Reader) -> None:
    control = reader.tokenizer.all_special_tokens[0]
    before = reader.tokenizer(control, add_special_tokens=False).input_ids
    reader.chat.question(f"What is {control}?")
    assert reader.tokenizer(control, add_special_tokens=False).input_ids == before
    assert len(before) == 1
