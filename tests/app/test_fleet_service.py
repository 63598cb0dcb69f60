"""The service with a fleet: collections and reports go to its workers, who publish at most once."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.collection_training import CollectionTraining
from app.fleet import Fleet, FleetTrouble, open_fleet
from app.fleet_work import Station
from app.foundation import Foundation, open_foundation, training_settings
from app.parts import Parts
from app.publishing import Publisher
from app.reconcile import subject_of
from app.report_files import ReportFiles
from app.reporting import Reporting
from app.settings import Settings
from app.storage import open_retriever, registry_prefix
from app.tasks import TRANSIENT
from app.wiring import open_answering
from cartridge_store.registry import Registry
from evaluation.report.records import RecordFolder
from retrieval.encoder import LexicalEncoder
from tests.app.app_fakes import FakeEngine, screening_of
from tests.models import TEXT, write_tiny_model
from tests.training.test_fleet_collection import one_thread
from training.collection import Text, distil_collection
from training.fleet.in_process import InProcessExecutor
from training.fleet.ray_executor import RayExecutor
from training.fleet.task import Task, TaskFailed, WorkersLost
from training.settings import Progress

TINY: dict[str, Any] = {
    "min_slots": 4,
    "question_offset": 128,
    "min_conversations": 16,
    "conversations_per_token": 0.01,
    "rounds": 1,
    "max_question": 8,
    "max_answer": 8,
    "batch": 8,
    "min_steps": 3,
    "max_steps": 3,
    "held_out": 2,
    "beside": 1,
    "accept_at": 0.0,  # a random reader learns nothing that a check could find
}
NAMES = [f"d{number}" for number in range(4)]


@pytest.fixture(scope="module")
def tiny_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("reader") / "tiny")


@pytest.fixture
def tiny(settings: Settings, tiny_reader: Path) -> Settings:
    changes = {
        "reader": str(tiny_reader),
        "device": "cpu",
        "training": TINY,
        "fleet": "local",
        "fleet_workers": 2,
        "fleet_group": 3,
    }
    return settings.model_copy(update=changes)


@pytest.fixture
def parts() -> Parts:
    return Parts(encoder=LexicalEncoder, engine=lambda *_: FakeEngine())


@pytest.fixture
def base(tiny: Settings, parts: Parts) -> Iterator[Foundation]:
    with closing(open_foundation(tiny, parts)) as base:
        for name in NAMES:
            base.library.put("default", name, None, f"Document {name}. {TEXT}")
        yield base


def fleet_of(settings: Settings, base: Foundation) -> Fleet:
    fleet = open_fleet(settings, base.reader, training_settings(settings))
    assert fleet is not None
    return fleet


def here(tiny: Settings, parts: Parts, base: Foundation) -> Fleet:
    """The fleet's work in this process, at the station that the fixtures opened."""
    fleet = fleet_of(tiny, base)
    kept = {"station": Station(tiny, parts, base), fleet.reader.key: base.reader}
    return replace(fleet, open_executor=lambda: InProcessExecutor(kept=kept))


def training(
    settings: Settings, parts: Parts, base: Foundation, fleet: Fleet | None
) -> CollectionTraining:
    return CollectionTraining(
        library=base.library,
        retriever=lambda: open_retriever(settings, parts.encoder(), base.library),
        publisher=Publisher(base.library, base.store, base.reader),
        reader=base.reader,
        distil_collection=distil_collection,
        screening=screening_of(settings, base),
        settings=training_settings(settings),
        tally=base.tally,
        shelf=base.shelf,
        fleet=fleet,
    )


def versions(settings: Settings, base: Foundation) -> dict[str, set[str]]:
    """Everything that was ever promoted, by document."""
    registry = Registry(base.client, registry_prefix(settings))
    return {name: registry.versions("default", name) for name in NAMES}


def test_without_the_setting_there_is_no_fleet(settings: Settings, base: Foundation) -> None:
    assert open_fleet(settings, base.reader, training_settings(settings)) is None


def test_a_collection_is_trained_and_published_by_ray_workers_of_which_one_dies(
    tiny: Settings, parts: Parts, base: Foundation, tmp_path: Path, ray_fleet: RayExecutor
) -> None:
    opened: list[RayExecutor] = []
    fleet = fleet_of(tiny, base)

    def open_executor() -> RayExecutor:
        executor = fleet.open_executor()
        assert isinstance(executor, RayExecutor)
        opened.append(executor)
        return executor

    killed: list[int] = []

    def kill_one() -> bool:
        # When all is trained and nothing is told yet: whoever is given a document to publish next dies.
        if not killed and len([*tmp_path.glob("job/*/groups/*/slots/*.safetensors")]) == 4:
            killed.append(opened[0].pids[0])
            os.kill(killed[0], signal.SIGKILL)
        return False

    told: list[Progress] = []
    result = training(tiny, parts, base, replace(fleet, open_executor=open_executor)).run(
        "default", tmp_path / "job", told.append, kill_one
    )
    assert result["published"] == 4
    assert killed
    assert opened[0].given_again
    assert told[-1].done == pytest.approx(1.0)
    found = versions(tiny, base)
    assert {name: len(ids) for name, ids in found.items()} == dict.fromkeys(NAMES, 1)
    assert base.tally.all()["checks_passed"] == 4
    # What one process makes of the same documents, from nothing, is the very same.
    for name in NAMES:
        base.store.remove_document("default", name)
    again = training(tiny, parts, base, here(tiny, parts, base)).run(
        "default", tmp_path / "again", told.append, lambda: False
    )
    ids = {name: {each["cartridge_id"]} for name, each in again["documents"].items()}
    assert ids == found


