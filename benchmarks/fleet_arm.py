"""One arm of the fleet's benchmark, in a process of its own: `python -m benchmarks.fleet_arm PLAN`.

Trains and publishes a collection by one executor; with Ray, a worker is killed in the middle of the
training and one in the middle of the publishing. PLAN is a JSON file; one line of JSON comes back. The
service's work is named, not imported: its settings are this process's `CARTRIDGES_*` variables. Knows
executors, a library and blobs; knows no result file.
"""

import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cartridge_store.blobs import LocalBlobs
from inference.reader import load_reader
from retrieval.documents import DocumentLibrary
from retrieval.encoder import LexicalEncoder
from retrieval.retriever import Retriever
from training.collection import Text
from training.fleet.collection import Finish, FleetTraining
from training.fleet.executor import Executor
from training.fleet.in_process import InProcessExecutor
from training.fleet.ray_executor import Placement, RayExecutor
from training.fleet.work import ReaderSpec
from training.settings import TrainingSettings

COLLECTION = "default"


def run_arm(plan: dict[str, Any]) -> dict[str, Any]:
    """Train the library's documents as the plan says, and what came of it.

    `plan` has the reader's path, `data` (the service's folder), `workers` (0: in this process), `kill`,
    `group` and training `settings`.
    """
    data = Path(plan["data"])
    reader = load_reader(plan["reader"], device="cpu", dtype="float32")
    library = DocumentLibrary(data / "documents")
    documents = {each.id: each for each in library.list(COLLECTION, limit=sys.maxsize)}
    retriever = Retriever(library, LexicalEncoder(), data / "indexes")
    retriever.reconcile(COLLECTION)
    settings = TrainingSettings(**plan["settings"])
    named = ReaderSpec(plan["reader"], "cpu", "float32", reader.fingerprint)

    def found(question: str) -> list[str]:
        return [
            hit.document_id for hit in retriever.search(COLLECTION, question, settings.rivals + 1)
        ]

    def subject_of(text: Text) -> dict[str, Any]:
        document = documents[text.name]
        return {
            "subject": {
                "collection": COLLECTION,
                "document_id": document.id,
                "version": document.version,
                "sha256": document.sha256,
                "reader_fingerprint": reader.fingerprint,
            }
        }

    began = time.monotonic()
    with contextlib.closing(_executor(plan, named, reader)) as executor:
        started = time.monotonic() - began
        killer = _Killer(executor, data, len(documents)) if plan["kill"] else None
        fleet = FleetTraining(
            executor,
            named,
            settings,
            data / "training",
            plan["group"],
            Finish("app.fleet_work:publish", subject_of),
            lambda progress: print(json.dumps(asdict(progress)), file=sys.stderr, flush=True),
            killer or (lambda: False),
        )
        texts = [Text(each.id, each.sha256, each.text) for each in documents.values()]
        finished = [each.result for each in fleet.together(texts, found)]
        seconds = time.monotonic() - began
        return {
            "seconds": round(seconds, 1),
            "start_seconds": round(started, 1),
            "results": len(finished),
            "published": sum(bool(result and result["published"]) for result in finished),
            "killed_workers": len(killer.killed) if killer else 0,
            "tasks_given_again": getattr(executor, "given_again", 0),
        }


def _executor(plan: dict[str, Any], named: ReaderSpec, reader: Any) -> Executor:
    if not plan["workers"]:
        return InProcessExecutor(kept={named.key: reader})
    variables = {n: value for n, value in os.environ.items() if n.startswith("CARTRIDGES_")}
    return RayExecutor("local", Placement(workers=plan["workers"], environment=variables))


class _Killer:
    """Asked between tasks whether to cancel, which it never does: it kills a worker, twice."""

    def __init__(self, executor: Any, data: Path, documents: int) -> None:
        self._executor, self._data, self._documents = executor, data, documents
        self.killed: list[int] = []

    def __call__(self) -> bool:
        if not self.killed:
            groups = [*self._data.glob("training/*/groups/*")]
            trained = [*self._data.glob("training/*/groups/*/slots/0.safetensors")]
            begun = [*self._data.glob("training/*/groups/*/*/joint-*/pool/pool.json")]
            # Halfway, with a group's pool under way beside those that are trained.
            if groups and len(trained) >= self._documents // 40 and len(begun) > len(trained):
                self._kill()
        elif len(self.killed) == 1 and self._half_published():
            self._kill()
        return False

    def _half_published(self) -> bool:
        folder = self._data / "cartridges"
        return folder.is_dir() and len(LocalBlobs(folder).names()) >= self._documents // 2

    def _kill(self) -> None:
        pids = self._executor.pids
        if len(pids) > 1:
            self.killed.append(pids[len(self.killed) % len(pids)])
            os.kill(self.killed[-1], signal.SIGKILL)


if __name__ == "__main__":
    print(json.dumps(run_arm(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
