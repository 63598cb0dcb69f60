"""A study under way, batch by batch, on the disk: one that is interrupted goes on where it was.

Batches are named by round and place, and hold what was asked in them as well as what was kept: what comes
after them depends on it. They lie apart for whatever decides them. This file knows examples and files; it
knows no reader.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from training.examples import (
    StudyExample,
    read_about,
    read_examples,
    seconds_before,
    write_examples,
)
from training.naming import short_digest


@dataclass(frozen=True, slots=True)
class StudyBatch:
    """What one batch of conversations came to.

    `places` are those of the examples among what the batch was asked about, `grades` how good they are;
    `asked` are the questions that were new, in their order; `left_open` the place of each question that is
    for all of the text to answer, the question, and whether it came to an end.
    """

    examples: Sequence[StudyExample]
    places: Sequence[int]
    grades: Sequence[int]
    asked: Sequence[str] = ()
    left_open: Sequence[tuple[int, tuple[str, bool]]] = ()


class StudyBatches:
    """The batches of one study; without a folder, nothing is kept."""

    def __init__(self, folder: Path | None = None, decided_by: object = None) -> None:
        """`decided_by`, as JSON, is what the study's examples depend on: others' batches are not read."""
        self._folder = None if folder is None else folder / short_digest(decided_by)

    def get(self, name: str, make: Callable[[], StudyBatch]) -> StudyBatch:
        """The batch of this name: the kept one, else what is made, kept. Raises StorageFull."""
        if self._folder is None:
            return make()
        path = self._folder / f"{name}.parquet"
        # A damaged one is made again.
        with suppress(OSError, pa.ArrowException, ValueError, KeyError):
            return _read(path)
        began = time.monotonic()
        batch = make()
        about = {
            "places": json.dumps([*batch.places]),
            "grades": json.dumps([*batch.grades]),
            "asked": json.dumps([*batch.asked]),
            "left_open": json.dumps([*batch.left_open]),
        }
        # Nothing is kept where somebody has deleted the run, or has ended the same study and tidied up.
        with suppress(FileNotFoundError):
            self._folder.parent.mkdir(exist_ok=True)
            self._folder.mkdir(exist_ok=True)
            write_examples(path, batch.examples, time.monotonic() - began, about)
        return batch


def seconds_in(folder: Path) -> float:
    """What the batches that lie in a study's folder took to make."""
    seconds = 0.0
    for path in folder.rglob("*.parquet"):
        with suppress(OSError, pa.ArrowException, ValueError):
            seconds += seconds_before(path)
    return seconds


def _read(path: Path) -> StudyBatch:
    about = read_about(path)
    return StudyBatch(
        read_examples(path),
        json.loads(about["places"]),
        json.loads(about["grades"]),
        json.loads(about["asked"]),
        [(place, (question, ended)) for place, (question, ended) in json.loads(about["left_open"])],
    )
