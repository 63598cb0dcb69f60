"""A text's study: found where it was kept, begun from an earlier text's, or made from nothing.

This file knows a reader, a text and folders; it knows no cartridge.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from inference.reader import Reader
from training.examples import StudyExample, read_examples, write_examples
from training.revision import revision
from training.selfstudy import study
from training.settings import TrainingRefused, TrainingSettings
from training.studies import Studies
from training.study_batches import seconds_in

_FEWEST = 8
_HOLDING = 0.25
"""Share of a changed text's study that is spent on holding the earlier one against it."""


def kept_study(
    reader: Reader,
    text: str,
    settings: TrainingSettings,
    path: Path,
    report: Callable[[float], None],
    annotate: Callable[[list[StudyExample]], list[StudyExample]] = lambda examples: examples,
    studies: Path | None = None,
) -> list[StudyExample]:
    """The text's study: made once and written to `path`, then read from there.

    A study that was stopped goes on where it was. `annotate` sees the examples before they are written. In
    `studies` they are kept as they were made, for other runs, and the study of a text that has changed
    begins with what it was. Raises TrainingRefused when too little was asked, and what `report` raises to
    stop.
    """
    if path.exists():
        return read_examples(path)
    kept = None if studies is None else Studies(studies)
    under_way = path.with_suffix(".batches")
    found = None if kept is None else kept.find(reader, text, settings)
    if found is not None:
        report(1.0)
        examples, seconds = found
    else:
        began, seconds = time.monotonic(), seconds_in(under_way)
        examples = _studied(reader, text, settings, report, kept, under_way)
        if kept is not None:
            kept.keep(reader, text, settings, examples, seconds + time.monotonic() - began)
    examples = annotate(examples)
    write_examples(path, examples, seconds)
    shutil.rmtree(under_way, ignore_errors=True)
    return examples


def split_study(
    examples: Sequence[StudyExample], settings: TrainingSettings
) -> tuple[list[StudyExample], list[StudyExample]]:
    """What is held out for the check, and what is learned."""
    held_out = min(settings.held_out, len(examples) // 4)
    return list(examples[:held_out]), list(examples[held_out:])


def _studied(
    reader: Reader,
    text: str,
    settings: TrainingSettings,
    report: Callable[[float], None],
    kept: Studies | None,
    folder: Path,
) -> list[StudyExample]:
    earlier = None if kept is None else kept.earlier(reader, text, settings)
    since = None
    if earlier is not None:
        since = revision(
            reader,
            text,
            earlier.text,
            earlier.examples,
            settings,
            lambda done: report(_HOLDING * done),
        )
    begun = 0.0 if since is None else _HOLDING
    examples = study(
        reader, text, settings, lambda done: report(begun + (1 - begun) * done), since, folder
    )
    if len(examples) < _FEWEST:
        raise TrainingRefused(
            f"The reader found only {len(examples)} questions about this document, too few to train on; "
            "answer it from its text."
        )
    return examples
