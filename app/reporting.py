"""Reporting: every question asked by every arm through the path that serves, scored and compared.

What is answered is kept at once, so that a report that was stopped goes on where it was. Arms take turns
question by question: whatever else the machine does falls on all alike. Knows answering and reports; knows
no HTTP and no queue.
"""

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import transformers

from app.answering import Answering
from app.fleet import Fleet
from app.report_arms import ARMS, Asked, Form
from app.report_files import ReportFiles, ReportFolder
from app.report_scoring import id_of, scored, unanswered
from cartridge_store.errors import StoreError
from cartridge_store.manifest import Manifest
from cartridge_store.store import CartridgeStore
from evaluation.report.as_json import to_json
from evaluation.report.assembly import assemble
from evaluation.report.costs import TrainingCost
from evaluation.report.html import to_html
from evaluation.report.markdown import to_markdown
from evaluation.report.records import Record, RecordFolder
from inference.reader import Reader
from inference.requests import GenerationFailed, RequestRefused
from inference.sampling import Sampling
from retrieval.documents import DocumentLibrary
from retrieval.errors import DocumentCorrupt, DocumentNotFound, QuestionRefused
from training.settings import Cancelled, Progress

_KEPT_TOGETHER = 20  # answers in a file
_CARTRIDGES = ("cartridges_1", "cartridges_3", "cartridges_5", "cartridge_and_passage")
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
        fleet: Fleet | None = None,
    ) -> None:
        """`answering` is opened by the first report: it holds an engine. A `fleet` asks the questions
        where there is one.
        """
        self._answering = answering
        self._library = library
        self._store = store
        self._reader = reader
        self._files = files
        self._fleet = fleet

    def run(
        self,
        report_id: str,
        progress: Callable[[Progress], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Make the report, or what is left of it; a summary for its job.

        Raises Cancelled, with everything that was answered kept, and DocumentNotFound for a report that
        was never ordered.
        """
        folder, request, records = self._opened(report_id)
        questions = range(len(request["questions"]))
        if self._fleet is not None:
            self._fleet.ask(report_id, len(questions), progress, cancelled)
        else:
            self._ask(request, questions, records, progress, cancelled)
        progress(Progress("report", 0.98))
        place = {id_of(q, n): n for n, q in enumerate(request["questions"])}
        # In the order of the questions, whoever was first to ask them.
        answered = sorted(records.read(), key=lambda record: place[record.question_id])
        found = self._assembled(folder, request, answered)
        folder.finish(
            {
                "application/json": to_json(found),
                "text/markdown": to_markdown(found),
                "text/html": to_html(found),
            }
        )
        return {"report": report_id, "lead": found.lead, "questions": len(request["questions"])}

    def ask(
        self,
        report_id: str,
        numbers: range,
        progress: Callable[[Progress], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Ask some of a report's questions, those that are not answered yet. Raises as `run` does."""
        _, request, records = self._opened(report_id)
        self._ask(request, numbers, records, progress, cancelled)

    def _opened(self, report_id: str) -> tuple[ReportFolder, dict[str, Any], RecordFolder]:
        folder = self._files.find(report_id)
        if folder is None:
            raise DocumentNotFound(f"There is no report {report_id}.")
        request = folder.request()
        # Another reader, or other documents or cartridges, give other answers: their records lie apart.
        records = RecordFolder(folder.records / self._asked_of(request["collection"]))
        return folder, request, records

    def _ask(
        self,
        request: Mapping[str, Any],
        numbers: range,
        records: RecordFolder,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        manifests = self._manifests(request["collection"])
        done, kept = records.done(), []
        forms = {name: ARMS[name][1] for name in request["arms"]}
        questions, seed = request["questions"], request["seed"]
        try:
            for done_before, number in enumerate(numbers):
                question = questions[number]
                # Each arm is first as often as any other.
                turn = number % len(forms)
                names = [*forms][turn:] + [*forms][:turn]
                for name in names:
                    if cancelled():
                        raise Cancelled
                    if (name, seed, id_of(question, number)) in done:
                        continue
                    record = self._record(name, forms[name], question, number, request, manifests)
                    if record is not None:
                        kept.append(record)
                    if len(kept) >= _KEPT_TOGETHER:
                        records.add(kept)
                        kept = []
                progress(Progress("asking", 0.97 * (done_before + 1) / len(numbers)))
        finally:
            if kept:
                records.add(kept)

    def _record(
        self,
        arm: str,
        form: Form,
        question: Mapping[str, Any],
        number: int,
        request: Mapping[str, Any],
        manifests: Mapping[str, Manifest],
    ) -> Record | None:
        """The question answered by the arm; None where the arm cannot ask it."""
        gold = tuple(question["documents"])
        manifest = manifests.get(gold[0]) if gold else None
        asked = form(
            Asked(
                question["question"],
                request["collection"],
                gold,
                manifest.slots if manifest is not None else None,
                Sampling(request["max_tokens"], seed=request["seed"]),
            )
        )
        if asked is None:
            return None
        try:
            answer = self._answering().ask(asked).answer()
        except (
            RequestRefused,
            QuestionRefused,
            GenerationFailed,
            DocumentNotFound,
            DocumentCorrupt,
        ) as error:
            return unanswered(arm, question, number, request, str(error))
        return scored(arm, question, number, request, answer)

    def _asked_of(self, collection: str) -> str:
        """Names what answers depend on."""
        ids = self._library.ids(collection)
        state = [
            self._reader.fingerprint,
            ids,
            sorted(self._store.current(collection, ids).items()),
        ]
        return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]

    def _manifests(self, collection: str) -> dict[str, Manifest]:
        """What is known of the cartridge of each document that has one."""
        current = self._store.current(collection, self._library.ids(collection))
        found = {}
        for document, cartridge_id in current.items():
            try:
                found[document] = self._store.describe(cartridge_id).manifest
            except StoreError:
                continue  # the arms will say so
        return found

    def _assembled(
        self, folder: ReportFolder, request: Mapping[str, Any], records: Sequence[Record]
    ) -> Any:
        arms = request["arms"]
        manifests = self._manifests(request["collection"])
        seconds = [manifest.figures.get("train_seconds") for manifest in manifests.values()]
        known = [float(each) for each in seconds if isinstance(each, int | float)]
        cost = TrainingCost(
            seconds=sum(known),
            tokens=sum(manifest.document_tokens for manifest in manifests.values()),
            documents=len(manifests),
        )
        # Where one's training was not timed, such as of an imported one, the sum would be too small.
        timed = bool(known) and len(known) == len(manifests)
        trained = {name: cost for name in arms if "cartridge" in name} if timed else {}
        return assemble(
            records,
            title=request["title"],
            dataset=f"{len(request['questions'])} questions over {request['collection']}",
            created_at=request["created_at"],
            command=f"cartridges report {request['collection']} --questions questions.jsonl",
            cartridge_arm=_first(_CARTRIDGES, arms) or _first(("oracle_cartridge",), arms),
            text_arm=_first(_TEXTS, arms),
            settings={
                "collection": request["collection"],
                "documents": self._library.count(request["collection"]),
                "documents with a cartridge": len(manifests),
                "max_tokens": request["max_tokens"],
                "seed": request["seed"],
                "temperature": 0,
                **{name: ARMS[name][0] for name in arms},
            },
            versions={
                "reader": f"{self._reader.name} ({self._reader.fingerprint[:12]})",
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
            training=trained,
        )


def _first(wanted: Sequence[str], arms: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in arms), None)