def test_a_task_that_is_done_again_publishes_nothing_more(
    tiny: Settings, parts: Parts, base: Foundation, tmp_path: Path
) -> None:
    specs: dict[str, dict[str, Any]] = {}

    class Noting(InProcessExecutor):
        def run(self, tasks: Sequence[Task], **how: Any) -> Iterator[Any]:
            specs.update({t.id: dict(t.spec) for t in tasks if t.work.endswith(":publish")})
            return super().run(tasks, **how)

    fleet = here(tiny, parts, base)
    kept = {"station": Station(tiny, parts, base), fleet.reader.key: base.reader}
    noting = replace(fleet, open_executor=lambda: Noting(kept=kept))
    training(tiny, parts, base, noting).run(
        "default", tmp_path / "job", lambda _: None, lambda: False
    )
    before = versions(tiny, base)
    # Another worker, which knows nothing of the first, after all of them had published.
    with closing(open_foundation(tiny, parts)) as other:
        executor = InProcessExecutor(kept={"station": Station(tiny, parts, other)})
        tasks = [Task(name, "app.fleet_work:publish", spec) for name, spec in specs.items()]
        again = {done.task_id: done.result for done in executor.run(tasks)}
    assert versions(tiny, base) == before
    assert {name: {each["cartridge_id"]} for name, each in again.items()} == before


def test_what_is_not_wanted_any_more_is_not_published(
    tiny: Settings, parts: Parts, base: Foundation, tmp_path: Path
) -> None:
    fleet = here(tiny, parts, base)
    texts = [Text(d.id, d.sha256, d.text) for d in base.library.list("default")]
    subjects = {d.id: subject_of(d, base.reader) for d in base.library.list("default")}
    base.library.put("default", "d0", None, "It is new now.")
    del subjects["d1"]
    results = dict(
        fleet.train(
            texts,
            subjects,
            lambda _: [],
            workdir=tmp_path,
            progress=lambda _: None,
            cancelled=lambda: False,
        )
    )
    assert [results[name]["published"] for name in NAMES] == [False, False, True, True]
    assert results["d0"]["reason"] == "The document was deleted or has a newer version."


def test_without_a_fleet_the_cartridges_are_those_of_a_fleet_with_one_group(
    tiny: Settings, parts: Parts, base: Foundation, tmp_path: Path
) -> None:
    with one_thread():
        alone = training(tiny, parts, base, None).run(
            "default", tmp_path / "alone", lambda _: None, lambda: False
        )
    for name in NAMES:
        base.store.remove_document("default", name)
        base.shelf.forget("default", name)
    one_group = tiny.model_copy(update={"fleet_group": 20})
    fleet = training(tiny, parts, base, here(one_group, parts, base)).run(
        "default", tmp_path / "fleet", lambda _: None, lambda: False
    )
    assert fleet == alone


def test_a_report_asked_by_a_fleet_has_every_record_once(
    tiny: Settings, parts: Parts, base: Foundation
) -> None:
    files = ReportFiles(tiny.data / "reports")
    request = {
        "collection": "default",
        "title": "Gates",
        "arms": ["no_context", "icl", "rag_1"],
        "questions": [
            {
                "id": None,
                "question": f"Who painted gate {n}?",
                "answers": ["x"],
                "documents": ["d0"],
            }
            for n in range(45)
        ],
        "seeds": [0],
        "temperature": 0.0,
        "concurrency": 0,
        "max_tokens": 4,
        "created_at": "2026-01-01T00:00:00Z",
    }
    report = f"r{'0' * 31}"
    folder = files.create(report, request)
    retriever = open_retriever(tiny, parts.encoder(), base.library)
    retriever.reconcile("default")
    answering = open_answering(tiny, base, retriever, FakeEngine())
    told: list[Progress] = []
    reporting = Reporting(
        answering=lambda: answering,
        library=base.library,
        store=base.store,
        reader=base.reader,
        files=files,
        settings=training_settings(tiny),
        shelf=base.shelf,
        fleet=here(tiny, parts, base),
    )
    assert reporting.run(report, told.append)["questions"] == 45
    (run,) = folder.runs.iterdir()
    found = RecordFolder(run / "records").read()
    assert len(found) == len({record.key for record in found}) == 135
    assert not any(record.invalid for record in found)
    assert folder.finished
    assert [each.done for each in told] == sorted(each.done for each in told)
    # Whatever the collection has become: answers go where the report began.
    reporting.ask(report, "begun", range(1))
    assert len(RecordFolder(folder.runs / "begun" / "records").read()) == 3


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (WorkersLost("no cluster"), FleetTrouble),
        (TaskFailed("d0", ["StorageFull"], "free some space"), FleetTrouble),
        (TaskFailed("d0", ["BusyLoadingError", "RedisError"], "loading"), FleetTrouble),
        (TaskFailed("d0", ["KeyError"], "a bug"), TaskFailed),
    ],
)
def test_what_may_pass_is_tried_again_later(
    error: Exception, raised: type[Exception], tiny: Settings, base: Foundation, tmp_path: Path
) -> None:
    class Broken(InProcessExecutor):
        def run(self, tasks: Sequence[Task], **how: Any) -> Iterator[Any]:
            raise error

    fleet = replace(fleet_of(tiny, base), open_executor=Broken)
    with pytest.raises(raised, match=str(error).split(": ")[-1]):
        fleet.ask("r", "run", 1, lambda _: None, lambda: False)
    assert issubclass(FleetTrouble, TRANSIENT)
    assert not issubclass(TaskFailed, TRANSIENT)
