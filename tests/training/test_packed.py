"""Batches without padding: the states and gradients of a padded batch, of every family of models."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from inference.reader import Reader, load_reader
from tests.models import FAMILIES, TEXT, studied_questions, write_tiny_model
from training.packed import Packed, Sees, _ByRows, _fused
from training.student import Lesson, answer_states, distillation_loss, hidden_states

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


def slots(reader: Reader) -> list[Tensor]:
    """Keys and values of seven slots."""
    drawn = torch.Generator().manual_seed(3)
    heads, size = reader.sink[0][0].shape[1], reader.sink[0][0].shape[3]
    shape = (len(reader.sink), heads, 7, size)
    return [torch.randn(shape, generator=drawn).requires_grad_(True) for _ in range(2)]


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_states_and_gradients_are_those_of_each_row_alone(
    reader: Reader, lesson: Lesson, own: bool, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fused:  # what other devices than CPUs go by
        monkeypatch.setattr(_ByRows, "apply", _fused)
    monkeypatch.setattr("training.packed._AT_ONCE", 2)  # more than one group
    sets = [[0, 1, 2, 3, 4, 5, 6], [6, 2, 4], [5]] if own else [[*range(7)]] * 3
    columns, visible = torch.zeros((3, 7), dtype=torch.long), torch.zeros((3, 7), dtype=torch.bool)
    for row, seen in enumerate(sets):
        columns[row, : len(seen)], visible[row, : len(seen)] = torch.tensor(seen), True
    offset = OFFSET if not own else torch.tensor([OFFSET, 20, 9])
    one, other = slots(reader), slots(reader)
    packed = answer_states(reader, *one, lesson, offset, Sees(columns, visible) if own else None)
    rows = []
    for row, seen in enumerate(sets):
        keys, values = (t[:, :, torch.tensor(seen)] for t in other)
        begins = OFFSET if not own else int(offset[row])
        ids, mask = lesson.ids[row : row + 1], lesson.mask[row : row + 1]
        rows.append(hidden_states(reader, keys, values, ids, mask, begins)[0])
    expected = torch.stack(rows)[lesson.rows, lesson.columns]
    torch.testing.assert_close(packed, expected, atol=1e-5, rtol=1e-4)
    weights = torch.randn(packed.shape, generator=torch.Generator().manual_seed(5))
    for states in (packed, expected):
        torch.autograd.backward((states * weights).sum())
    for mine, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-4, rtol=1e-4)


def test_places_are_the_tokens_in_order(reader: Reader, lesson: Lesson) -> None:
    sink = torch.zeros((len(lesson.ids), 1), dtype=torch.long)
    plan = Packed(reader.sink, Sees(sink, sink == 0), lesson.mask)
    ids = plan.packed(lesson.ids)
    count = int(lesson.mask.sum())
    assert ids.shape == (1, -(-count // 64) * 64)
    assert not ids[0, count:].any()
    assert torch.equal(ids[0, plan.place][lesson.mask.bool()], lesson.ids[lesson.mask.bool()])


def test_a_loss_of_few_tokens_is_that_of_all(reader: Reader, lesson: Lesson) -> None:
    width = reader.config.hidden_size
    one, other = (
        torch.randn((len(lesson.rows), width), generator=torch.Generator().manual_seed(4))
        .mul(3)
        .requires_grad_(True)
        for _ in range(2)
    )
    mine = 7.0 * distillation_loss(reader, one, lesson)
    chosen = torch.log_softmax(reader.logits(other), -1).gather(-1, lesson.top_ids)
    theirs = -7.0 * (lesson.top_logprobs.exp() * chosen).sum() / len(other)
    torch.testing.assert_close(mine, theirs)
    for loss in (mine, theirs):
        torch.autograd.backward(loss)
    torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-4)


def test_in_half_precision_and_without_gradients(tmp_path: Path) -> None:
    reader = load_reader(write_tiny_model(tmp_path), dtype="bfloat16")
    asked = ["Who?", "Who painted the north gate of Kestrel House?"]
    examples = studied_questions(reader, TEXT, asked, max_tokens=6, top_k=5)
    lesson = Lesson.of(examples, reader.device)
    assert lesson.mask.sum() < lesson.mask.numel()
    one = [each.detach().bfloat16() for each in slots(reader)]
    with torch.no_grad():
        packed = answer_states(reader, *one, lesson, OFFSET)
        padded = hidden_states(reader, *one, lesson.ids, lesson.mask, OFFSET)
    assert packed.dtype == torch.bfloat16
    expected = padded[lesson.rows, lesson.columns]
    torch.testing.assert_close(packed, expected, atol=0.1, rtol=0.1)
