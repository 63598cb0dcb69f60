"""Reporting: every question asked by every arm through the path that serves, scored and compared.

What is answered is kept at once, so that a report that was stopped goes on where it was. Arms take turns
question by question: whatever else the machine does falls on all alike. Knows answering and reports; knows
no HTTP and no queue.
"""

import json
import logging
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
import transformers

from app.answering import Answering
from app.fleet import Fleet
from app.report_arms import ARMS
from app.report_cartridges import MadeCartridges, training_cost
from app.report_files import ReportFiles, ReportFolder
from app.report_run import Run, Way
from app.report_scoring import scored, unanswered
from app.report_throughput import NOT_ASKED, QUESTIONS_EACH, throughput
from app.study_shelf import StudyShelf
from cartridge_store.errors import StoreError
from cartridge_store.manifest import Manifest
from cartridge_store.store import CartridgeStore
from evaluation.datasets.questions import Question
from evaluation.report.as_json import to_json
from evaluation.report.assembly import assemble
from evaluation.report.costs import Throughput
from evaluation.report.html import to_html
from evaluation.report.markdown import to_markdown
from evaluation.report.records import Record
from evaluation.report.report import Report
from inference.reader import Reader
from inference.requests import ServerStumbled
from retrieval.documents import DocumentLibrary
from retrieval.durable import replace_file
from retrieval.errors import DocumentCorrupt, DocumentNotFound
from training.naming import short_digest
from training.settings import Cancelled, Progress, TrainingSettings

logger = logging.getLogger(__name__)

_KEPT_TOGETHER = 20  # answers in a file
_BARE = ("cartridges_1", "cartridges_3", "cartridges_5", "oracle_cartridge")
_CARTRIDGES = ("cartridge_then_passage", *_BARE[:3], "cartridge_and_passage", "oracle_cartridge")
_TEXTS = ("rag_3", "rag_5", "rag_1", "rag_10", "icl")


