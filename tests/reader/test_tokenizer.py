"""The tokenizer gives back what it was given, and a word looks the same wherever it stands."""

from functools import cache

from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from reader.tokenizer import ROLES, train_tokenizer
from tests.models import TEXT


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer([TEXT] * 20, 400)


def ids(text: str) -> list[int]:
    return list(tokenizer()(text, add_special_tokens=False).input_ids)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=80))
def test_round_trip(text: str) -> None:
    import unicodedata

    if text[:1].isspace():
        text = "x" + text
    assert tokenizer().decode(ids(text)) == unicodedata.normalize("NFC", text)


def test_round_trip_of_lines() -> None:
    text = "# Title\n\n- one\n- two  three\nKey: value"
    assert tokenizer().decode(ids(text)) == text


def test_a_name_is_spelled_alike_at_the_start_of_a_line_and_inside() -> None:
    inside = ids("by Franz Huber")
    assert ids("Franz Huber") == inside[-len(ids("Franz Huber")) :]
    assert ids("x\nFranz Huber")[-len(ids("Franz Huber")) :] == ids("Franz Huber")


def test_digits_are_single_tokens() -> None:
    assert len(ids("1962")) - len(ids("19")) == 2


def test_chat_template() -> None:
    messages = [{"role": "system", "content": "A"}, {"role": "user", "content": "B"}]
    rendered = tokenizer().apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == "<|bos|><|system|>A<|end|><|user|>B<|end|><|assistant|>"
    assert [tokenizer().convert_tokens_to_ids(role) for role in ROLES] == [2, 3, 4]
