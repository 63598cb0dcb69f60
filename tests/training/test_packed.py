"""Batches without padding: the states and gradients of each row alone, of every family of models."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from inference.reader import Reader, load_reader
from tests.models import FAMILIES, TEXT, studied_questions, write_tiny_model
from training.packed import Packed, Sees
from training.student import (
    Lesson,
    answer_states,
    distillation_loss,
    excess,
    hidden_states,
    token_losses,
)

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
    if fused:  # what other devices than CPUs go by, and what does not learn
        monkeypatch.setattr("training.packed._written_out", lambda _: False)
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


SIZES = [1, 9, 3, 30, 2, 17]
"""Tokens of rows: one of a single token, and one that is longer than the others."""


def attended(dtype: torch.dtype, learns: Sequence[bool] = (True, True, True)) -> list[Tensor]:
    """Attention of rows that see none to eleven columns, and the gradients of a loss on it."""
    drawn = torch.Generator().manual_seed(6)
    heads, kv_heads, size, prefix = 4, 2, 8, 12
    mask = torch.zeros((len(SIZES), max(SIZES)), dtype=torch.long)
    columns, visible = (
        torch.zeros((len(SIZES), 11), dtype=kind) for kind in (torch.long, torch.bool)
    )
    for row, tokens in enumerate(SIZES):
        seen = torch.randperm(prefix, generator=drawn)[: [0, 3, 11, 5, 1, 7][row]]
        mask[row, :tokens], columns[row, : len(seen)], visible[row, : len(seen)] = 1, seen, True
    shapes = [(1, kv_heads, prefix, size)] * 2
    old = [torch.randn(shape, generator=drawn, dtype=torch.float64) for shape in shapes]
    plan = Packed([(old[0].to(dtype), old[1].to(dtype))], Sees(columns, visible), mask)
    count = plan.packed(mask).shape[1]
    inputs = [
        torch.randn((1, h, count, size), generator=drawn, dtype=torch.float64)
        .to(dtype)
        .requires_grad_(learned)
        for h, learned in zip((heads, kv_heads, kv_heads), learns, strict=True)
    ]
    query, keys, values = inputs
    plan.write(0, keys, values)
    found = plan.attend(0, query, size**-0.5)[:, : sum(SIZES)]  # the others are nobody's
    weights = torch.randn(found.shape, generator=drawn, dtype=torch.float64)
    torch.autograd.backward((found * weights.to(dtype)).sum())
    return [found.detach(), *(each.grad for each in inputs if each.grad is not None)]


def test_rows_of_all_lengths_and_sets_in_any_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = attended(torch.float64)
    for mine, theirs in zip(attended(torch.float32), exact, strict=True):
        torch.testing.assert_close(mine.double(), theirs, atol=1e-4, rtol=1e-4)
    for mine, theirs in zip(attended(torch.bfloat16), exact, strict=True):
        assert torch.cosine_similarity(mine.double().flatten(), theirs.flatten(), dim=0) > 0.999
    # Who does not learn costs nobody his gradient.
    *_, only = attended(torch.float64, (False, False, True))
    torch.testing.assert_close(only, exact[-1])
    monkeypatch.setattr("training.packed._written_out", lambda _: False)
    for mine, theirs in zip(attended(torch.float64), exact, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_row_is_nothing_to_others(reader: Reader, lesson: Lesson) -> None:
    keys, values = (t.detach() for t in slots(reader))
    keys[:, :, 6] = torch.nan  # of a cartridge that the first row alone sees
    columns = torch.tensor([[6, 0], [1, 2], [3, 4]])
    sees = Sees(columns, torch.ones_like(columns, dtype=torch.bool))
    with torch.no_grad():
        found = answer_states(reader, keys, values, lesson, OFFSET, sees)
    broken = found.isnan().any(1)
    assert torch.equal(broken, lesson.rows == 0)


def test_excess_is_what_the_teachers_own_entropy_leaves(reader: Reader, lesson: Lesson) -> None:
    width = reader.config.hidden_size
    hidden = torch.randn((len(lesson.rows), width), generator=torch.Generator().manual_seed(8))
    logprobs = lesson.top_logprobs.clone()
    logprobs[:, 1:], logprobs[:, 0] = -torch.inf, 0.0  # certain, as of what is not stated
    for sure in (lesson, replace(lesson, top_logprobs=logprobs)):
        losses = token_losses(reader, hidden, sure)
        chunked = token_losses(reader, hidden, sure, at_once=3 * reader.config.vocab_size)
        torch.testing.assert_close(losses, chunked)
        found = excess(losses, sure)
        student = torch.log_softmax(reader.logits(hidden), -1).gather(-1, sure.top_ids)
        shares = sure.top_logprobs.exp()
        each = torch.where(shares > 0, shares * (sure.top_logprobs - student), 0.0).sum(-1)
        expected = [float(each[sure.rows == row].clamp(min=0).sum()) for row in range(3)]
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


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
