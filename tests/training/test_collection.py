"""A collection's training on a tiny random reader: who is trained, what is checked, how it goes on."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import training.collection as collection
import training.company as company
from inference.reader import Reader, load_reader
from tests.models import QUESTIONS, TEXT, studied_questions, write_tiny_model
from training.collection import Outcome, Text, distil_collection
from training.examples import StudyExample, read_examples, write_examples
from training.pipeline import Checked
from training.settings import Cancelled, Progress, TrainingRefused, TrainingSettings

SETTINGS = TrainingSettings(
    min_slots=4,
    question_offset=64,
    batch=4,
    min_steps=6,
    max_steps=6,
    held_out=2,
    pool=2,
    beside=2,
    distractors=2,
    warm_up=2,
    accept_at=0.0,
    checkpoint_every=4,
)
TEXTS = [Text(f"d{number}", f"{number}" * 8, f"Document d{number}. {TEXT}") for number in range(4)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return load_reader(write_tiny_model(tmp_path_factory.mktemp("reader")), dtype="float32")


@pytest.fixture(autouse=True)
def studies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random reader asks nothing: its study is of given questions, and none of a text of few words."""

    def kept(
        reader: Reader,
        text: str,
        settings: TrainingSettings,
        path: Path,
        report: Callable[[float], None],
        annotate: Callable[[list[StudyExample]], list[StudyExample]],
        kept_in: Path | None,
    ) -> list[StudyExample]:
        if path.exists():
            return read_examples(path)
        report(0.5)
        if len(text) < 40:
            raise TrainingRefused("Too few questions.")
        asked = [f"{question} {number}" for question in QUESTIONS for number in range(2)]
        made = studied_questions(reader, text, asked, max_tokens=5, top_k=4)
        made = [replace(e, question=q) for e, q in zip(made, asked, strict=True)]
        write_examples(path, annotate(made))
        return read_examples(path)

    monkeypatch.setattr(collection, "kept_study", kept)


def found(question: str) -> list[str]:
    return ["d2", "d0", "stranger"]


def run(
    reader: Reader,
    folder: Path,
    texts: Sequence[Text] = TEXTS,
    settings: TrainingSettings = SETTINGS,
    progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Outcome]:
    return list(
        distil_collection(
            reader,
            texts,
            settings,
            workdir=folder,
            find=found,
            progress=progress,
            cancelled=cancelled,
        )
    )


def test_every_document_is_trained_and_checked_alone_and_in_company(
    reader: Reader, tmp_path: Path
) -> None:
    told: list[Progress] = []
    outcomes = run(reader, tmp_path, progress=told.append)
    assert [outcome.name for outcome in outcomes] == ["d0", "d1", "d2", "d3"]
    for outcome in outcomes:
        assert outcome.distilled is not None
        assert outcome.distilled.passed
        assert outcome.distilled.keys.shape[2] == SETTINGS.slots(reader.count(TEXTS[0].text))
        assert outcome.distilled.figures["beside"] == 2
        assert outcome.distilled.figures["steps"] > 0
        assert 0 <= outcome.distilled.figures["held_out_agreement_beside"] <= 1
    done = [each.done for each in told]
    assert done == sorted(done)
    assert {each.stage for each in told} == {"self-study", "distillation", "check"}


def test_documents_of_equal_text_are_each_others_rivals(reader: Reader, tmp_path: Path) -> None:
    twins = [TEXTS[0], replace(TEXTS[0], name="d2"), TEXTS[1]]
    run(reader, tmp_path, twins)
    rivals = {
        path.name: {rival for each in read_examples(path) for rival in each.rivals}
        for path in tmp_path.glob("*/0000*.parquet")
    }
    assert sorted(map(sorted, rivals.values())) == [["d0", "stranger"], ["d2", "stranger"]]


