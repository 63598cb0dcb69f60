"""Cartridges against RAG over held-out collections of the world: documents in, reports out.

`cartridges reproduce comparison` sends each seed's documents to the real service, trains each collection
as a whole at every compression, and orders a report over it. Scores are those of the reports' own records,
compared over all seeds. What is done lies in the working folder: the same command goes on where it was
stopped. This file knows HTTP and records; it knows nothing of the service's inside.
"""

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import httpx

from benchmarks.articles import ArticlesPlan, articles_claims, run_articles
from benchmarks.compared import BARE, CARTRIDGES, TEXT, Compared, claims_of, compared, row_of
from benchmarks.service_process import begun_with, serving
from benchmarks.waiting import Ledger, finished, ingested
from evaluation.datasets.own import to_lines
from evaluation.datasets.questions import Dataset
from evaluation.datasets.world import load_world
from evaluation.exam import bundled_digest, exam, file_digest
from evaluation.report.assembly import assemble
from evaluation.report.costs import TrainingCost
from evaluation.report.records import Record, RecordFolder
from evaluation.results import Claim, begin, require_plan, write_result
from training.settings import TrainingSettings

Report = Callable[[str, float], None]

FIRST_SEED = 436
"""411 to 413 chose the doubts that `auto` has, after 431 to 435 had called for others (docs/log.md): none
of them is to measure these."""


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """How much is compared; documents, questions and steps are those of a seed's collection.

    `joint_share` is the share of the service's usual training steps. One cartridge for all documents is no
    arm here: it takes as long to train as the collection, for every report. `articles` is the file of
    SQuAD's development set, left out where there is none.
    """

    seeds: tuple[int, ...] = tuple(range(FIRST_SEED, FIRST_SEED + 5))
    compressions: tuple[float, ...] = (10.0, 20.0)
    documents: int = 10
    stated: int = 16  # questions to each document that it answers
    unstated: int = 4  # and that no document does
    joint_share: float = 0.6
    # Beside the service's usual recipe: the company is what is mounted, one document or up to five.
    training: Mapping[str, Any] = field(default_factory=lambda: {"alone": 0.5, "distractors": 4})
    # Those that the claims are of, and what they are seen beside; a report has more.
    arms: tuple[str, ...] = (
        *("no_context", "icl", "truncated_icl", "rag_1", "rag_3", "rag_5"),
        *("oracle_cartridge", "cartridges_1", "cartridges_3", "cartridge_then_passage"),
    )
    # At later compressions: what the claims are of. Others answer the same whatever the compression is.
    compressed: tuple[str, ...] = (
        *("icl", "rag_1", "rag_3"),
        *("oracle_cartridge", "cartridges_1", "cartridge_then_passage"),
    )
    articles: ArticlesPlan | None = None


def run_comparison(
    out: Path,
    plan: ComparisonPlan,
    work: Path,
    report: Report = lambda *_: None,
    *,
    command: str = "cartridges reproduce comparison",
) -> dict[str, Any]:
    """Ingest, train, report, compare, and write comparison.json.

    Raises AnotherPlan where the working folder was begun by another one.
    """
    began = begin()
    asked = asdict(plan) | {"seeds": None}
    if plan.articles is not None:
        asked["articles"] |= {"path": file_digest(plan.articles.path)}
    # With what the plan leaves to the defaults.
    asked["training"] = TrainingSettings(**plan.training, joint_share=plan.joint_share).to_dict()
    require_plan(work, asked | exam(bundled_digest()))
    whole = len(plan.compressions) + (plan.articles is not None)
    rows: list[dict[str, Any]] = []
    claims: dict[str, Claim] = {}
    for place, compression in enumerate(plan.compressions):

        def told(words: str, done: float, place: int = place, at: float = compression) -> None:
            report(f"{at:g}x, {words}", (place + done) / whole)

        arms = plan.arms if place == 0 else plan.compressed
        data = work / f"{compression:g}x"
        if place:
            # The studies, which no compression changes, and nothing that was trained on them.
            begun_with(data, work / f"{plan.compressions[0]:g}x")
        ledger = Ledger(data.parent / f"{data.name}.json", began)
        found = _compared(compression, replace(plan, arms=arms), data, ledger, told)
        rows.append(row_of(compression, found) | {"measured": ledger.made()})
        claims |= claims_of(found, "" if place == 0 else f"_{compression:g}x")
    if plan.articles is not None:
        row = run_articles(
            plan.articles,
            work / "articles",
            began,
            lambda words, done: report(words, (whole - 1 + done) / whole),
        )
        rows.append(row)
        claims |= articles_claims(row)
    report("done", 1.0)
    return write_result(
        out,
        "comparison",
        command=f"{command} --seeds {len(plan.seeds)} --json",
        seeds=plan.seeds,
        rows=rows,
        claims=claims,
        began=began,
    )


def _cost(said: Mapping[str, Any], share: float) -> TrainingCost:
    """A report's cost of training, so many times."""
    cost = TrainingCost(**said)
    return replace(cost, seconds=cost.seconds * share, tokens=round(cost.tokens * share))


