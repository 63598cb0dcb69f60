"""Studies that outlive the run that made them: a document trained again is not studied again.

A study depends on the reader, the text and part of the recipe, and these name its file. This file knows a
folder for each document; it knows no job and not when a document is deleted.
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from inference.reader import Reader
from training.examples import StudyExample, read_examples, seconds_before, write_examples
from training.settings import TrainingSettings

_KEPT = 3
"""Of a document: what it was before it changed, and what another recipe made of it."""


class Studies:
    """One document's studies, in a folder that holds nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(
        self, reader: Reader, text: str, settings: TrainingSettings
    ) -> tuple[list[StudyExample], float] | None:
        """The very study that this reader would make of this text, and the seconds that it took.

        None where it has to be made.
        """
        path = self._path(reader, text, settings)
        with suppress(OSError, pa.ArrowException):
            return read_examples(path), seconds_before(path)
        return None

    def keep(
        self,
        reader: Reader,
        text: str,
        settings: TrainingSettings,
        examples: list[StudyExample],
        seconds: float,
    ) -> None:
        """Keep a study that took so many seconds; of older ones only the newest stay."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_examples(self._path(reader, text, settings), examples, seconds)
        written = [(each.stat().st_mtime_ns, each) for each in self._folder.glob("*.parquet")]
        for _, old in sorted(written, reverse=True)[_KEPT:]:
            old.unlink(missing_ok=True)

    def _path(self, reader: Reader, text: str, settings: TrainingSettings) -> Path:
        what = json.dumps([reader.fingerprint, text, settings.of_study()], sort_keys=True)
        return self._folder / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.parquet"
