"""The relevance gate: a question that fits nothing in a collection is not answered from it.

How well questions fit that the collection does answer is known from its documents' self-studies, or
from questions that somebody gave; one that fits worse than all but a chosen share of them is refused.
Only numbers are kept. This file knows files and numbers; it knows no search and no HTTP.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from app.conformal import threshold
from app.study_shelf import StudyShelf
from inference.reader import Reader
from retrieval.documents import Document, check_id
from retrieval.durable import replace_file
from retrieval.errors import QuestionRefused
from retrieval.retriever import Retriever
from training.settings import TrainingSettings
from training.studies import Studies
from training.studying import split_study

logger = logging.getLogger(__name__)

_NAME = "relevance.json"
_DOCUMENTS = 200
"""Documents, at most, whose studies say what is usual; those with the first ids."""
_SECONDS = 30.0  # what was read from the disk holds so long


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a collection: the relevance of so many questions that it answers.

    `least` is what is let in; None while too little is known.
    """

    source: Literal["studies", "questions"]
    questions: int
    least: float | None


class RelevanceGate:
    """What is usual in each collection. Safe to share between threads and processes."""

    def __init__(
        self,
        shelf: StudyShelf,
        root: Path,
        refuse: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`root` holds what was given; of questions that a collection answers, at most the share `refuse`
        is to be refused. Zero is never."""
        self._shelf, self._root, self._refuse = shelf, root, refuse
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Known]] = {}

    def least(self, collection: str) -> float | None:
        """The least relevance that is let in; None where everything is."""
        with self._lock:
            read_at, known = self._known.get(collection, (0.0, None))
            if known is None or self._clock() - read_at > _SECONDS:
                known = self.known(collection)
                self._known[collection] = self._clock(), known
            return known.least

    def known(self, collection: str) -> Known:
        """What the disk says now."""
        given = _read(self._given(collection))
        if given:
            return Known("questions", len(given), threshold(given, self._refuse))
        found = sorted(self._shelf.of_collection(collection).glob(f"*/{_NAME}"))
        values = [value for path in islice(found, _DOCUMENTS) for value in _read(path)]
        return Known("studies", len(values), threshold(values, self._refuse))

    def give(self, collection: str, values: Sequence[float]) -> Known:
        """Go by these instead of the studies; by the studies again without any. Raises StorageFull."""
        path = self._given(collection)
        if values:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, values)
        else:
            path.unlink(missing_ok=True)
        with self._lock:
            self._known.pop(collection, None)
        return self.known(collection)

    def _given(self, collection: str) -> Path:
        return self._root / f"{check_id(collection, 'collection name')}.json"


def learn_relevance(
    shelf: StudyShelf,
    retriever: Callable[[], Retriever],
    reader: Reader,
    settings: TrainingSettings,
    documents: Iterable[Document],
) -> None:
    """Note how well the held-out questions of these documents' studies fit, where studies are kept.

    Raises StorageFull.
    """
    for document in documents:
        folder = shelf.folder(document.collection, document.id)
        found = Studies(folder).find(reader, document.text, settings)
        if found is None:
            continue
        held_out, _ = split_study(found[0], settings)
        # What the text leaves open is no question that it answers.
        asked = [example.question for example in held_out if example.kind != "unanswered"]
        _write(folder / _NAME, relevances(retriever(), document.collection, asked))


def relevances(retriever: Retriever, collection: str, questions: Iterable[str]) -> list[float]:
    """How well each question fits; what is no question is left out."""
    found = []
    for question in questions:
        try:
            selected = retriever.search(collection, question, 1)
        except QuestionRefused:
            continue
        found.append(selected[0].score if selected else 0.0)
    return found


def _write(path: Path, values: Sequence[float]) -> None:
    replace_file(path, json.dumps([round(value, 4) for value in values]).encode())


def _read(path: Path) -> list[float]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return [float(value) for value in listed]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        logger.warning("%s cannot be read and is left out: %s", path.name, error)
        return []
