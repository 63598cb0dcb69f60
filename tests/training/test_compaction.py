"""Compaction keeps what questions look at, and its values make up for what they no longer can."""

from dataclasses import replace

import pytest
import torch
from transformers import DynamicCache

from inference.reader import Reader, load_reader
from tests.models import TEXT, studied_questions, write_tiny_model
from training.compaction import compact, is_watchable
from training.examples import StudyExample
from training.initialisers import (
    Initialiser,
    Source,
    attention_matched,
    document_key_values,
    spread_tokens,
)
from training.settings import TrainingRefused
from training.student import Lesson, hidden_states

OFFSET = 256


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return load_reader(write_tiny_model(tmp_path_factory.mktemp("reader")), dtype="float32")


@pytest.fixture(scope="module")
def studied(reader: Reader) -> list[StudyExample]:
    return studied_questions(reader)


def read(reader: Reader, slots: tuple[torch.Tensor, torch.Tensor], lesson: Lesson) -> torch.Tensor:
    """Hidden states at the real tokens of a lesson, behind these slots."""
    hidden = hidden_states(reader, *slots, lesson.ids, lesson.mask, OFFSET)
    return hidden[lesson.mask.bool()]


def test_as_many_slots_as_tokens_are_the_document(
    reader: Reader, studied: list[StudyExample]
) -> None:
    document = document_key_values(reader, TEXT)
    keys, values = compact(reader, document, studied, document[0][0].shape[2], OFFSET, 0)
    for layer, (k, v) in enumerate(document):
        assert torch.equal(keys[layer], k[0])
        torch.testing.assert_close(values[layer], v[0], atol=1e-4, rtol=1e-3)


def test_the_reader_reads_on_as_behind_the_document(
    reader: Reader, studied: list[StudyExample]
) -> None:
    document = document_key_values(reader, TEXT)
    lesson = Lesson.of(studied, reader.device)
    whole = tuple(torch.cat([layer[part] for layer in document]) for part in (0, 1))
    truth = read(reader, (whole[0], whole[1]), lesson)
    few = document[0][0].shape[2] // 4
    compacted = read(reader, compact(reader, document, studied, few, OFFSET, 0), lesson)
    spread = read(reader, spread_tokens(Source(document, reader, (), OFFSET), few, 0), lesson)
    assert (compacted - truth).norm() < 0.8 * (spread - truth).norm()


@pytest.mark.parametrize("make", [spread_tokens, attention_matched])
def test_a_document_that_reaches_beyond_the_questions_place_is_moved_to_before_it(
    reader: Reader, studied: list[StudyExample], make: Initialiser
) -> None:
    document = document_key_values(reader, TEXT)
    length = document[0][0].shape[2]
    fits = Source(document, reader, studied, length + 1)
    keys, values = make(fits, length, 0)
    moved, stayed = make(replace(fits, offset=length - 2), length, 0)
    cache = DynamicCache(config=reader.config)
    ids = torch.tensor([[reader.chat.sink_id, *reader.chat.documents([TEXT])]])
    places = torch.arange(ids.shape[1])[None] - 3
    reader.model.base_model(ids, position_ids=places, past_key_values=cache, use_cache=True)
    read = torch.stack([layer.keys[0, :, 1:] for layer in cache.layers])
    torch.testing.assert_close(moved, read, atol=1e-4, rtol=1e-4)
    assert (moved - keys).abs().max() > 0.01
    torch.testing.assert_close(stayed, values, atol=1e-4, rtol=1e-3)


def test_other_attention_and_no_study_are_refused(
    reader: Reader, studied: list[StudyExample]
) -> None:
    document = document_key_values(reader, TEXT)
    with pytest.raises(TrainingRefused, match="self-study"):
        compact(reader, document, [], 4, OFFSET, 0)
    assert is_watchable(reader)
    reader.model.set_attn_implementation("eager")
    try:
        assert not is_watchable(reader)
        with pytest.raises(TrainingRefused, match="sdpa"):
            compact(reader, document, studied, 4, OFFSET, 0)
    finally:
        reader.model.set_attn_implementation("sdpa")
