"""A document's training in the service: whom it joins, what is published with it, what leaves with it."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.archive import export_collection
from app.document_training import CompanyChanged
from app.evidence import Mounting
from app.foundation import Foundation, open_foundation, training_settings
from app.publishing import Publisher
from app.reconcile import subject_of
from app.settings import Settings
from app.stopwatch import Stopwatch
from app.storage import open_retriever
from app.tasks import TRANSIENT, StillEnding, Trainer
from app.work_folders import WorkFolders
from cartridge_store.errors import CartridgeNotFound
from cartridge_store.manifest import PositionRule
from retrieval.selection import Selected
from tests.app.app_fakes import fake_distil, fake_distil_collection, make_parts, screening_of
from training.conflicts import Conflict
from training.examples import StudyExample
from training.joining import Joined, Relearned
from training.neighbourhood import Serving
from training.pipeline import Distilled
from training.settings import TrainingRefused, TrainingSettings
from training.studies import Studies

OFFSET = 400  # where fake_distil's cartridges want their questions
TEXT = "The boiler of the {} was serviced by Franz Huber."


@pytest.fixture
def base(settings: Settings) -> Iterator[Foundation]:
    foundation = open_foundation(settings, make_parts())
    yield foundation
    foundation.close()


class Joining:
    """Stands in for `join`: remembers the company, and gives back what it is told to."""

    def __init__(self) -> None:
        self.company: dict[str, list[Serving]] = {}
        self.brought: dict[str, Sequence[str]] = {}
        self.before: dict[str, Any] = {}
        self.relearn: tuple[str, ...] = ()

    def __call__(
        self,
        reader: Any,
        text: Any,
        company: Callable[[Sequence[str], int], Sequence[Serving]],
        settings: TrainingSettings,
        *,
        workdir: Path,
        find: Callable[[str], Sequence[str]],
        before: Any,
        progress: Any,
        cancelled: Any,
    ) -> Joined | None:
        self.before[text.name] = before
        if not company((), 1):
            return None
        self.brought[text.name] = find("Who serviced the boiler?")
        there = [*company([*self.brought[text.name], text.name, "stranger"], 10)]
        self.company[text.name] = there

        def made(words: str, seed: int) -> Any:
            return fake_distil(
                reader,
                words,
                replace(settings, seed=seed),
                workdir=workdir,
                progress=progress,
                cancelled=cancelled,
            )

        return Joined(
            made(text.text, 1),
            tuple(
                Relearned(each.text, each.cartridge, made(each.text.text, 2))
                for each in there
                if each.text.name in self.relearn
            ),
        )


def trainer(
    settings: Settings,
    base: Foundation,
    join: Any,
    draft: Any = lambda *_: None,
    distil: Any = fake_distil,
) -> Trainer:
    return Trainer(
        tally=base.tally,
        report=lambda *_: {},
        library=base.library,
        retriever=lambda: open_retriever(settings, make_parts().encoder(), base.library),
        store=base.store,
        jobs=base.jobs,
        reader=base.reader,
        distil=distil,
        screening=screening_of(settings, base),
        join=join,
        draft=draft,
        distil_collection=fake_distil_collection,
        settings=replace(training_settings(settings), question_offset=OFFSET, min_slots=4),
        work=base.work,
        stop=threading.Event(),
        send_again=lambda _: None,
        shelf=base.shelf,
    )


def trained(base: Foundation, trainer: Trainer, id: str, text: str = TEXT) -> dict[str, Any]:
    document, _ = base.library.put("default", id, None, text.format(id))
    job = base.jobs.open(subject_of(document, base.reader))
    trainer.run(job.id)
    done = base.jobs.get(job.id)
    assert done is not None
    assert done.result is not None, done.error
    return done.result


def test_later_documents_join_what_serves(settings: Settings, base: Foundation) -> None:
    join = Joining()
    training = trainer(settings, base, join)
    assert trained(base, training, "first")["published"]
    assert join.company == {}  # nobody to join: trained for itself
    trained(base, training, "second")
    trained(base, training, "vague", "VAGUE words of the {}.")  # is not published
    base.library.put("default", "waiting", None, "A text without a cartridge.")
    open_retriever(settings, make_parts().encoder(), base.library).reconcile("default")
    trained(base, training, "third")
    (first,) = join.company["second"]
    assert first.text.name == "first"
    assert first.text.studies == str(base.shelf.folder("default", "first").absolute())
    assert first.keys.shape == (2, 1, 4, 8)
    assert "first" in join.brought["third"]
    # Those who serve, whoever retrieval named first: neither itself nor what has no cartridge.
    assert {each.text.name for each in join.company["third"]} == {"first", "second"}
    assert join.company["third"][0].text.name == next(
        name for name in join.brought["third"] if name in ("first", "second")
    )


def test_company_is_of_the_documents_as_they_stand(settings: Settings, base: Foundation) -> None:
    join = Joining()
    training = trainer(settings, base, join)
    for id in ("first", "second", "third"):
        trained(base, training, id)
    base.library.put("default", "first", None, "Another text, and no cartridge of it yet.")
    base.library.delete("default", "second")
    trained(base, training, "fourth")
    assert [each.text.name for each in join.company["fourth"]] == ["third"]
    # Where questions stand elsewhere, nobody can stand together.
    elsewhere = trainer(settings, base, join)
    elsewhere._documents._settings = replace(elsewhere._documents._settings, question_offset=500)
    trained(base, elsewhere, "fifth")
    assert "fifth" not in join.company


def test_neighbours_that_learned_along_are_published_with_it(
    settings: Settings, base: Foundation, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = count(50)
    monkeypatch.setattr(Stopwatch, "seconds", property(lambda _: float(next(seconds))))
    join = Joining()
    training = trainer(settings, base, join)
    for id in ("first", "second"):
        trained(base, training, id)
    before = base.store.current("default", ["first", "second"])
    join.relearn = ("first",)
    result = trained(base, training, "third")
    assert result["published"]
    assert [*result["relearned"]] == ["first"]
    assert result["relearned"]["first"]["published"]
    after = base.store.current("default", ["first", "second", "third"])
    assert after["second"] == before["second"]
    assert after["first"] != before["first"]
    parent = base.store.describe(after["first"]).manifest.parent
    assert parent == before["first"]
    # What its first training took is still known.
    took = [
        base.store.describe(id).manifest.figures["train_seconds"]
        for id in (before["first"], after["first"])
    ]
    assert took[0] == took[1] >= 50
    # For one that is not published nobody is replaced.
    refused = trained(base, training, "vague", "VAGUE words of the {}.")
    assert not refused["published"]
    assert "relearned" not in refused
    assert base.store.current("default", ["first"]) == {"first": after["first"]}


class Drafting:
    """Stands in for `draft`; while a document is trained, notes what serves."""

    def __init__(self, base: Foundation) -> None:
        self.base = base
        self.seen: dict[str, str] = {}

    def __call__(self, reader: Any, text: str, settings: TrainingSettings) -> Distilled:
        keys = torch.randn((2, 1, len(text.split()), 8)).to(torch.bfloat16)
        return Distilled(
            keys=keys,
            values=keys.clone(),
            document_tokens=len(text.split()),
            position_rule=PositionRule("fixed", OFFSET),
            initialiser="whole",
            recipe={"draft": True},
            figures={},
            passed=True,
            reason="",
        )

    def joining(self, reader: Any, text: Any, company: Any, *_: Any, **__: Any) -> None:
        assert company((), 1) == [] or text.name != "first"
        (current,) = self.base.store.current("default", [text.name]).values()
        assert self.base.store.describe(current).manifest.is_draft
        self.seen[text.name] = current


def statuses(base: Foundation) -> dict[str, str]:
    """What serves of each document."""
    current = base.store.current("default", ["first", "second", "vague", "untrainable"])
    drafts = {id: base.store.describe(it).manifest.is_draft for id, it in current.items()}
    return {id: "draft" if draft else "ready" for id, draft in drafts.items()}


def test_a_draft_serves_until_the_training_ends_however_it_ends(
    settings: Settings, base: Foundation
) -> None:
    drafting = Drafting(base)
    training = trainer(settings, base, drafting.joining, drafting)
    assert trained(base, training, "first")["published"]
    first = base.store.current("default", ["first"])["first"]
    assert base.store.describe(first).manifest.parent == drafting.seen["first"]
    assert not trained(base, training, "vague", "VAGUE words of the {}.")["published"]
    document, _ = base.library.put("default", "untrainable", None, "UNTRAINABLE words.")
    training.run(base.jobs.open(subject_of(document, base.reader)).id)
    assert [*drafting.seen] == ["first", "vague", "untrainable"]
    assert statuses(base) == {"first": "ready"}
    # What serves already is not replaced by a draft of the same text.
    again = replace(training._documents._settings, seed=5)
    drafted: list[str] = []
    other = trainer(settings, base, lambda *_, **__: None, lambda _, text, __: drafted.append(text))
    other._documents._settings = again
    subject = subject_of(base.library.get("default", "first"), base.reader)
    other._documents.run(subject, settings.data / "work", lambda _: None, lambda: False)
    assert drafted == []
    assert base.store.current("default", ["first"]) != {"first": first}


@pytest.mark.parametrize("policy", ["warn", "quarantine"])
def test_a_draft_does_not_wait_for_the_screening_and_does_not_outlast_it(
    settings: Settings, base: Foundation, policy: str
) -> None:
    settings = settings.model_copy(update={"conflicts": policy})
    while_screened: list[dict[str, str]] = []

    def steering(*_: Any) -> list[Conflict]:
        while_screened.append(statuses(base))
        return [Conflict("other", "Who serviced the boiler?", "Franz Huber.", "Mira Tolen.")] * 9

    training = trainer(settings, base, lambda *_, **__: None, Drafting(base))
    training._documents._screening._find = steering
    result = trained(base, training, "first")
    held = policy == "quarantine"
    assert while_screened == [{"first": "draft"}]
    assert result["published"] is not held
    assert statuses(base) == ({} if held else {"first": "ready"})
    if held:  # nor is there one when it is tried again
        drafted: list[str] = []
        again = trainer(settings, base, lambda *_, **__: None, lambda _, t, __: drafted.append(t))
        assert trained(base, again, "first")["quarantined"]
        assert drafted == []


@pytest.mark.parametrize("by", ["worker", "reconciler"])
def test_a_draft_is_no_company_and_a_worker_that_stops_leaves_it(
    settings: Settings, base: Foundation, by: str
) -> None:
    drafting, join = Drafting(base), Joining()
    stopping = trainer(settings, base, lambda *_, **__: None, drafting)
    document, _ = base.library.put("default", "first", None, f"SLOW {TEXT}")
    job = base.jobs.open(subject_of(document, base.reader))
    stopping._stop.set()
    stopping.run(job.id)
    assert statuses(base) == {"first": "draft"}
    # It is still to be trained, also when Redis has forgotten that.
    base.jobs.forget("default", "first")
    base.client.delete(f"{settings.redis_prefix}job:{job.id}")
    assert base.reconciler.run().requeued == 1
    trained(base, trainer(settings, base, join, drafting), "second")
    assert join.company == {}
    assert statuses(base) == {"first": "draft", "second": "ready"}
    last = base.jobs.last_of("default", ["first"])["first"]
    base.jobs.cancel(last)
    if by == "worker":
        stopping.run(last.id)
    else:
        base.reconciler.run()
    assert statuses(base) == {"second": "ready"}


def test_a_draft_stays_for_the_newer_version_of_the_same_text(
    settings: Settings, base: Foundation
) -> None:
    drafting = Drafting(base)
    stopping = trainer(settings, base, lambda *_, **__: None, drafting)
    document, _ = base.library.put("default", "first", "A title", f"SLOW {TEXT}")
    old = base.jobs.open(subject_of(document, base.reader))
    stopping._stop.set()
    stopping.run(old.id)
    renamed, _ = base.library.put("default", "first", "Another title", f"SLOW {TEXT}")
    new = base.jobs.open(subject_of(renamed, base.reader))
    stopping.run(old.id)  # superseded: it is to leave nothing behind but what serves the newer one
    assert not settings.data.joinpath("training", old.id).exists()
    assert statuses(base) == {"first": "draft"}
    base.jobs.cancel(new)
    stopping.run(new.id)
    assert statuses(base) == {}
    assert not settings.data.joinpath("training", new.id).exists()


def test_a_job_whose_folder_is_not_free_yet_is_tried_again(
    settings: Settings, base: Foundation
) -> None:
    """Or its only message would be spent while another process is ending it."""
    document, _ = base.library.put("default", "first", None, TEXT)
    job = base.jobs.open(subject_of(document, base.reader))
    training = trainer(settings, base, lambda *_, **__: None)
    work = WorkFolders(settings.data / "training")
    with work.exclusive(job.id) as mine:
        assert mine
        with pytest.raises(StillEnding):
            training.run(job.id)
        base.jobs.start(job.id)
        training.run(job.id)  # somebody is at it
    assert base.jobs.get(job.id).status == "running"  # type: ignore[union-attr]
    assert isinstance(StillEnding(), TRANSIENT)


def test_a_message_that_names_another_folder_is_left(
    settings: Settings, base: Foundation, caplog: pytest.LogCaptureFixture
) -> None:
    base.library.put("default", "first", None, TEXT)
    training = trainer(settings, base, lambda *_, **__: None)
    training.run("../documents")
    assert base.library.count() == 1
    assert "no job's id" in caplog.text


def test_a_draft_that_ends_gives_way_to_what_it_replaced(
    settings: Settings, base: Foundation
) -> None:
    drafting = Drafting(base)
    training = trainer(settings, base, drafting.joining, drafting)
    trained(base, training, "first")
    first = base.store.current("default", ["first"])["first"]
    parent = base.store.describe(first).manifest.parent
    with pytest.raises(CartridgeNotFound):  # of drafts nothing is kept
        base.store.describe(str(parent))
    refused = trained(base, training, "first", "VAGUE and something else of the {}.")
    assert not refused["published"]
    assert base.store.current("default", ["first"]) == {"first": first}
    # One that cannot be made costs no training.
    broken = trainer(settings, base, Joining(), lambda *_: 1 / 0)
    assert trained(base, broken, "second")["published"]


def test_neither_reports_nor_archives_take_a_draft_for_a_cartridge(
    settings: Settings, base: Foundation, tmp_path: Path
) -> None:
    drafting = Drafting(base)
    document, _ = base.library.put("default", "first", None, TEXT)
    distilled = drafting(base.reader, TEXT, training_settings(settings))
    publisher = Publisher(base.library, base.store, base.reader)
    assert publisher.publish(subject_of(document, base.reader), distilled)["published"]
    mounting = Mounting(base.store, base.reader, passages=2)
    found = [(document, Selected("first", 1.0, ()))]
    (drafted,) = mounting.mount(found, "auto", [])
    (read,) = mounting.mount(found, "auto", [], drafts=False)
    assert (drafted.source.via, read.source.via) == ("cartridge", "text")
    documents, cartridges = export_collection(
        "default", tmp_path / "house.zip", base.library, base.store, base.noted
    )
    assert (documents, cartridges) == (1, 0)


@pytest.mark.parametrize("what", ["deleted", "changed", "trained by another"])
def test_a_neighbour_that_is_another_now_is_left_and_all_is_tried_again(
    settings: Settings, base: Foundation, what: str
) -> None:
    join = Joining()
    training = trainer(settings, base, join)
    for id in ("first", "second"):
        trained(base, training, id)
    join.relearn = ("first",)

    def meanwhile(*arguments: Any, **named: Any) -> Joined | None:
        joined = join(*arguments, **named)
        if what == "deleted":
            base.library.delete("default", "first")
            base.store.remove_document("default", "first")
        elif what == "changed":
            base.library.put("default", "first", None, "Something else.")
        else:
            document = base.library.get("default", "first")
            other = replace(training_settings(settings), seed=77)
            distilled = fake_distil(
                base.reader,
                document.text,
                other,
                workdir=settings.data,
                progress=lambda _: None,
                cancelled=lambda: False,
            )
            publisher = Publisher(base.library, base.store, base.reader)
            assert publisher.publish(subject_of(document, base.reader), distilled)["published"]
        return joined

    document, _ = base.library.put("default", "third", None, TEXT.format("third"))
    job = base.jobs.open(subject_of(document, base.reader))
    with pytest.raises(CompanyChanged, match="first has changed or come"):
        trainer(settings, base, meanwhile).run(job.id, last_try=False)
    waiting = base.jobs.get(job.id)
    assert waiting is not None
    assert waiting.status == "queued"
    current = base.store.current("default", ["first", "third"])
    assert "third" not in current
    assert ("first" in current) == (what != "deleted")
    # The next try finds its neighbours as they are now.
    trainer(settings, base, join).run(job.id)
    assert "third" in base.store.current("default", ["third"])


def test_who_learned_alone_while_another_was_published_learns_beside_it(
    settings: Settings, base: Foundation
) -> None:
    join = Joining()
    other = trainer(settings, base, join)

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        if not base.store.current("default", ["first"]):
            trained(base, other, "first")
        return fake_distil(*arguments, **named)

    document, _ = base.library.put("default", "second", None, TEXT.format("second"))
    job = base.jobs.open(subject_of(document, base.reader))
    with pytest.raises(CompanyChanged, match="first has changed or come"):
        trainer(settings, base, join, distil=meanwhile).run(job.id, last_try=False)
    assert "second" not in base.store.current("default", ["second"])
    trainer(settings, base, join, distil=meanwhile).run(job.id)
    assert "second" in base.store.current("default", ["second"])
    assert [each.text.name for each in join.company["second"]] == ["first"]


def test_studies_leave_with_their_document(settings: Settings, base: Foundation) -> None:
    base.library.put("default", "boiler", None, TEXT)
    folders = [base.shelf.folder("default", id) for id in ("boiler", "gone")]
    with base.shelf.for_documents("default", ["boiler", "gone"], base.library):
        for folder in folders:
            folder.mkdir(parents=True)
            (folder / "study.parquet").write_bytes(b"what it says")
    assert [folder.exists() for folder in folders] == [True, False]
    # Of a trainer that died in between, the next reconciling cleans up.
    folders[1].mkdir()
    assert sorted(base.shelf.kept()) == [("default", "boiler"), ("default", "gone")]
    base.reconciler.run()
    assert [*base.shelf.kept()] == [("default", "boiler")]


def test_deleting_a_document_deletes_its_studies(
    serve: Callable[..., Any], settings: Settings
) -> None:
    with serve() as client:
        client.post("/v1/documents", json={"id": "boiler", "text": TEXT})
        folder = settings.data / "studies" / "default" / "boiler"
        folder.mkdir(parents=True)
        assert client.delete("/v1/documents/boiler").status_code == 204
        assert not folder.exists()


def test_a_document_that_changed_a_little_starts_from_what_it_was(
    settings: Settings, base: Foundation
) -> None:
    join = Joining()
    training = trainer(settings, base, join)
    lines = [f"The {thing} is kept in room {n}." for n, thing in enumerate(("key", "map", "log"))]
    text, recipe = "\n".join(lines), replace(training_settings(settings), question_offset=OFFSET)

    def studied(words: str) -> None:
        studies = Studies(base.shelf.folder("default", "first"))
        ids, logprobs = np.zeros((1, 1), np.int32), np.zeros((1, 1), np.float32)
        example = StudyExample("question", (1,), (2,), ids, logprobs, "Where?")
        studies.keep(base.reader, words, recipe, [example], 1.0)

    trained(base, training, "first", text)
    assert join.before["first"] is None  # it was nothing before
    studied(text)
    (serving,) = base.store.current("default", ["first"]).values()
    changed = text.replace("room 1", "room 7")
    trained(base, training, "first", changed)
    before = join.before["first"]
    assert before.cartridge == serving
    assert torch.equal(before.keys, base.store.load(serving).keys)
    # What serves is of the changed text now, and the study of that one was never kept.
    trained(base, training, "first", text.replace("room 2", "room 9"))
    assert join.before["first"] is None
    # Of another text altogether nothing is of use.
    studied(text.replace("room 2", "room 9"))
    trained(base, training, "first", "Something else.")
    assert join.before["first"] is None


def test_a_run_that_goes_on_begins_where_it_began(settings: Settings, base: Foundation) -> None:
    """Killed when its cartridge was published already: that one is not what the document was."""
    join = Joining()
    training = trainer(settings, base, join)
    text = "The key is kept in room 1.\nThe map is kept in room 2.\nThe log is kept in room 3."
    trained(base, training, "first", text)
    recipe = replace(training_settings(settings), question_offset=OFFSET)
    ids, logprobs = np.zeros((1, 1), np.int32), np.zeros((1, 1), np.float32)
    example = StudyExample("question", (1,), (2,), ids, logprobs, "Where?")
    Studies(base.shelf.folder("default", "first")).keep(base.reader, text, recipe, [example], 1.0)
    (was,) = base.store.current("default", ["first"]).values()
    document, _ = base.library.put("default", "first", None, text.replace("1", "7"))
    subject = subject_of(document, base.reader)
    workdir = settings.data / "training" / "job"
    for _ in range(2):
        result = training._documents.run(subject, workdir, lambda _: None, lambda: False)
        assert result["published"]
        assert join.before["first"].cartridge == was
    assert base.store.current("default", ["first"]) != {"first": was}
    # A document that has grown wants more slots than it had.
    grown, _ = base.library.put("default", "first", None, text + " It is long." * 60)
    assert training._documents._before(grown, settings.data / "training" / "other") is None


def test_an_older_version_replaces_no_newer_one(
    settings: Settings, base: Foundation, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafting, publisher = Drafting(base), Publisher(base.library, base.store, base.reader)

    def publish(text: str, **options: Any) -> tuple[dict[str, Any], str]:
        document, _ = base.library.put("default", "first", None, text)
        made = drafting(base.reader, text, training_settings(settings))
        result = publisher.publish(subject_of(document, base.reader), made, **options)
        return result, document.sha256

    current = base.store.current

    def overtaken(*arguments: Any) -> dict[str, str]:
        monkeypatch.setattr(base.store, "current", current)
        assert publish("Something else.")[0]["published"]
        return current(*arguments)

    monkeypatch.setattr(base.store, "current", overtaken)
    result, _ = publish("The first text.")
    assert (result["published"], "newer version" in result["reason"]) == (False, True)
    serving = base.store.current("default", ["first"])["first"]
    text = base.library.get("default", "first")
    assert base.store.describe(serving).manifest.document_sha256 == text.sha256
    # One that learned along replaces what it learned from, and nothing else.
    result, _ = publish("Something else.", replaces="c" + "0" * 40)
    assert (result["published"], "meanwhile" in result["reason"]) == (False, True)
    assert publish("Something else.", replaces=serving)[0]["published"]


def test_a_late_message_of_an_earlier_job_leaves_the_draft_of_the_later_one(
    settings: Settings, base: Foundation
) -> None:
    ended: list[str] = []

    def join(*_: Any, **__: Any) -> None:
        if not ended:
            raise TrainingRefused("Not now.")
        training.run(ended[0])
        (current,) = base.store.current("default", ["first"]).values()
        assert base.store.describe(current).manifest.is_draft

    training = trainer(settings, base, join, Drafting(base))
    document, _ = base.library.put("default", "first", None, TEXT.format("first"))
    job = base.jobs.open(subject_of(document, base.reader))
    training.run(job.id)
    assert base.store.current("default", ["first"]) == {}
    ended.append(job.id)
    again = base.jobs.open(subject_of(document, base.reader), "again")
    training.run(again.id)
    done = base.jobs.get(again.id)
    assert done is not None
    assert done.status == "succeeded", done.error
