"""Studies that outlive the run that made them: a document trained again is not studied again.

A study depends on the reader, the text and part of the recipe, and these name its file. The newest of an
earlier text is where a changed document's study begins. This file knows a folder for each document; it
knows no job and not when a document is deleted.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from inference.reader import Reader
from training.examples import (
    StudyExample,
    read_about,
    read_examples,
    seconds_before,
    write_examples,
)
from training.settings import TrainingSettings

_KEPT = 3
"""Of a document: what it was before it changed, and what another recipe made of it."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The study of what a document said before."""

    text: str
    examples: list[StudyExample]


class Studies:
    """One document's studies, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(
        self, reader: Reader, text: str, settings: TrainingSettings
    ) -> tuple[list[StudyExample], float] | None:
        """The study of this text by this reader in this way, and the seconds that it took.

        None where it has to be made.
        """
        path = self._path(reader, text, settings)
        with suppress(OSError, pa.ArrowException):
            return read_examples(path), seconds_before(path)
        return None

    def known(
        self, reader: Reader, text: str, settings: TrainingSettings
    ) -> list[StudyExample] | None:
        """What this reader was asked about this text: in this way, or else in the last way that fits it.

        For those who ask it again, beside what is asked in this way: as many of the teacher's choices are
        kept of each token, and as many conversations for the check. None where nothing is kept.
        """
        found = self.find(reader, text, settings)
        if found is not None:
            return found[0]
        for path in self._newest_first():
            with suppress(OSError, pa.ArrowException):
                about = read_about(path)
                mine = about.get("reader") == reader.fingerprint and about.get("text") == text
                if mine and about.get("held_out", str(settings.held_out)) == str(settings.held_out):
                    examples = read_examples(path)
                    if all(each.top_ids.shape[-1] == settings.top_k for each in examples):
                        return examples
        return None

    def earlier(self, reader: Reader, text: str, settings: TrainingSettings) -> Earlier | None:
        """The newest study of another text of this document, by this reader in this way."""
        for path in self._newest_first():
            with suppress(OSError, pa.ArrowException):
                about = read_about(path)
                if about.get("way") == _way(reader, settings) and about.get("text") != text:
                    return Earlier(about["text"], read_examples(path))
        return None

    def keep(
        self,
        reader: Reader,
        text: str,
        settings: TrainingSettings,
        examples: Sequence[StudyExample],
        seconds: float,
    ) -> None:
        """Keep a study that took so many seconds; of older ones only the newest stay."""
        self._folder.mkdir(parents=True, exist_ok=True)
        about = {
            "text": text,
            "way": _way(reader, settings),
            "reader": reader.fingerprint,
            "held_out": str(settings.held_out),
        }
        write_examples(self._path(reader, text, settings), examples, seconds, about)
        for old in self._newest_first()[_KEPT:]:
            old.unlink(missing_ok=True)

    def _newest_first(self) -> list[Path]:
        written = [(each.stat().st_mtime_ns, each) for each in self._folder.glob("*.parquet")]
        return [path for _, path in sorted(written, reverse=True)]

    def _path(self, reader: Reader, text: str, settings: TrainingSettings) -> Path:
        return self._folder / f"{_digest([_way(reader, settings), text])}.parquet"


def _way(reader: Reader, settings: TrainingSettings) -> str:
    return _digest([reader.as_told, settings.of_study()])


def _digest(what: object) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]