class Reporting:
    """Makes reports over one service's documents."""

    def __init__(
        self,
        *,
        answering: Callable[[], Answering],
        library: DocumentLibrary,
        store: CartridgeStore,
        reader: Reader,
        files: ReportFiles,
        settings: TrainingSettings,
        shelf: StudyShelf,
        fleet: Fleet | None = None,
    ) -> None:
        """`answering` is opened by the first report: it holds an engine. `settings` are the recipe of
        the cartridges that a report makes for itself. A `fleet` asks the questions where there is one.
        """
        self._answering = answering
        self._library = library
        self._store = store
        self._reader = reader
        self._files = files
        self._settings = settings
        self._shelf = shelf
        self._fleet = fleet

    def run(
        self,
        report_id: str,
        progress: Callable[[Progress], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Make the report, or what is left of it; a summary for its job.

        Raises Cancelled, with everything that was answered kept, or where its order went meanwhile, and
        DocumentNotFound for a report that was never ordered.
        """
        folder, run = self._opened(report_id, progress, cancelled)
        try:
            self._make(run)
            if self._fleet is not None:
                self._fleet.ask(report_id, run.folder.name, len(run.questions), progress, cancelled)
            else:
                self._ask(run, range(len(run.questions)))
            measured = self._throughput(run)
            progress(Progress("report", 0.98))
            found = self._assembled(run, measured)
            folder.finish(
                {
                    "application/json": to_json(found),
                    "text/markdown": to_markdown(found),
                    "text/html": to_html(found),
                }
            )
        except FileNotFoundError as error:
            if folder.ordered:
                raise
            raise Cancelled from error
        finally:
            folder.follow_order()
        return {"report": report_id, "lead": found.lead, "questions": len(run.questions)}

    def ask(
        self,
        report_id: str,
        run_name: str,
        numbers: range,
        progress: Callable[[Progress], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Ask some of a report's questions, those that are not answered yet. Raises as `run` does.

        `run_name` is the folder's that whoever asks for them reads the answers from.
        """
        folder, run = self._opened(report_id, progress, cancelled, run_name)
        try:
            self._ask(run, numbers)
        finally:
            folder.follow_order()

    def _opened(
        self,
        report_id: str,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
        run_name: str | None = None,
    ) -> tuple[ReportFolder, Run]:
        folder = self._files.find(report_id)
        if folder is None:
            raise DocumentNotFound(f"There is no report {report_id}.")
        request = folder.request()
        collection = request["collection"]
        ids = self._library.ids(collection)
        current = self._store.current(collection, ids)
        # Another reader, or other documents or cartridges, give other answers: their records lie apart.
        place = folder.runs / (run_name or self._asked_of(collection, ids, current))
        manifests, way = self._manifests(current), Way(progress, cancelled)
        made = MadeCartridges(
            library=self._library,
            reader=self._reader,
            settings=self._settings,
            folder=place / "cartridges",
            collection=collection,
            manifests=manifests,
            shelf=self._shelf,
            report=lambda stage, _: way.say(stage),
        )
        return folder, Run(place, request, manifests, way, made)

    def _make(self, run: Run) -> None:
        """The report's own cartridges, before anybody asks: several may ask at once."""
        if "monolithic" in run.arms:
            run.made.whole()
        if "compaction" in run.arms:
            for document in sorted({id for each in run.questions for id in each.documents}):
                run.way.say("compaction")
                run.made.compacted(document)

    def _ask(self, run: Run, numbers: range) -> None:
        done, kept = run.records.done(), []
        stumbled: list[tuple[str, Question, int]] = []
        turns = [(number, seed) for number in numbers for seed in run.seeds]
        try:
            for place, (number, seed) in enumerate(turns):
                question = run.questions[number]
                run.way.say("asking", 0.9 * place / len(turns))
                # Each arm is first as often as any other.
                turn = number % len(run.arms)
                for name in run.arms[turn:] + run.arms[:turn]:
                    run.way.look()
                    if (name, seed, question.id) in done:
                        continue
                    try:
                        record = self._record(name, question, run, seed)
                    except ServerStumbled:
                        stumbled.append((name, question, seed))
                        continue
                    if record is not None:
                        kept.append(record)
                    if len(kept) >= _KEPT_TOGETHER:
                        run.records.add(kept)
                        kept = []
            # A bad minute of the server's is no fault of an arm's; what fails again may be.
            for name, question, seed in stumbled:
                run.way.look()
                record = self._record(name, question, run, seed, again=True)
                if record is not None:
                    kept.append(record)
        finally:
            if kept:
                run.records.add(kept)

    def _record(
        self, arm: str, question: Question, run: Run, seed: int, *, again: bool = False
    ) -> Record | None:
        """The question answered by the arm; None where the arm cannot ask it.

        Raises ServerStumbled where a server failed at it, unless that was asked `again`.
        """
        asked = run.asked(arm, question, seed)
        if asked is None:
            return None
        try:
            answer = self._answering().ask(asked).answer()
        except NOT_ASKED as error:
            if isinstance(error, ServerStumbled) and not again:
                raise
            return unanswered(arm, question, seed, str(error))
        return scored(arm, question, seed, answer)

    def _throughput(self, run: Run) -> list[Throughput]:
        """Measured once; what was measured before a stop is read."""
        path = run.folder / "throughput.json"
        if not run.request["concurrency"]:
            return []
        if not path.is_file():
            found = throughput(
                self._answering(),
                {
                    arm: [
                        asked
                        for question in run.questions[: QUESTIONS_EACH * run.request["concurrency"]]
                        if (asked := run.asked(arm, question, run.seeds[0])) is not None
                    ]
                    for arm in run.arms
                },
                run.request["concurrency"],
                lambda done: run.way.say("throughput", 0.9 + 0.08 * done),
            )
            replace_file(path, json.dumps([asdict(each) for each in found]).encode())
        return [Throughput(**each) for each in json.loads(path.read_text("utf-8"))]

    def _asked_of(self, collection: str, ids: Sequence[str], current: Mapping[str, str]) -> str:
        """Names what answers depend on."""
        # A changed text's cartridge stays until its next one is trained: both say what there is.
        texts = [(id, self._sha256_of(collection, id)) for id in ids]
        state = [
            self._reader.as_told,
            self._reader.tokenizer_fingerprint,
            self._settings.to_dict(),
            texts,
            sorted(current.items()),
        ]
        return short_digest(state)

    def _sha256_of(self, collection: str, id: str) -> str:
        try:
            found = self._library.find(collection, id)
        except DocumentCorrupt as error:  # the arms will say so
            logger.warning("%s", error)
            return ""
        return found.sha256 if found else ""

    def _manifests(self, current: Mapping[str, str]) -> dict[str, Manifest]:
        """What is known of the cartridge of each document that has a trained one."""
        found = {}
        for document, cartridge_id in current.items():
            try:
                manifest = self._store.manifest(cartridge_id)
            except StoreError:
                continue  # the arms will say so
            if not manifest.is_draft:
                found[document] = manifest
        return found

    def _assembled(self, run: Run, measured: Sequence[Throughput]) -> Report:
        request, arms, manifests = run.request, run.arms, run.manifests
        cost = training_cost(manifests.values())
        place = {question.id: number for number, question in enumerate(run.questions)}
        # In the order of the questions, whoever was first to ask them.
        answered = sorted(run.records.read(), key=lambda record: place[record.question_id])
        served = [name for name in arms if "cartridge" in name and cost is not None]
        trained = dict.fromkeys(served, cost) | run.made.costs(arms)
        return assemble(
            answered,
            title=request["title"],
            dataset=f"{len(run.questions)} questions over {run.collection}",
            created_at=request["created_at"],
            command=_command(request),
            cartridge_arm=_first(_CARTRIDGES, arms),
            text_arm=_first(_TEXTS, arms),
            bare_arm=_first(_BARE, arms),
            settings={
                "collection": run.collection,
                "documents": self._library.count(run.collection),
                "documents with a cartridge": len(manifests),
                "max_tokens": request["max_tokens"],
                "seeds": run.seeds,
                "temperature": request["temperature"],
                **{f"{name}: not made": why for name, why in run.made.refusals().items()},
                **{name: ARMS[name][0] for name in arms},
            },
            versions={
                "reader": f"{self._reader.name} ({self._reader.fingerprint[:12]})",
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
            training={name: each for name, each in trained.items() if each is not None},
            throughput=measured,
        )


def _command(request: Mapping[str, Any]) -> str:
    """How to order it again; what is as usual is left out."""
    arms = "".join(f" --arm {name}" for name in request["arms"])
    seeds = "".join(f" --seed {seed}" for seed in request["seeds"] if request["seeds"] != [0])
    together = f" --concurrency {request['concurrency']}"
    warm = f" --temperature {request['temperature']:g}" if request["temperature"] else ""
    asked = f"cartridges report {request['collection']} --questions questions.jsonl"
    return f"{asked}{arms}{seeds}{warm}{together}"


def _first(wanted: Sequence[str], arms: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in arms), None)
