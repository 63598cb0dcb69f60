"""Documents: where cartridges lose, and which cartridges are broken. Knows records, no page."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from evaluation.report.comparison import bootstrap, by_question
from evaluation.report.formatting import count, points
from evaluation.report.records import Record

# A cartridge that loses this much against the text is called broken, where chance is no excuse.
BROKEN_LOSS = 0.30
LEAST_QUESTIONS = 4
# 99 rather than 95 %: every document of a collection is tried, and the word is a hard one.
CONFIDENCE = 0.99

_NAMED = re.compile(r"\b[Cc]artridge of document (\S+?)[,;:]?\s")
_REFUSED = re.compile(r"\b(refused|failed|damaged|broken|rejected|corrupt\w*)\b")
_MISSING = re.compile(r"^Document (\S+) has no cartridge\b")


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """One document's mean score by arm.

    Attributes:
        scores: by arm, the arms that answered a question about it.
        loss: score of the text arm minus the cartridge arm on common questions, whether its cartridge was
            mounted or not; None without any.
    """

    document: str
    questions: int
    scores: dict[str, float]
    loss: float | None


@dataclass(frozen=True, slots=True)
class BrokenCartridge:
    """A cartridge that was refused or answers far worse than the text, with the evidence in words."""

    document: str
    refused: bool
    loss: float | None
    sentence: str


def by_document(
    records: Sequence[Record], cartridge_arm: str | None, text_arm: str | None
) -> tuple[DocumentRow, ...]:
    """A row for each gold document, where the cartridge arm loses most first."""
    rows = []
    for document, own in _grouped(records).items():
        arms = sorted({record.arm for record in own})
        ours, theirs = (
            by_question(r for r in own if r.arm == arm) for arm in (cartridge_arm, text_arm)
        )
        lost = [theirs[question] - ours[question] for question in ours if question in theirs]
        rows.append(
            DocumentRow(
                document=document,
                questions=len({record.question_id for record in own}),
                scores={
                    arm: fmean(by_question(r for r in own if r.arm == arm).values()) for arm in arms
                },
                loss=fmean(lost) if lost else None,
            )
        )
    return tuple(sorted(rows, key=lambda row: (-(row.loss or 0.0), row.document)))


def broken(
    records: Sequence[Record], cartridge_arm: str | None, text_arm: str | None, *, seed: int = 0
) -> tuple[BrokenCartridge, ...]:
    """Cartridges that a notice says were refused, and those that lose 30 points for more than chance.

    The latter have four questions or more, and a 99 % bootstrap interval over them below zero.
    """
    found = _refused(records)
    for document, own in _grouped(records).items():
        differences = _differences(own, cartridge_arm, text_arm)
        if (
            document in found
            or len(differences) < LEAST_QUESTIONS
            or fmean(differences.values()) > -BROKEN_LOSS
        ):
            continue
        value = bootstrap(differences, confidence=CONFIDENCE, seed=seed)
        if value is None or value.high is None or value.high >= 0:
            continue
        scores = by_question(r for r in own if r.arm == cartridge_arm)
        ours = fmean(scores[question] for question in differences)
        found[document] = BrokenCartridge(
            document=document,
            refused=False,
            loss=-value.mean,
            sentence=(
                f"The cartridge of document {document} is broken: {cartridge_arm} scores "
                f"{points(ours)} on its {len(differences)} questions, {points(-value.mean)} points "
                f"less than {text_arm}."
            ),
        )
    return tuple(sorted(found.values(), key=lambda each: (not each.refused, each.document)))


def missing(records: Iterable[Record]) -> tuple[str, ...]:
    """Documents of which a notice says that they have no cartridge."""
    found = (_MISSING.match(notice) for record in records for notice in record.notices)
    return tuple(sorted({match[1] for match in found if match}))


def _refused(records: Sequence[Record]) -> dict[str, BrokenCartridge]:
    answers: dict[str, int] = defaultdict(int)
    reasons: dict[str, str] = {}
    for record in records:
        for notice in dict.fromkeys(record.notices):
            named = _NAMED.search(f"{notice} ")
            if named and _REFUSED.search(notice):
                answers[named[1]] += 1
                reasons.setdefault(named[1], notice)
    return {
        document: BrokenCartridge(
            document=document,
            refused=True,
            loss=None,
            sentence=(
                f"The cartridge of document {document} is broken: {count(number)} "
                f"{'answer' if number == 1 else 'answers'} came without it. The service says: "
                f"“{reasons[document]}”"
            ),
        )
        for document, number in sorted(answers.items())
    }


def _grouped(records: Iterable[Record]) -> dict[str, list[Record]]:
    grouped: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        for document in dict.fromkeys(record.gold_documents):
            grouped[document].append(record)
    return dict(sorted(grouped.items()))


def _differences(
    records: Sequence[Record], cartridge_arm: str | None, text_arm: str | None
) -> dict[str, float]:
    # A cartridge that was not mounted has lost nothing: that is retrieval's, or its document has none.
    ours = by_question(
        record
        for record in records
        if record.arm == cartridge_arm
        and set(record.gold_documents) & set(record.sources)
        and not any(_MISSING.match(notice) for notice in record.notices)
    )
    theirs = by_question(record for record in records if record.arm == text_arm)
    return {question: ours[question] - theirs[question] for question in ours if question in theirs}
