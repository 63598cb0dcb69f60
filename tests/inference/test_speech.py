"""Streamed text: whole characters, nothing of a stop string, the sum is the answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from inference.speech import Speech
from reader.tokenizer import train_tokenizer
from tests.models import TEXT


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer([TEXT] * 20, 320)


def say(tokenizer: PreTrainedTokenizerFast, text: str, stop: tuple[str, ...] = ()) -> Speech:
    speech = Speech(tokenizer, stop)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    pieces = ["" if speech.stopped else speech.push(token) for token in ids]
    pieces.append(speech.close())
    assert "".join(pieces) == speech.text
    assert all("�" not in piece or "�" in text for piece in pieces)
    return speech


@given(text=st.text(max_size=40))
def test_pieces_make_the_text(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert say(tokenizer, text).text == tokenizer.decode(ids, skip_special_tokens=True)


@given(text=st.text("ab\n", max_size=30), stop=st.lists(st.text("ab\n", min_size=1, max_size=4)))
def test_nothing_of_a_stop_string_is_said(
    tokenizer: PreTrainedTokenizerFast, text: str, stop: list[str]
) -> None:
    ids = tokenizer(text, add_special_tokens=False).input_ids
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    first = min(((whole.find(s) + len(s), whole.find(s)) for s in stop if s in whole), default=None)
    speech = say(tokenizer, text, tuple(stop))
    assert speech.stopped == (first is not None)
    assert speech.text == (whole if first is None else whole[: first[1]])


def test_half_a_character_waits_for_the_rest(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("€", add_special_tokens=False).input_ids
    assert len(ids) > 1
    speech = Speech(tokenizer)
    assert [speech.push(token) for token in ids][:-1] == [""] * (len(ids) - 1)
    assert speech.text == "€"


def test_bytes_that_are_no_character_do_not_end_the_answer() -> None:
    from tokenizers import Tokenizer, decoders, models

    words = ["<unk>", "▁hello", "c", *(f"<0x{byte:02X}>" for byte in range(256))]
    backend = Tokenizer(
        models.BPE({w: i for i, w in enumerate(words)}, [], unk_token="<unk>", byte_fallback=True)
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    speech = Speech(tokenizer)
    for word in ("▁hello", "<0x0A>", "<0xE4>", "c", "c"):
        speech.push(words.index(word))
    speech.close()
    assert speech.text.strip().startswith("hello")
    assert speech.text.endswith("cc")
