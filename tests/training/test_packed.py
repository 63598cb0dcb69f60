"""Batches without padding: the states and gradients of a padded batch, of every family of models."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from inference.reader import Reader, load_reader
from tests.models import FAMILIES, TEXT, studied_questions, write_tiny_model
from training.packed import Packed
from training.student import Lesson, answer_states, hidden_states

OFFSET = 64


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder: Path = tmp_path_factory.mktemp(request.param)
    return load_reader(write_tiny_model(folder, request.param), dtype="float32")


@pytest.fixture
def lesson(reader: Reader) -> Lesson:
    asked = ["Who?", "Who painted the north gate of Kestrel House?", "When was it painted?"]
    examples = studied_questions(reader, TEXT, asked, max_tokens=6, top_k=5)
    found = Lesson.of(examples, reader.device)
    assert found.mask.sum() < found.mask.numel()  # some rows are padded
    return found


def slots(reader: Reader, rows: int | None) -> list[Tensor]:
    """Keys and values of seven slots, of every row its own or the same for all."""
    drawn = torch.Generator().manual_seed(3)
    layers = [(keys.shape[1], keys.shape[3]) for keys, _ in reader.sink]
    (heads, size), batch = layers[0], [] if rows is None else [rows]
    shape = (len(layers), *batch, heads, 7, size)
    return [torch.randn(shape, generator=drawn).requires_grad_(True) for _ in range(2)]


@pytest.mark.parametrize("own", [True, False])
def test_states_and_gradients_are_those_of_a_padded_batch(
    reader: Reader, lesson: Lesson, own: bool
) -> None:
    rows = len(lesson.ids)
    visible, offset = None, OFFSET if not own else torch.tensor([OFFSET, 20, 9])
    if own:
        visible = torch.ones((rows, 7), dtype=torch.bool)
        visible[1, 4:] = False
    one, other = slots(reader, rows if own else None), slots(reader, rows if own else None)
    packed = answer_states(reader, *one, lesson, offset, visible)
    padded = hidden_states(reader, *other, lesson.ids, lesson.mask, offset, visible)
    expected = padded[lesson.rows, lesson.columns]
    torch.testing.assert_close(packed, expected, atol=1e-5, rtol=1e-4)
    weights = torch.randn(packed.shape, generator=torch.Generator().manual_seed(5))
    for states in (packed, expected):
        torch.autograd.backward((states * weights).sum())
    for mine, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-4, rtol=1e-4)


def test_places_are_the_tokens_in_order(reader: Reader, lesson: Lesson) -> None:
    seen = torch.ones((len(lesson.ids), 1), dtype=torch.long)
    plan = Packed(reader.sink, seen, lesson.mask)
    ids = plan.packed(lesson.ids)
    assert ids.shape == (1, int(lesson.mask.sum()))
    assert torch.equal(ids[0, plan.place][lesson.mask.bool()], lesson.ids[lesson.mask.bool()])


def test_in_half_precision_and_without_gradients(tmp_path: Path) -> None:
    reader = load_reader(write_tiny_model(tmp_path), dtype="bfloat16")
    asked = ["Who?", "Who painted the north gate of Kestrel House?"]
    examples = studied_questions(reader, TEXT, asked, max_tokens=6, top_k=5)
    lesson = Lesson.of(examples, reader.device)
    assert lesson.mask.sum() < lesson.mask.numel()
    one = [each.detach().bfloat16() for each in slots(reader, None)]
    with torch.no_grad():
        packed = answer_states(reader, *one, lesson, OFFSET)
        padded = hidden_states(reader, *one, lesson.ids, lesson.mask, OFFSET)
    assert packed.dtype == torch.bfloat16
    expected = padded[lesson.rows, lesson.columns]
    torch.testing.assert_close(packed, expected, atol=0.1, rtol=0.1)
