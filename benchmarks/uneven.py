"""The same slots shared out evenly, and by what they tell: letters and registers of numbers side by side.

Knows HTTP and documents; knows nothing of how slots are shared out.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.living_parts import COLLECTION, Asker, Report, Row, trained_whole
from benchmarks.service_process import begun_with
from evaluation.datasets.questions import Dataset
from training.settings import TrainingSettings

Service = Callable[[Path, Mapping[str, Any]], AbstractContextManager[Asker]]
"""Somebody who asks the service on a folder, whose training has these settings."""


def shared_out(
    dataset: Dataset,
    folder: Path,
    training: Mapping[str, Any],
    service: Service,
    report: Report = lambda *_: None,
) -> Row:
    """The collection trained with even slots and with adaptive ones: what each answers, of what bytes."""
    found: dict[str, Row] = {}
    for place, (way, adaptive) in enumerate((("even", False), ("adaptive", True))):
        if adaptive:
            begun_with(folder / way, folder / "even", "studies")
        chosen = {**training, "adaptive": adaptive}

        def told(words: str, done: float, place: int = place, way: str = way) -> None:
            report(f"{way} slots, {words}", (place + done) / 2)

        with service(folder / way, chosen) as asker:
            settings = TrainingSettings(**chosen)
            published = trained_whole(asker, dataset.documents, settings, told)["published"]
            found[way] = {"published": published, **_answered(asker, dataset), **_sizes(asker)}
    return {"shared_out": found}


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
    page = asker.http.get("/v1/documents", params={"collection": COLLECTION, "limit": 100})
    mounted = {
        each["id"]: each["cartridge"]
        for each in page.raise_for_status().json()["documents"]
        if each["cartridge"] is not None
    }
    return {
        "bytes": sum(cartridge["bytes"] for cartridge in mounted.values()),
        "slots": {id: cartridge["slots"] for id, cartridge in mounted.items()},
    }
