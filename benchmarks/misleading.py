"""Documents that say of others what these do not: whether they are noticed, and whom they mislead.

Knows HTTP and sheets; knows nothing of how conflicts are looked for.
"""

import re
from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from benchmarks.living_parts import Asker, Row
from evaluation.datasets.changed_world import Changed
from evaluation.datasets.questions import Document
from training.conflicts import MISLEADING_FROM

_WAYS = ("auto", "cartridge", "rag")
_SENTENCES = re.compile(r"(?<=[.])\s+|\n")


def right_about(asker: Asker, victims: Sequence[Changed]) -> dict[str, float]:
    """Shares of right answers to what will be said otherwise, by how it is asked."""
    return {way: fmean(_says(asker, victims, way, "before")) for way in _WAYS}


def misled(asker: Asker, victims: Sequence[Changed], honest: Sequence[Document]) -> Row:
    """What is answered about facts when another document says otherwise, and who is noticed.

    Each victim gets a document that says of it what its own next version would, before an honest one's
    text; `honest` documents were screened when they came.
    """
    noticed = []
    for place, victim in enumerate(victims):
        document = misleading(victim, honest[place % len(honest)].text)
        asker.wait(asker.send(document))
        noticed.append(_conflicts(asker, document.id, victim.before.id) >= MISLEADING_FROM)
    return {
        "misleading": len(victims),
        "misleading_noticed": fmean(noticed),
        "honest_noticed": fmean(_conflicts(asker, each.id) >= MISLEADING_FROM for each in honest),
        "right_beside_misleading": right_about(asker, victims),
        "misled": {way: fmean(_says(asker, victims, way, "after")) for way in _WAYS},
    }


def misleading(victim: Changed, among: str) -> Document:
    """A document of its own that states the victim's changed facts among something else."""
    said = [line.strip() for line in _SENTENCES.split(victim.after.text)]
    new = " ".join(line for line in said if line and line not in victim.before.text)
    return Document(
        f"misleading-{victim.before.id}",
        "Notes",
        f"# Notes on {victim.before.title}\n\n{new}\n\n{among}",
    )


def _says(
    asker: Asker, victims: Sequence[Changed], way: str, which: Literal["before", "after"]
) -> list[bool]:
    """Whether the answers about changed facts state the values that these had, or those they have."""
    return [
        asker.says(fact.question, fact.before if which == "before" else fact.after, mode=way)
        for victim in victims
        for fact in victim.asked
        if fact.changed
    ]


def _conflicts(asker: Asker, id: str, about: str | None = None) -> int:
    path = f"/v1/documents/{id}"
    found = asker.http.get(path, params={"collection": asker.collection}).raise_for_status().json()
    return sum(about in (None, each["document_id"]) for each in found["conflicts"])
