"""The same slots shared out evenly, or by what they tell: letters and registers of numbers side by side.

Knows HTTP and documents; knows nothing of how slots are shared out.
"""

from statistics import fmean

from benchmarks.living_parts import Asker, Report, Row, trained_whole
from evaluation.datasets.questions import Dataset
from training.settings import TrainingSettings


def slots_shared(
    asker: Asker,
    dataset: Dataset,
    settings: TrainingSettings,
    report: Report,
) -> Row:
    """The collection trained by a service with these settings: what it answers, of what bytes."""
    published = trained_whole(asker, dataset.documents, settings, report)["published"]
    return {"published": published, **_answered(asker, dataset), **_sizes(asker)}


def _answered(asker: Asker, dataset: Dataset) -> Row:
    """Shares of right answers, each from its document's cartridge, or its text where it has none."""
    right: dict[str, list[bool]] = {}
    for question in dataset.questions:
        (document,) = question.documents
        said = asker.says(question.text, question.golds[-1], mode="cartridge", documents=[document])
        right.setdefault(document, []).append(said)
    return {
        "right": fmean(good for each in right.values() for good in each),
        "right_by_document": {id: fmean(each) for id, each in right.items()},
    }


def _sizes(asker: Asker) -> Row:
    """Bytes of all cartridges, and the slots of each."""
    page = asker.http.get("/v1/documents", params={"collection": asker.collection, "limit": 100})
    mounted = {
        each["id"]: each["cartridge"]
        for each in page.raise_for_status().json()["documents"]
        if each["cartridge"] is not None
    }
    return {
        "bytes": sum(cartridge["bytes"] for cartridge in mounted.values()),
        "slots": {id: cartridge["slots"] for id, cartridge in mounted.items()},
    }
