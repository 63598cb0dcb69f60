"""The relevance gate: a question that fits nothing in a collection is not answered from it.

How well questions fit that the collection does answer is known from its documents' self-studies, or
from questions that somebody gave; one that fits worse than all but a chosen share of them is refused.
Only numbers are kept. This file knows files and numbers; how well a question fits
is the retriever's to say, and it knows no HTTP.
"""

import json
import logging
import math
import os
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.conformal import threshold
from app.kept import Kept
from app.study_shelf import StudyShelf
from inference.reader import Reader
from retrieval.documents import Document, DocumentLibrary, check_id
from retrieval.durable import locked, make_folder, write_file
from retrieval.retriever import Retriever
from retrieval.sampling import spread
from training.settings import TrainingSettings
from training.studies import Studies
from training.studying import split_study

logger = logging.getLogger(__name__)

_NAME = "relevance.json"
_DOCUMENTS = 200
"""Documents, at most, whose studies say what is usual; of more, those whose ids are spread evenly."""


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
        self._kept = Kept(lambda collection, _: self.known(collection), clock)

    def least(self, collection: str) -> float | None:
        """The least relevance that is let in; None where everything is."""
        return self._kept.of(collection).least

    def known(self, collection: str) -> Known:
        """What the disk says now."""
        given = _read(self._given(collection))
        if given:
            return Known("questions", len(given), threshold(given, self._refuse))
        folder = self._shelf.of_collection(collection)
        # Names alone: there may be a hundred thousand, and somebody's question waits.
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
        paths = (folder / name / _NAME for name in spread(names, _DOCUMENTS))
        values = [value for path in paths for value in _read(path)]
        return Known("studies", len(values), threshold(values, self._refuse))

    def give(self, collection: str, values: Sequence[float]) -> Known:
        """Go by these instead of the studies; by the studies again without any. Raises StorageFull."""
        path = self._given(collection)
        make_folder(self._root)
        with locked(self._root / "lock"):
            if values:
                _write(path, values)
            else:
                path.unlink(missing_ok=True)
        self._kept.forget(collection)
        return self.known(collection)

    def forget(self, collection: str) -> None:
        """Let go of what was given for a collection that goes."""
        self._given(collection).unlink(missing_ok=True)
        self._kept.forget(collection)

    def _given(self, collection: str) -> Path:
        return self._root / f"{check_id(collection, 'collection name')}.json"


def learn_relevance(
    shelf: StudyShelf,
    library: DocumentLibrary,
    retriever: Callable[[], Retriever],
    reader: Reader,
    settings: TrainingSettings,
    documents: Iterable[Document],
) -> None:
    """Note how well the held-out questions of these documents' studies fit, where studies are kept.

    What goes wrong is logged: nobody is to lose a training by it.
    """
    for document in documents:
        folder = shelf.folder(document.collection, document.id)
        try:
            found = Studies(folder).find(reader, document.text, settings)
            if found is None:
                continue
            held_out, _ = split_study(found[0], settings)
            # What the text leaves open is no question that it answers.
            asked = [example.question for example in held_out if example.kind != "unanswered"]
            _write(folder / _NAME, retriever().relevances(document.collection, asked))
        except Exception as error:
            logger.warning("The relevance of %s was not learned: %s", document.id, error)
        if not library.exists(document.collection, document.id):
            shelf.forget(document.collection, document.id)


def _write(path: Path, values: Sequence[float]) -> None:
    # Rounded down: a question that fits as well as these is let in.
    rounded = [math.floor(value * 1e4) / 1e4 for value in values]
    # A name of its own: the jobs of a document and of its collection may write side by side.
    aside = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.tmp")
    write_file(aside, json.dumps(rounded).encode())
    aside.replace(path)


def _read(path: Path) -> list[float]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
        # A dictionary has keys to iterate over, which is not what is wanted.
        return [float(value) for value in (listed if isinstance(listed, list) else [listed])]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        logger.warning("%s cannot be read and is left out: %s", path.name, error)
        return []


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} is no number")
