"""One report on its way: what was ordered, what there is to answer it, and where answers are kept.

Knows the order and its folder; asks nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app import asked as service
from app.report_arms import ARMS, Asked
from app.report_cartridges import MadeCartridges
from app.report_scoring import question_of
from cartridge_store.manifest import Manifest
from evaluation.datasets.questions import Question
from evaluation.datasets.questions import asked as prompt_of
from evaluation.report.records import RecordFolder
from inference.sampling import Sampling
from retrieval.durable import make_folder
from training.settings import Cancelled, Progress


@dataclass(frozen=True)
class Way:
    """How far a report is, and whether to go on."""

    progress: Callable[[Progress], None]
    cancelled: Callable[[], bool]
    latest: list[float] = field(default_factory=lambda: [0.0])

    def look(self) -> None:
        """Raises Cancelled when nobody wants the report any more."""
        if self.cancelled():
            raise Cancelled

    def say(self, stage: str, done: float | None = None) -> None:
        """`done` is what of the whole is done; as much as before where it is not said."""
        self.look()
        self.latest[0] = max(self.latest[0], done or 0.0)
        self.progress(Progress(stage, self.latest[0]))


class Run:
    """One report on its way: what was ordered, what is there to answer it, and what was answered."""

    def __init__(
        self,
        folder: Path,
        request: Mapping[str, Any],
        manifests: Mapping[str, Manifest],
        way: Way,
        made: MadeCartridges,
    ) -> None:
        make_folder(folder)
        self.folder = folder
        self.request = request
        self.manifests = manifests
        self.way = way
        self.made = made
        self.collection: str = request["collection"]
        self.arms: list[str] = request["arms"]
        self.seeds: list[int] = request["seeds"]
        self.records = RecordFolder(folder / "records")
        self.questions = [question_of(each, n) for n, each in enumerate(request["questions"])]

    def asked(self, arm: str, question: Question, seed: int) -> service.Question | None:
        """The arm's question to the service; None where it cannot ask it."""
        manifest = self.manifests.get(question.documents[0]) if question.documents else None
        return ARMS[arm][1](
            Asked(
                prompt_of(question),
                self.collection,
                question.documents,
                manifest.slots if manifest is not None else None,
                Sampling(
                    self.request["max_tokens"],
                    temperature=self.request["temperature"],
                    seed=seed,
                ),
                self.made,
            )
        )
