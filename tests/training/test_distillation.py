"""Distillation on a tiny random reader: it learns, resumes bit for bit, and repeats itself."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cartridge_store.quantisation import dequantised, quantised
from inference.reader import Reader, load_reader
from tests.models import QUESTIONS, TEXT, studied_questions, write_tiny_model
from training.distillation import Distillation, _rows, distilling, next_token
from training.examples import StudyExample, read_examples, write_examples
from training.initialisers import INITIALISERS, document_key_values, initialiser
from training.pipeline import SURE, SURE_BESIDE, Checked, check, distil, first_slots, sure_figures
from training.settings import Cancelled, Progress, TrainingRefused, TrainingSettings
from training.student import (
    Lesson,
    agreement,
    answer_logits,
    certainty,
    distillation_loss,
)

SETTINGS = TrainingSettings(
    compression=10,
    min_slots=4,
    question_offset=128,
    min_conversations=16,
    conversations_per_token=0.01,
    max_question=8,
    max_answer=8,
    batch=3,
    min_steps=12,
    steps_per_conversation=0.1,
    warm_up=3,
    held_out=4,
    accept_at=0.0,
    checkpoint_every=4,
    learning_rate=0.05,
)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return load_reader(write_tiny_model(tmp_path_factory.mktemp("reader")), dtype="float32")


@pytest.fixture(scope="module")
def examples(reader: Reader) -> list[StudyExample]:
    return studied_questions(reader)


def slots(
    reader: Reader, name: str = "spread", studied: Sequence[StudyExample] = ()
) -> tuple[torch.Tensor, torch.Tensor]:
    return first_slots(reader, TEXT, 6, TrainingSettings(initialiser=name), studied)


def test_teacher_is_a_plain_prefill(reader: Reader, examples: list[StudyExample]) -> None:
    for question, example in zip(QUESTIONS, examples, strict=True):
        ids = [reader.chat.sink_id, *reader.chat.documents([TEXT]), *reader.chat.question(question)]
        tokens = torch.tensor([[*ids, *example.answer]], device=reader.device)
        logits = reader.model(tokens).logits[0, len(ids) - 1 : -1].cpu()
        expected = torch.log_softmax(logits.float(), -1).topk(20)
        assert np.allclose(example.top_logprobs, expected.values.numpy(), atol=1e-4)
        greedy = expected.indices[:, 0].tolist()
        assert greedy == list(example.answer)


def test_student_behind_the_whole_document_is_its_teacher(
    reader: Reader, examples: list[StudyExample]
) -> None:
    document = reader.prefill_documents([TEXT])
    keys, values = (torch.cat([pair[i] for pair in document]) for i in range(2))
    lesson = Lesson.of(examples, reader.device)
    logits = answer_logits(reader, keys, values, lesson, 1 + keys.shape[2])
    student = torch.log_softmax(logits, -1).gather(-1, lesson.top_ids)
    assert (student - lesson.top_logprobs).abs().max() < 1e-3
    assert all(agreement(logits, lesson))


def test_loss_is_the_cross_entropy_against_the_teachers_top_k(
    reader: Reader, examples: list[StudyExample]
) -> None:
    lesson = Lesson.of(examples[:1], reader.device)
    hidden = torch.randn(len(examples[0].answer), reader.config.hidden_size)
    logits = reader.logits(hidden)
    expected = 0.0
    for row, line in enumerate(torch.log_softmax(logits, -1)):
        for token, logprob in zip(
            examples[0].top_ids[row], examples[0].top_logprobs[row], strict=True
        ):
            expected -= float(np.exp(logprob)) * float(line[int(token)])
    assert float(distillation_loss(reader, hidden, lesson)) == pytest.approx(
        expected / len(examples[0].answer), rel=1e-4
    )


def test_the_loss_in_chunks_has_the_same_gradient_and_never_holds_all_logits(
    reader: Reader, examples: list[StudyExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = Lesson.of(examples, reader.device)
    made: list[int] = []
    logits = Reader.logits

    def counted(self: Reader, hidden: torch.Tensor) -> torch.Tensor:
        made.append(len(hidden))
        return logits(self, hidden)

    monkeypatch.setattr(Reader, "logits", counted)
    gradients = []
    for at_once in (1 << 24, 5 * reader.config.vocab_size):
        made.clear()
        torch.manual_seed(0)
        hidden = torch.randn(len(lesson.targets), reader.config.hidden_size, requires_grad=True)
        torch.autograd.backward(distillation_loss(reader, hidden, lesson, at_once=at_once))
        gradients.append(hidden.grad)
    assert max(made) == 5 < len(lesson.targets)
    assert gradients[0] is not None
    assert gradients[1] is not None
    assert torch.allclose(gradients[0], gradients[1], atol=1e-7)


def test_distillation_lowers_the_loss(
    reader: Reader, examples: list[StudyExample], tmp_path: Path
) -> None:
    run = Distillation(*slots(reader), 40, SETTINGS, tmp_path)
    run.run(distilling(reader, examples, SETTINGS), lambda _: None)
    assert np.mean(run.losses[-5:]) < 0.8 * np.mean(run.losses[:5])


def test_next_token_baseline_learns_the_text(reader: Reader, tmp_path: Path) -> None:
    run = Distillation(*slots(reader), 30, SETTINGS, tmp_path)
    run.run(next_token(reader, TEXT, SETTINGS), lambda _: None)
    assert np.mean(run.losses[-5:]) < np.mean(run.losses[:5])


def test_a_resumed_run_ends_bit_for_bit_where_an_uninterrupted_one_does(
    reader: Reader, examples: list[StudyExample], tmp_path: Path
) -> None:
    loss_of = distilling(reader, examples, SETTINGS)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = Distillation(*slots(reader), 12, SETTINGS, tmp_path / "a")
    whole.run(loss_of, lambda _: None)
    calls = iter([False] * 7 + [True])
    first = Distillation(*slots(reader), 12, SETTINGS, tmp_path / "b")
    with pytest.raises(Cancelled):
        first.run(loss_of, lambda _: None, lambda: next(calls))
    second = Distillation(*slots(reader), 12, SETTINGS, tmp_path / "b")
    assert second.step == 7
    second.run(loss_of, lambda _: None)
    assert torch.equal(whole.keys, second.keys)
    assert torch.equal(whole.values, second.values)
    assert whole.losses == second.losses


def test_weights_are_never_touched(
    reader: Reader, examples: list[StudyExample], tmp_path: Path
) -> None:
    before = {name: p.clone() for name, p in reader.model.named_parameters()}
    run = Distillation(*slots(reader), 3, SETTINGS, tmp_path)
    run.run(distilling(reader, examples, SETTINGS), lambda _: None)
    for name, parameter in reader.model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None


@pytest.mark.parametrize("name", list(INITIALISERS))
def test_initialisers_give_the_shape_and_repeat(
    reader: Reader, examples: list[StudyExample], name: str
) -> None:
    keys, values = slots(reader, name, examples)
    assert keys.shape == values.shape == (2, 2, 6, 8)
    again, _ = slots(reader, name, examples)
    assert torch.equal(keys, again)


def test_first_and_spread_are_columns_of_the_document(reader: Reader) -> None:
    document = document_key_values(reader, TEXT)
    keys, _ = slots(reader, "first")
    assert torch.equal(keys[0], document[0][0][0, :, :6])
    keys, _ = slots(reader, "spread")
    assert torch.equal(keys[1, :, 0], document[1][0][0, :, 0])
    assert torch.equal(keys[1, :, -1], document[1][0][0, :, -1])


def test_examples_survive_parquet(examples: list[StudyExample], tmp_path: Path) -> None:
    write_examples(tmp_path / "e.parquet", examples)
    for read, written in zip(read_examples(tmp_path / "e.parquet"), examples, strict=True):
        assert (read.kind, read.prompt, read.answer) == (
            written.kind,
            written.prompt,
            written.answer,
        )
        assert np.array_equal(read.top_ids, written.top_ids)
        assert np.array_equal(read.top_logprobs, written.top_logprobs)


def test_the_pipeline_repeats_itself_and_reports(reader: Reader, tmp_path: Path) -> None:
    reports: list[Progress] = []
    first = distil(reader, TEXT * 2, SETTINGS, workdir=tmp_path / "a", progress=reports.append)
    again = distil(reader, TEXT * 2, SETTINGS, workdir=tmp_path / "b")
    assert torch.equal(first.keys, again.keys)
    assert torch.equal(first.values, again.values)
    assert first.figures == again.figures
    assert first.passed
    done = [report.done for report in reports]
    assert done == sorted(done)
    assert done[-1] == 1.0
    assert [*dict.fromkeys(report.stage for report in reports)] == [
        "self-study",
        "distillation",
        "check",
    ]


def test_a_cancelled_pipeline_goes_on_to_the_same_cartridge(reader: Reader, tmp_path: Path) -> None:
    asked = count()
    whole = distil(
        reader, TEXT, SETTINGS, workdir=tmp_path / "a", cancelled=lambda: next(asked) < 0
    )
    late, again = next(asked) - 3, count()
    with pytest.raises(Cancelled):
        distil(reader, TEXT, SETTINGS, workdir=tmp_path / "b", cancelled=lambda: next(again) > late)
    resumed = distil(reader, TEXT, SETTINGS, workdir=tmp_path / "b")
    assert torch.equal(whole.keys, resumed.keys)


def test_other_settings_do_not_reuse_a_folder(reader: Reader, tmp_path: Path) -> None:
    first = distil(reader, TEXT, SETTINGS, workdir=tmp_path)
    other = distil(reader, TEXT, replace(SETTINGS, seed=1), workdir=tmp_path)
    assert not torch.equal(first.keys, other.keys)


def test_the_held_out_check_decides(reader: Reader, tmp_path: Path) -> None:
    refused = distil(reader, TEXT, replace(SETTINGS, accept_at=1.0), workdir=tmp_path)
    assert refused.passed == (refused.figures["held_out_agreement"] == 1.0)
    assert "held-out answers" in refused.reason


def test_eight_bits_are_chosen_where_the_check_loses_nothing(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, int8_values=True)
    assert not distil(reader, TEXT, settings, workdir=tmp_path / "a").int8_values  # of float32
    monkeypatch.setattr(
        "training.pipeline.in_eight_bits",
        lambda values, _: dequantised(*quantised(values), values.dtype),
    )
    checks = iter(
        Checked(agreed, (sure,))
        for agreed, sure in ((0.75, 0.9), (0.75, 0.8), (0.75, 0.9), (0.5, 0.8))
    )
    monkeypatch.setattr("training.pipeline.check", lambda *_: next(checks))
    kept = distil(reader, TEXT, settings, workdir=tmp_path / "a")
    lost = distil(reader, TEXT, settings, workdir=tmp_path / "a")
    assert (kept.int8_values, lost.int8_values) == (True, False)
    assert lost.figures["held_out_agreement_int8"] == 0.5
    # How sure the reader is behind what will be served.
    assert kept.figures[SURE] == [0.8]
    assert lost.figures[SURE] == [0.9]


def test_how_sure_the_reader_is_when_it_is_right(reader: Reader) -> None:
    """The probability of each right answer; none of what the text leaves open."""
    rng = np.random.default_rng(0)
    keys, values = first_slots(reader, TEXT, 8, SETTINGS)
    prompt = tuple(reader.chat.question("Who?"))
    examples = []
    for number in range(6):
        ids = tuple(int(id) for id in rng.integers(5, reader.config.vocab_size, 3))
        top = np.zeros((3, 2), np.int32), np.zeros((3, 2), np.float32)
        kind: Any = "unanswered" if number == 5 else "question"
        examples.append(StudyExample(kind, prompt, ids, *top, "Who?"))
    lesson = Lesson.of(examples, reader.device)
    shares = torch.softmax(answer_logits(reader, keys, values, lesson, 64), -1)
    chosen = shares[torch.arange(len(lesson.targets)), lesson.targets].view(6, 3)
    logits = answer_logits(reader, keys, values, lesson, 64)
    assert certainty(logits, lesson) == pytest.approx(chosen.prod(1).tolist(), rel=1e-4)
    # The reader's own first token, and an answer that it would not give.
    said = int(logits[0].argmax())
    right = replace(examples[0], answer=(said,), top_ids=top[0][:1], top_logprobs=top[1][:1])
    found = check(
        reader,
        keys,
        values,
        [right, examples[0], replace(right, kind="unanswered")],
        replace(SETTINGS, question_offset=64),
    )
    assert found.agreed == pytest.approx(2 / 3)
    sure, *others = found.sure
    assert sure is not None
    assert 0 < sure < 1
    assert others == [None, None]


def test_right_answers_probabilities_are_rounded_down_and_never_to_nothing() -> None:
    alone = Checked(1.0, (0.99999, 0.7, None, 0.5))
    beside = Checked(1.0, (0.9, 2.34567e-9, 0.9, None))  # as a long answer's
    assert sure_figures(alone) == {SURE: [0.5, 0.7, 0.9999]}
    assert sure_figures(alone, beside) == {
        SURE: [0.5, 0.7, 0.9999],
        SURE_BESIDE: [2.345e-9, 0.9, 0.9],
    }


def test_bad_input_is_refused_in_a_sentence(reader: Reader, tmp_path: Path) -> None:
    with pytest.raises(TrainingRefused, match="too short"):
        distil(reader, "a", SETTINGS, workdir=tmp_path)
    with pytest.raises(TrainingRefused, match="initialiser"):
        initialiser("magic")
    with pytest.raises(TrainingRefused, match="compression"):
        TrainingSettings(compression=0)
    for name in ("warm_up", "checkpoint_every", "min_steps"):
        with pytest.raises(TrainingRefused, match=name):
            TrainingSettings(**{name: 0})
    with pytest.raises(TrainingRefused, match="question_offset"):
        TrainingSettings(question_offset=1)
    with pytest.raises(TrainingRefused, match="held_out"):
        TrainingSettings(held_out=0)
    assert TrainingSettings(held_out=0, accept_at=0).held_out == 0
    beyond = replace(SETTINGS, question_offset=reader.max_positions)
    with pytest.raises(TrainingRefused, match="lower question_offset"):
        distil(reader, TEXT, beyond, workdir=tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 25, 49])
def test_an_epoch_holds_every_example_once_in_even_batches(rows: int) -> None:
    sizes = [10 + (row * 37) % 23 for row in range(rows)]
    batches = -(-rows // 8)
    for epoch in range(3):
        drawn = [_rows(sizes, 8, epoch * batches + step, seed=1) for step in range(batches)]
        assert sorted(row for batch in drawn for row in batch) == list(range(rows))
        assert max(map(len, drawn)) <= 8
        assert max(map(len, drawn)) - min(map(len, drawn)) <= 1


def test_batches_hold_rows_of_about_equal_size() -> None:
    sizes = [10] * 40 + [60] * 8
    mixed = [set(_rows(sizes, 8, step, seed=1)) for step in range(6)]
    assert sum(bool(batch & set(range(40, 48))) for batch in mixed) == 1
