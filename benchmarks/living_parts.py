"""The parts of a collection's life, each over HTTP: arriving, being asked, changing, leaving.

Knows HTTP, sheets and articles; knows no plan and nothing of the service's inside.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import cycle
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import httpx

from benchmarks.waiting import ended, ingested, sent, waited
from evaluation.abstention import score_abstention
from evaluation.datasets.catalogue import load
from evaluation.datasets.changed_world import Changed
from evaluation.datasets.questions import Document
from evaluation.scoring import states
from training.settings import TrainingSettings

Report = Callable[[str, float], None]
Row = dict[str, Any]

READ = "read_as_text"

_LOOK_SECONDS = 0.25
_TEXT_SECONDS = 60.0
_WAYS: tuple[dict[str, Any], ...] = (
    *({"mode": mode} for mode in ("auto", "cartridge", "rag", "icl")),
    {"mode": "cartridge", "top_k": 3},
)


class Asker:
    """Somebody who sends documents and questions to a collection of a service, which starts when it is
    first spoken to."""

    def __init__(self, start: Callable[[], httpx.Client], collection: str = "living") -> None:
        self._start, self.collection = start, collection

    def of(self, collection: str) -> "Asker":
        """The same for another collection of the service."""
        return Asker(lambda: self.http, collection)

    @cached_property
    def http(self) -> httpx.Client:
        """The running service."""
        return self._start()

    def ask(self, question: str, **fields: Any) -> Row:
        """The answer, as the service gives it."""
        body = {"question": question, "collection": self.collection} | fields
        return dict(self.http.post("/v1/answers", json=body).raise_for_status().json())

    def says(self, question: str, value: str, **fields: Any) -> bool:
        """Whether the answer states the value."""
        return states(self.ask(question, **fields)["answer"], value)

    def leave(self, document: Document) -> None:
        """Delete a document, where it is there; the service runs then."""
        path = f"/v1/documents/{document.id}"
        answer = self.http.delete(path, params={"collection": self.collection})
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()

    def send(self, document: Document) -> str:
        """The job of a document, or of a version of it."""
        return sent(self.http, self.collection, document)

    def done(self, job: str) -> bool:
        """Whether a job has ended."""
        return ended(self.http.get(f"/v1/jobs/{job}").raise_for_status().json())

    def wait(self, job: str, report: Callable[[float], None] = lambda _: None) -> Row:
        """A job when it has ended. Raises RuntimeError where it came to nothing."""
        found = dict(self.http.get(f"/v1/jobs/{job}").raise_for_status().json())
        return waited(self.http, found, job, lambda _, done: report(done), seconds=_LOOK_SECONDS)


@contextlib.contextmanager
def asking(service: AbstractContextManager[tuple[str, Any]]) -> Iterator[Asker]:
    """Somebody who asks a service; where nothing is asked, because all is known, it is not started."""
    with contextlib.ExitStack() as stack:

        def start() -> httpx.Client:
            url, _ = stack.enter_context(service)
            return stack.enter_context(httpx.Client(base_url=url, timeout=600.0))

        yield Asker(start)


def trained_whole(
    asker: Asker, documents: Sequence[Document], settings: TrainingSettings, report: Report
) -> Row:
    """Documents sent and trained together; the steps that it took."""
    ingested(asker.http, asker.collection, documents)
    job = (
        asker.http.post(f"/v1/collections/{asker.collection}/train")
        .raise_for_status()
        .json()["job"]
    )
    result = asker.wait(job["id"], lambda done: report("collection", done))["result"]
    # One that was left out has learned nothing.
    found = (each.get("figures") for each in result["documents"].values())
    studied = [figures["conversations"] for figures in found if figures]
    steps = settings.joint_share * sum(map(settings.steps, studied))
    return {"steps": round(steps), "published": result["published"]}


def arrive(asker: Asker, sheet: Changed) -> Row:
    """A document comes: seconds until its text, its draft and its cartridge answer, and steps."""
    asker.leave(sheet.before)  # of a run that stopped when it had come
    asker.ask("Who?", mode="rag")  # no document waits for the encoder to be loaded
    began = time.monotonic()
    job = asker.send(sheet.before)
    text = _until_right(asker, sheet) - began
    drafted = _until_drafted(asker, sheet, job)
    result = asker.wait(job)["result"]
    trained = time.monotonic() - began
    return {
        "seconds_to_text": text,
        # What no draft answered rightly was answered by a cartridge only when it was trained.
        "seconds_to_draft": trained if drafted is None else drafted - began,
        "seconds_to_trained": trained,
        "join_steps": result.get("figures", {}).get("steps", 0),
        "joined_published": int(result["published"]),
    }


def _until_right(asker: Asker, sheet: Changed) -> float:
    """When a question to the document was first answered rightly. Raises RuntimeError after a minute."""
    until = time.monotonic() + _TEXT_SECONDS
    while time.monotonic() < until:
        for asked in sheet.asked:
            if asker.says(asked.question, asked.before):
                return time.monotonic()
    raise RuntimeError(f"Nothing about {sheet.before.id} was answered rightly within a minute.")


def _until_drafted(asker: Asker, sheet: Changed, job: str) -> float | None:
    """When one was first answered rightly from a draft; None where its job has ended before."""
    while not asker.done(job):
        for asked in sheet.asked:
            answer = asker.ask(asked.question)
            drafted = any(
                source["via"] == "cartridge" and source["document_id"] == sheet.before.id
                for source in answer["sources"]
            )
            if drafted and states(answer["answer"], asked.before):
                return None if asker.done(job) else time.monotonic()
    return None


def scored(asker: Asker, sheets: Sequence[Changed], asked: int) -> dict[str, float]:
    """Shares of right answers from cartridges: the document's alone, among three others, and found.

    And of answers that were read from text, because a document had no cartridge.
    """
    ids, read = [sheet.before.id for sheet in sheets], []
    right: dict[str, list[bool]] = {"alone": [], "composed": [], "retrieved": []}
    for place, sheet in enumerate(sheets):
        company = [ids[(place + step) % len(ids)] for step in range(min(4, len(ids)))]
        for each in sheet.asked[:asked]:
            for way, fields in (
                ("alone", {"documents": company[:1]}),
                ("composed", {"documents": company}),
                ("retrieved", {"top_k": 3}),
            ):
                said = asker.ask(each.question, mode="cartridge", **fields)
                right[way].append(states(said["answer"], each.before))
                read.append(any(source["via"] == "text" for source in said["sources"]))
    return {way: fmean(each) for way, each in right.items()} | {READ: fmean(read)}


def unchanged(asker: Asker, sheets: Sequence[Changed]) -> Row:
    """What is known, before any of them changes, of what will stay as it is."""
    right = [each for sheet in sheets for each in _kept(asker, sheet, after=False)]
    return {"unchanged_before": fmean(right)}


def _kept(asker: Asker, sheet: Changed, *, after: bool) -> list[bool]:
    """Of what both versions of a document say, which is answered as it says."""
    of = {"mode": "cartridge", "documents": [sheet.before.id]}
    return [
        asker.says(each.question, each.after if after else each.before, **of)
        for each in sheet.asked
        if not each.changed
    ]


def changed(
    asker: Asker, sheets: Sequence[Changed], settings: TrainingSettings, report: Report
) -> Row:
    """Documents sent in their next version: what is then said of what changed, and of the rest."""
    since, new, old, ratios, published = [], [], [], [], 0
    for place, sheet in enumerate(sheets):
        report("updates", place / len(sheets))
        id = sheet.before.id
        result = asker.wait(asker.send(sheet.after))["result"]
        published += result["published"]
        if figures := result.get("figures"):
            ratios.append(figures["steps"] / settings.steps(figures["conversations"]))
        since += _kept(asker, sheet, after=True)
        for each in (each for each in sheet.asked if each.changed):
            said = asker.ask(each.question, mode="cartridge", documents=[id])["answer"]
            new.append(states(said, each.after))
            old.append(states(said, each.before))
    return {
        "changed_new": fmean(new),
        "changed_old": fmean(old),
        "unchanged_after": fmean(since),
        "update_step_ratio": fmean(ratios) if ratios else None,
        "updates_published": published,
    }


def deleted(
    asker: Asker, leaving: Sequence[Changed], staying: Sequence[Changed], probes: int, asked: int
) -> Row:
    """Documents deleted, then asked about in every way; and the others before and after.

    A value that another document has, too, would prove nothing: its question is not asked.
    """
    rest = [sheet.before.text + sheet.after.text for sheet in staying]
    about = [
        (sheet.before.id, each)
        for sheet in leaving
        for each in sheet.asked
        if not any(each.before in text for text in rest)
    ]
    for sheet in leaving:
        asker.leave(sheet.before)
    tried = revealed = 0
    for id, each in cycle(about):
        if tried >= probes:
            break
        for way in _WAYS:
            revealed += asker.says(each.question, each.before, **way)
        body = {"question": each.question, "collection": asker.collection, "documents": [id]}
        revealed += asker.http.post("/v1/answers", json=body).status_code != 404
        tried += len(_WAYS) + 1
    return {
        "probes": tried,
        "revealed": revealed,
        "neighbours_after": scored(asker, staying, asked)["retrieved"],
    }


def abstained(asker: Asker, path: Path, count: int, seed: int) -> Row:
    """Real articles, half of them there: questions about all, after a calibration by other questions."""
    dataset = load("squad", path, None, None, seed)
    rng = Random(f"living/{seed}")
    articles = rng.sample(dataset.documents, len(dataset.documents))
    there = articles[: len(articles) // 2]
    ingested(asker.http, asker.collection, there)
    ids = {article.id for article in there}
    questions = rng.sample(dataset.questions, len(dataset.questions))
    inside = [q.text for q in questions if ids & {*q.documents}]
    outside = [q.text for q in questions if not ids & {*q.documents}][: count // 2]
    asked, known = inside[: count // 2], inside[count // 2 :][:count]
    asker.http.put(
        f"/v1/collections/{asker.collection}/relevance", json={"questions": known}
    ).raise_for_status()
    quiet = [_refused(asker, question) for question in (*asked, *outside)]
    found = score_abstention(quiet, [False] * len(asked) + [True] * len(outside))
    return {"article_abstention": {"precision": found.precision, "recall": found.recall}}


def _refused(asker: Asker, question: str) -> bool:
    """Whether nothing was looked at for the question: what the reader makes of real text is not asked."""
    return not asker.ask(question, max_tokens=1)["sources"]