def test_slots_are_shared_out_by_what_they_tell(reader: Reader, tmp_path: Path) -> None:
    settings = replace(SETTINGS, adaptive=True, probe_steps=3, least_told=0.0, compression=4.0)
    texts = [*TEXTS[:2], Text("long", "l", f"{TEXTS[2].text} {TEXTS[3].text}")]
    told: list[Progress] = []
    outcomes = run(reader, tmp_path, texts, settings, told.append)
    slots = {o.name: o.distilled.keys.shape[2] for o in outcomes if o.distilled}
    even = {text.name: settings.slots(reader.count(text.text)) for text in texts}
    assert slots.keys() == even.keys()
    assert sum(slots.values()) <= sum(even.values())
    assert all(even[name] / 2 - 1 <= slots[name] <= even[name] * 2 for name in slots)
    done = [each.done for each in told]
    assert done == sorted(done)
    assert "probing" in {each.stage for each in told}
    # What was tried is not tried again by a run that goes on.
    tried = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/probes/*/*")}
    assert len(tried) == 9
    (members,) = tmp_path.glob("*/members.json")
    members.unlink()
    again = run(reader, tmp_path, texts, settings)
    assert {o.name: o.distilled.keys.shape[2] for o in again if o.distilled} == slots
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/probes/*/*")} == tried


def test_what_retrieval_brings_is_kept_with_the_questions(reader: Reader, tmp_path: Path) -> None:
    run(reader, tmp_path)
    (path,) = tmp_path.glob("*/00000000-*.parquet")
    assert {example.rivals for example in read_examples(path)} == {("d2", "stranger")}


def test_a_check_that_fails_in_company_refuses_the_cartridge(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = SETTINGS.slots(reader.count(TEXTS[0].text))

    def agreed(_: Reader, keys: torch.Tensor, *__: object) -> Checked:
        return Checked(1.0 if keys.shape[2] == alone else 0.2, (0.9, None))

    monkeypatch.setattr(company, "check", agreed)
    outcomes = run(reader, tmp_path, settings=replace(SETTINGS, accept_at=0.5))
    assert {outcome.distilled.passed for outcome in outcomes if outcome.distilled} == {False}
    assert "100% of 2 held-out answers equal the teacher's alone and 20%" in outcomes[0].reason


def test_a_document_without_a_study_is_left_out_with_its_reason(
    reader: Reader, tmp_path: Path
) -> None:
    texts = [*TEXTS[:2], Text("short", "s", "No."), Text("thin", "t", "A few words, no more.")]
    outcomes = {outcome.name: outcome for outcome in run(reader, tmp_path, texts)}
    assert outcomes["short"].distilled is None
    assert outcomes["thin"].distilled is None
    assert "Too few" in outcomes["thin"].reason
    assert outcomes["d0"].distilled is not None


def test_one_document_is_no_collection(reader: Reader, tmp_path: Path) -> None:
    with pytest.raises(TrainingRefused, match="at least two documents"):
        run(reader, tmp_path, [TEXTS[0], Text("thin", "t", "A few words, no more.")])


def test_a_run_that_was_stopped_ends_as_one_that_was_not_though_documents_left(
    reader: Reader, tmp_path: Path
) -> None:
    whole = run(reader, tmp_path / "whole")
    looks = 0

    def after_a_while() -> bool:
        nonlocal looks
        looks += 1
        return looks > 12

    with pytest.raises(Cancelled):
        run(reader, tmp_path / "cut", cancelled=after_a_while)
    # The pool has begun: who is trained is settled, and texts are not needed any more.
    assert list(tmp_path.glob("cut/*/members.json"))
    rest = run(reader, tmp_path / "cut", [])
    for one, two in zip(whole, rest, strict=True):
        assert one.distilled is not None
        assert two.distilled is not None
        assert torch.equal(one.distilled.keys, two.distilled.keys)
        assert torch.equal(one.distilled.values, two.distilled.values)


def test_a_document_that_changed_before_the_pool_began_is_studied_anew(
    reader: Reader, tmp_path: Path
) -> None:
    with pytest.raises(Cancelled):
        run(reader, tmp_path, cancelled=lambda: len([*tmp_path.glob("*/*.parquet")]) == 2)
    changed = [*TEXTS[:3], replace(TEXTS[3], digest="new", text=f"It is new. {TEXT}")]
    outcomes = run(reader, tmp_path, changed)
    assert outcomes[3].digest == "new"
    assert outcomes[3].distilled is not None
