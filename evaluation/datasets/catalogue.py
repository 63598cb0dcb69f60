"""The data sets by name, whole or a sample of them. Knows no score and no reader."""

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType

from evaluation.datasets.fairytale import load_fairytaleqa
from evaluation.datasets.locomo import load_locomo
from evaluation.datasets.longhealth import load_longhealth
from evaluation.datasets.mtob import load_mtob
from evaluation.datasets.own import load_own
from evaluation.datasets.qasper import load_qasper
from evaluation.datasets.qmsum import load_qmsum
from evaluation.datasets.quality import load_quality
from evaluation.datasets.questions import Dataset, DatasetRefused
from evaluation.datasets.squad import load_squad
from evaluation.datasets.world import SHEETS, load_world

FROM_FILES: Mapping[str, Callable[[Path], Dataset]] = MappingProxyType(
    {
        "own": load_own,
        "squad": load_squad,
        "fairytaleqa": load_fairytaleqa,
        "qmsum": load_qmsum,
        "quality": load_quality,
        "longhealth": load_longhealth,
        "qasper": load_qasper,
        "locomo": load_locomo,
        "mtob": load_mtob,
    }
)
NAMES = ("world", *FROM_FILES)


def load(
    name: str,
    path: str | Path | None = None,
    limit_documents: int | None = None,
    limit_questions: int | None = None,
    seed: int = 0,
) -> Dataset:
    """The data set `name` (one of `NAMES`) from `path`; `world` needs no path.

    Limits draw that many documents, and that many of the questions about documents that were drawn
    (all whose gold documents are among them); the order stays, and the same seed draws the same. Raises
    `DatasetRefused` for an unknown name, a file that cannot be read, limits below one, and when no
    question is left.
    """
    for what, limit in (("documents", limit_documents), ("questions", limit_questions)):
        if limit is not None and limit < 1:
            raise DatasetRefused(f"The limit of {what} is {limit}; give at least 1.")
    if name == "world":
        if path is not None:
            raise DatasetRefused("The bundled world is drawn, not read; leave the path out.")
        whole = load_world(seed, sheets=limit_documents or SHEETS)
    elif name not in FROM_FILES:
        raise DatasetRefused(f"There is no data set {name!r}; choose one of {', '.join(NAMES)}.")
    elif path is None:
        raise DatasetRefused(f"{name} is read from a file; give its path.")
    else:
        whole = FROM_FILES[name](Path(path))
    sample = limited(whole, limit_documents, limit_questions, seed)
    if not sample.questions:
        source = "" if path is None else f"{path}: "
        raise DatasetRefused(f"{source}no question is left; raise the limits or check the file.")
    return sample


def limited(
    dataset: Dataset, documents: int | None, questions: int | None, seed: int = 0
) -> Dataset:
    """A sample of a data set, as `load` draws it."""
    kept = dataset.documents
    if documents is not None and documents < len(kept):
        rng = Random(f"documents/{dataset.name}/{seed}")
        kept = tuple(kept[place] for place in sorted(rng.sample(range(len(kept)), documents)))
    there = {document.id for document in kept}
    cut = len(kept) < len(dataset.documents)
    # Without documents of its own the data set is about those that somebody else holds. A question of which
    # nobody says the document may be answered by one that is not there any more.
    about = tuple(
        question
        for question in dataset.questions
        if not dataset.documents
        or (
            there.issuperset(question.documents)
            and (question.documents or not cut or question.kind == "unanswerable")
        )
    )
    if questions is not None and questions < len(about):
        rng = Random(f"questions/{dataset.name}/{seed}")
        about = tuple(about[place] for place in sorted(rng.sample(range(len(about)), questions)))
    return Dataset(dataset.name, kept, about)
