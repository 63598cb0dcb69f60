"""A collection trained by a fleet: the very cartridges of one process, whoever trains them and dies."""

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import training.collection as collection
from inference.reader import Reader, load_reader
from tests.models import QUESTIONS, TEXT, studied_questions, write_tiny_model
from training.collection import Outcome, Text, distil_collection
from training.examples import StudyExample, read_examples, write_examples
from training.fleet.collection import Finish, Finished, FleetTraining
from training.fleet.executor import Executor
from training.fleet.grouping import affinity, partition
from training.fleet.in_process import InProcessExecutor
from training.fleet.ray_executor import RayExecutor
from training.fleet.task import TaskFailed
from training.fleet.work import ReaderSpec, read_slots
from training.naming import short_digest
from training.pipeline import distil
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
TEXTS = [Text(f"d{n}", f"{n}" * 8, f"Document d{n}. {TEXT}") for n in range(6)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="module")
def reader(path: Path) -> Reader:
    return load_reader(path, dtype="float32")


@pytest.fixture(scope="module")
def named(path: Path, reader: Reader) -> ReaderSpec:
    return ReaderSpec(str(path), "cpu", "float32", reader.fingerprint)


Studies = dict[str, list[StudyExample]]


@pytest.fixture(scope="module")
def studies(reader: Reader) -> Studies:
    """By digest. A random reader asks nothing: its study is of given questions."""
    return {text.digest: examples_of(reader, text) for text in TEXTS}


@pytest.fixture
def here(reader: Reader, named: ReaderSpec) -> InProcessExecutor:
    return InProcessExecutor(kept={named.key: reader})


Ran = tuple[list[Finished], dict[str, bytes]]
"""What became of the texts, and every file of slots by its place."""


@pytest.fixture(scope="module")
def whole(
    reader: Reader, named: ReaderSpec, studies: Studies, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Ran, list[Progress], Path]:
    """A run in this process that nothing disturbed."""
    told: list[Progress] = []
    folder = tmp_path_factory.mktemp("whole")
    executor = InProcessExecutor(kept={named.key: reader})
    return run(executor, named, studies, folder, progress=told.append), told, folder


def found(question: str) -> list[str]:
    """Even ones look like even ones, odd ones like odd ones, as far as retrieval can see."""
    number = int(question.rsplit(" ", 1)[1])
    return [f"d{n}" for n in range(number % 2, 6, 2)]


def examples_of(reader: Reader, text: Text) -> list[StudyExample]:
    number = int(text.name[1:])
    asked = [f"{question} {10 * n + number % 2}" for question in QUESTIONS for n in range(2)]
    made = studied_questions(reader, text.text, asked, max_tokens=5, top_k=4)
    return [replace(e, question=q) for e, q in zip(made, asked, strict=True)]


def run(
    executor: Executor,
    named: ReaderSpec,
    studies: Studies,
    folder: Path,
    texts: Sequence[Text] = TEXTS,
    **changes: Any,
) -> Ran:
    fleet = FleetTraining(executor, named, SETTINGS, folder, **{"group": 3} | changes)
    for text in texts:
        study = fleet.workspace / "studies" / f"{text.digest}.parquet"
        study.parent.mkdir(parents=True, exist_ok=True)
        if text.digest in studies and not study.exists():
            write_examples(study, studies[text.digest])
    finished = list(fleet.together(texts, found))
    slots = fleet.workspace.glob("groups/*/slots/*.safetensors")
    return finished, {str(p.relative_to(fleet.workspace)): p.read_bytes() for p in slots}


def in_one_process(
    reader: Reader, studies: Studies, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Outcome]:
    """What `distil_collection` makes of the same studies."""

    def kept(
        _: Reader,
        text: str,
        settings: TrainingSettings,
        path: Path,
        report: Callable[[float], None],
        annotate: Callable[[list[StudyExample]], list[StudyExample]],
        kept_in: Path | None,
    ) -> list[StudyExample]:
        if not path.exists():
            write_examples(path, annotate(studies[path.stem.split("-")[0]]))
        return read_examples(path)

    monkeypatch.setattr(collection, "kept_study", kept)
    with one_thread():
        outcomes = distil_collection(reader, TEXTS, SETTINGS, workdir=folder, find=found)
        return {outcome.name: outcome for outcome in outcomes}


