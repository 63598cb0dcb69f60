"""Real articles: how well retrieval finds them, and how little the bundled reader makes of them.

SQuAD's articles and questions (Rajpurkar et al., arXiv 1606.05250), a document each. Retrieval is the
service's own, with its real encoder; answers are those of the service over HTTP, from text. This file
knows SQuAD's loader, a retriever and HTTP; it trains nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.service_process import serving
from benchmarks.waiting import Ledger, finished, ingested
from evaluation.datasets.catalogue import limited, load
from evaluation.datasets.own import to_lines
from evaluation.datasets.questions import Dataset
from evaluation.ranking import score_rankings
from evaluation.report.comparison import bootstrap
from evaluation.results import Began, Claim
from evaluation.statistics import Estimate
from retrieval.documents import DocumentLibrary
from retrieval.encoder import MiniLmEncoder
from retrieval.retriever import Retriever

_COLLECTION = "articles"
_DEPTHS = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class ArticlesPlan:
    """`searched` questions for retrieval, `asked` of them answered too; drawn with `seed`."""

    path: Path
    searched: int = 1_000
    asked: int = 100
    arms: tuple[str, ...] = ("no_context", "rag_1", "rag_3", "rag_5")
    seed: int = 0


def run_articles(
    plan: ArticlesPlan, work: Path, began: Began, report: Callable[[str, float], None]
) -> dict[str, Any]:
    """Recall of the right article at 1, 5 and 10, and scores of the reader with text."""
    dataset = load("squad", plan.path, None, plan.searched, plan.seed)
    report("articles: retrieval", 0.0)
    row: dict[str, Any] = {
        "articles": len(dataset.documents),
        "searched": len(dataset.questions),
        "recall": _recall(dataset, work / "index"),
    }
    sample = limited(dataset, None, plan.asked, plan.seed)
    ledger = Ledger(work / "jobs.json", began)
    with (
        serving(work / "data", {}) as (url, _),
        httpx.Client(base_url=url, timeout=600.0) as client,
    ):
        ingested(client, _COLLECTION, dataset.documents)

        def order() -> dict[str, Any]:
            body = {
                "collection": _COLLECTION,
                "questions": to_lines(sample),
                "arms": [*plan.arms],
                "concurrency": 0,
            }
            return dict(client.post("/v1/reports", json=body).raise_for_status().json())

        job = finished(
            client, ledger, "report", order, lambda stage, done: report(f"articles: {stage}", done)
        )
        made = client.get(f"/v1/reports/{job['id']}").raise_for_status().json()
    row["arms"] = [
        {key: arm[key] for key in ("name", "questions", "score", "exact", "f1")}
        for arm in made["arms"]
    ]
    return row | {"measured": ledger.made()}


def _recall(dataset: Dataset, folder: Path) -> dict[str, list[float | None]]:
    """For each depth the mean over questions, with its interval over the articles."""
    library = DocumentLibrary(folder / "documents")
    retriever = Retriever(library, MiniLmEncoder(), folder / "vectors")
    for document in dataset.documents:
        library.put(_COLLECTION, document.id, document.title, document.text)
    retriever.reconcile(_COLLECTION)
    ranked = {
        question.id: [
            hit.document_id for hit in retriever.search(_COLLECTION, question.text, max(_DEPTHS))
        ]
        for question in dataset.questions
    }
    golds = {question.id: question.documents for question in dataset.questions}
    found = {}
    for depth in _DEPTHS:
        scores = score_rankings(ranked, golds, k=depth)
        recall = {id: each.recall for id, each in scores.items()}
        # Questions of one article are found, or missed, together.
        mean = bootstrap(recall, {id: golds[id][0] for id in recall})
        assert mean is not None
        found[str(depth)] = [
            None if x is None else round(x, 4) for x in (mean.mean, mean.low, mean.high)
        ]
    return found


def articles_claims(row: Mapping[str, Any]) -> dict[str, Claim]:
    """What the file says of real articles."""
    return {
        f"retrieval_recall_at_{depth}_squad": Claim(Estimate(*row["recall"][str(depth)]))
        for depth in _DEPTHS
    }
