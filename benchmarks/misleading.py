"""Documents that say of others what these do not: whether they are noticed, and whom they mislead.

Knows HTTP and sheets; knows nothing of how conflicts are looked for.
"""

import re
from collections.abc import Sequence
from statistics import fmean

from benchmarks.living_parts import COLLECTION, Asker, Row
from evaluation.datasets.changed_world import Changed
from evaluation.datasets.questions import Document

_FEWEST = 2
"""Conflicts from which a document counts as noticed, as for quarantine."""
_WAYS = ("auto", "cartridge", "rag")
_SENTENCES = re.compile(r"(?<=[.])\s+|\n")


def misled(asker: Asker, victims: Sequence[Changed], honest: Sequence[Document]) -> Row:
    """What is answered about facts before and after another document says otherwise, and who is noticed.

    Each victim gets a document that says of it what its own next version would, before an honest one's
    text; `honest` documents were screened when they came.
    """
    facts = [fact for sheet in victims for fact in sheet.asked if fact.changed]

    def right() -> dict[str, float]:
        return {
            way: fmean(asker.says(f.question, f.before, mode=way) for f in facts) for way in _WAYS
        }

    before = right()
    noticed = []
    for place, victim in enumerate(victims):
        document = misleading(victim, honest[place % len(honest)].text)
        asker.wait(asker.send(document))
        noticed.append(_conflicts(asker, document.id, victim.before.id) >= _FEWEST)
    return {
        "misleading": len(victims),
        "misleading_noticed": fmean(noticed),
        "honest_noticed": fmean(_conflicts(asker, each.id) >= _FEWEST for each in honest),
        "right_before_misleading": before,
        "right_beside_misleading": right(),
        "misled": {
            way: fmean(asker.says(f.question, f.after, mode=way) for f in facts) for way in _WAYS
        },
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


def _conflicts(asker: Asker, id: str, about: str | None = None) -> int:
    path = f"/v1/documents/{id}"
    found = asker.http.get(path, params={"collection": COLLECTION}).raise_for_status().json()
    return sum(about in (None, each["document_id"]) for each in found["conflicts"])