@contextmanager
def one_thread() -> Iterator[None]:
    """As a fleet's tasks have it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_one_group_gives_the_cartridges_of_a_collection_trained_without_a_fleet(
    here: InProcessExecutor,
    reader: Reader,
    named: ReaderSpec,
    studies: Studies,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finished, files = run(here, named, studies, tmp_path, group=20)
    wanted = in_one_process(reader, studies, tmp_path / "alone", monkeypatch)
    assert [each.name for each in finished] == [text.name for text in TEXTS]
    (folder,) = tmp_path.glob("*/groups/*/slots")
    assert len(files) == 6
    for number, each in enumerate(finished):
        distilled = wanted[each.name].distilled
        assert distilled is not None
        assert each.result == {
            "passed": distilled.passed,
            "reason": distilled.reason,
            "figures": distilled.figures,
        }
        keys, values = read_slots(folder / f"{number}.safetensors")
        assert torch.equal(keys, distilled.keys)
        assert torch.equal(values, distilled.values)


def test_a_killed_worker_changes_no_bit_of_any_cartridge(
    whole: tuple[Ran, list[Progress], Path],
    named: ReaderSpec,
    studies: Studies,
    tmp_path: Path,
    ray_fleet: RayExecutor,
) -> None:
    (done_here, wanted), _, _ = whole
    killed: list[int] = []

    def kill_one() -> bool:
        # In the middle of a group's training: its pool is there, its slots are not.
        if not killed and [*tmp_path.glob("*/groups/*/*/joint-*/pool/pool.json")]:
            killed.append(ray_fleet.pids[0])
            os.kill(killed[0], signal.SIGKILL)
        return False

    done, files = run(ray_fleet, named, studies, tmp_path, cancelled=kill_one)
    assert killed
    assert files == wanted
    assert len(files) == 6
    assert sorted(done, key=lambda e: e.name) == sorted(done_here, key=lambda e: e.name)
    assert len({each.name for each in done}) == 6


def test_progress_goes_through_the_stages(whole: tuple[Ran, list[Progress], Path]) -> None:
    _, told, _ = whole
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert [*dict.fromkeys(each.stage for each in told)] == ["self-study", "distillation", "check"]
    assert told[-1].done == pytest.approx(1.0)


def test_look_alikes_train_together(whole: tuple[Ran, list[Progress], Path]) -> None:
    _, _, folder = whole
    groups = [
        sorted(member["name"] for member in json.loads(path.read_text())["members"])
        for path in folder.glob("*/groups/*/*/members.json")
    ]
    assert sorted(groups) == [["d0", "d2", "d4"], ["d1", "d3", "d5"]]


def test_a_run_that_was_stopped_ends_as_one_that_was_not_though_documents_left(
    here: InProcessExecutor,
    whole: tuple[Ran, list[Progress], Path],
    named: ReaderSpec,
    studies: Studies,
    tmp_path: Path,
) -> None:
    looks = 0

    def after_a_while() -> bool:
        nonlocal looks
        looks += bool([*tmp_path.glob("*/groups.json")])
        return looks > 12

    with pytest.raises(Cancelled):
        run(here, named, studies, tmp_path, cancelled=after_a_while)
    finished, files = run(here, named, studies, tmp_path, [])
    assert (finished, files) == whole[0]


def test_what_cannot_be_trained_is_left_out_with_its_reason(
    here: InProcessExecutor, named: ReaderSpec, studies: Studies, tmp_path: Path
) -> None:
    short = Text("short", "s", "No")
    finished, _ = run(here, named, studies, tmp_path, [*TEXTS[:4], short])
    assert {each.name: each.reason for each in finished if each.result is None} == {
        "short": "it is too short to train on; answer it from its text."
    }
    with pytest.raises(TrainingRefused, match="at least two documents"):
        run(here, named, studies, tmp_path / "one", [TEXTS[0], short])


def test_a_document_trained_for_itself_is_what_distil_makes_of_it(
    here: InProcessExecutor, reader: Reader, named: ReaderSpec, studies: Studies, tmp_path: Path
) -> None:
    finish = Finish("training.fleet.work:isolated")
    fleet = FleetTraining(here, named, SETTINGS, tmp_path, finish=finish)
    own = f"{TEXTS[0].digest}-{short_digest(TEXTS[0].name)}"
    for folder in (tmp_path / "alone", fleet.workspace / "isolated" / own):
        folder.mkdir(parents=True)
        write_examples(folder / "examples.parquet", studies[TEXTS[0].digest])
    trained, short = fleet.alone([TEXTS[0], Text("short", "s", "No")])
    assert "too short" in short.reason
    assert trained.result is not None
    with one_thread():
        wanted = distil(reader, TEXTS[0].text, SETTINGS, workdir=tmp_path / "alone")
    keys, values = read_slots(fleet.workspace / trained.result["slots"])
    assert torch.equal(keys, wanted.keys)
    assert torch.equal(values, wanted.values)
    assert trained.result["figures"] == wanted.figures


def test_a_node_with_another_reader_is_refused(
    here: InProcessExecutor, named: ReaderSpec, tmp_path: Path
) -> None:
    other = replace(named, fingerprint="0" * 64)
    fleet = FleetTraining(here, other, SETTINGS, tmp_path)
    with pytest.raises(TrainingRefused, match="give every node the same"):
        list(fleet.together(TEXTS, found))


def test_what_nobody_expected_names_its_task(
    here: InProcessExecutor,
    named: ReaderSpec,
    studies: Studies,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr("training.fleet.work.train_together", broken)
    with pytest.raises(TaskFailed, match=r"Task group-\w+ failed with OSError: the disk is gone"):
        run(here, named, studies, tmp_path)


def test_groups_are_few_even_and_hold_look_alikes() -> None:
    names = [f"d{n}" for n in range(12)]
    rivals = {
        name: [[other for other in names if int(other[1:]) % 3 == int(name[1:]) % 3]]
        for name in names
    }
    groups = partition(names, affinity(rivals), 4)
    assert groups == [tuple(f"d{n}" for n in range(k, 12, 3)) for k in range(3)]
    for count in range(2, 40):
        for most in range(3, 9):
            groups = partition([f"n{n}" for n in range(count)], {}, most)
            sizes = [len(group) for group in groups]
            assert sum(sizes) == count
            assert max(sizes) <= most
            assert min(sizes) >= max(2, max(sizes) - 1)
            assert len(sizes) == -(-count // most)
    assert partition([], {}, 3) == []
    with pytest.raises(TrainingRefused, match="at least 3"):
        partition(names, {}, 2)