def _compared(
    compression: float, plan: ComparisonPlan, data: Path, ledger: Ledger, report: Report
) -> Compared:
    """Documents in, reports out, of every seed."""
    records: list[list[Record]] = []
    costs: dict[str, list[TrainingCost]] = {}
    training = {**plan.training, "joint_share": plan.joint_share}
    # Seeds go side by side, each on a core of its own: on shared ones both a training and an answer would
    # seem to take longer than they do.
    workers = {"workers": str(min(len(plan.seeds), os.cpu_count() or 1)), "threads": "1"}
    with serving(data, training, compression=str(compression), **workers) as (url, _):
        trained = _each(
            url, plan, partial(_trained, ledger), lambda words, done: report(words, 0.7 * done)
        )
        reports = _each(
            url,
            plan,
            partial(_reported, ledger),
            lambda words, done: report(words, 0.7 + 0.3 * done),
        )
        for seed, made, job in zip(plan.seeds, reports, trained, strict=True):
            # What was trained and did not pass has no cartridge to say what it took.
            left = plan.documents / max(1, plan.documents - job["result"]["unpublished"])
            for arm in made["arms"]:
                if arm["training"] is not None:
                    costs.setdefault(arm["name"], []).append(_cost(arm["training"], left))
            collection, id = _collection(seed), ledger.job(f"{_collection(seed)}/report")
            runs = (data / "reports" / collection / str(id) / "runs").iterdir()
            newest = max(runs, key=lambda run: run.stat().st_mtime)
            # Every collection has a first question: they are told apart by its name.
            records.append(
                [
                    replace(record, question_id=f"{collection}/{record.question_id}")
                    for record in RecordFolder(newest / "records").read()
                ]
            )
    # An arm without a cartridge in one of them has no cost to compare by.
    costs = {arm: of for arm, of in costs.items() if len(of) == len(records)}
    found = assemble(
        [record for of_seed in records for record in of_seed],
        title=f"Cartridges at {compression:g}x, RAG and the text in context",
        dataset=f"{len(plan.seeds)} held-out collections of {plan.documents} documents each",
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command="cartridges reproduce comparison",
        cartridge_arm=CARTRIDGES,
        text_arm=TEXT,
        bare_arm=BARE,
        settings={**training, "compression": compression},
        # Of one collection: whoever asks has one.
        training={
            arm: TrainingCost(
                fmean(each.seconds for each in found),
                round(fmean(each.tokens for each in found)),
                round(fmean(each.documents for each in found)),
            )
            for arm, found in costs.items()
        },
    )
    return compared(
        found,
        records,
        [{arm: of[place] for arm, of in costs.items()} for place in range(len(records))],
        sum(job["result"]["unpublished"] for job in trained),
    )


class _Over(Exception):
    """Another seed has failed, or the run was interrupted."""


class _Work(Protocol):
    def __call__(
        self, client: httpx.Client, seed: int, plan: ComparisonPlan, report: Report
    ) -> dict[str, Any]: ...


def _each(url: str, plan: ComparisonPlan, work: _Work, report: Report) -> list[dict[str, Any]]:
    """Do the work for every seed at the same time; what comes of it, in the seeds' order.

    Where one fails, or this is interrupted, the others end at their next look at their job.
    """
    shares = dict.fromkeys(plan.seeds, 0.0)
    over = threading.Event()

    def done(seed: int) -> dict[str, Any]:
        def told(stage: str, done: float) -> None:
            if over.is_set():
                raise _Over
            shares[seed] = done
            report(stage, sum(shares.values()) / len(shares))

        with httpx.Client(base_url=url, timeout=600.0) as client:
            return work(client, seed, plan, told)

    with ThreadPoolExecutor(len(plan.seeds)) as threads:
        futures = [threads.submit(done, seed) for seed in plan.seeds]
        try:
            for future in as_completed(futures):
                future.result()  # the first that fails ends the run
        except BaseException:
            over.set()  # leaving the threads waits for them
            raise
        return [future.result() for future in futures]


def _trained(
    ledger: Ledger, client: httpx.Client, seed: int, plan: ComparisonPlan, report: Report
) -> dict[str, Any]:
    """A seed's documents sent, and their collection trained as a whole."""
    collection = _collection(seed)

    def send() -> dict[str, Any]:
        sent = client.post(f"/v1/collections/{collection}/train")
        return dict(sent.raise_for_status().json())

    ingested(client, collection, _drawn(seed, plan).documents)
    return finished(client, ledger, f"{collection}/train", send, report)


def _reported(
    ledger: Ledger, client: httpx.Client, seed: int, plan: ComparisonPlan, report: Report
) -> dict[str, Any]:
    """The report over a seed's trained collection."""
    dataset, collection = _drawn(seed, plan), _collection(seed)

    def order() -> dict[str, Any]:
        body = {
            "collection": collection,
            "questions": to_lines(dataset),
            "arms": [*plan.arms],
            "concurrency": 0,
        }
        return dict(client.post("/v1/reports", json=body).raise_for_status().json())

    job = finished(client, ledger, f"{collection}/report", order, report)
    return dict(client.get(f"/v1/reports/{job['id']}").raise_for_status().json())


def _drawn(seed: int, plan: ComparisonPlan) -> Dataset:
    return load_world(seed, sheets=plan.documents, stated=plan.stated, unstated_too=plan.unstated)


def _collection(seed: int) -> str:
    return f"world-{seed}"
