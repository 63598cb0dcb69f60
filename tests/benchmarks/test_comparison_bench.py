"""The comparison through the whole service, made small: it trains, reports and says its claims."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.articles import ArticlesPlan
from benchmarks.comparison import ComparisonPlan, run_comparison
from benchmarks.service_process import QUICK
from benchmarks.waiting import Ledger, finished
from evaluation.results import begin

SQUAD = {
    "data": [
        {
            "title": title,
            "paragraphs": [
                {
                    "context": f"{words} It stands by the river and is open on Sundays.",
                    "qas": [{"id": title, "question": asked, "answers": [{"text": answer}]}],
                }
            ],
        }
        for title, words, asked, answer in (
            ("Mill", "The mill was built by Mira Tolen.", "Who built the mill?", "Mira Tolen"),
            ("Ferry", "The ferry was painted green in May.", "When was it painted?", "May"),
        )
    ]
}


def test_documents_go_in_and_claims_come_out(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text(json.dumps(SQUAD))
    plan = ComparisonPlan(
        seeds=(7, 8),
        compressions=(10.0, 5.0),
        documents=2,
        stated=2,
        unstated=1,
        training=QUICK | {"batch": 6, "accept_at": 0.0},
        arms=("rag_1", "rag_3", "cartridges_1", "cartridge_then_passage", "cartridges_3", "icl"),
        compressed=("rag_3", "cartridge_then_passage", "cartridges_3", "icl"),
        articles=ArticlesPlan(tmp_path / "dev.json", arms=("rag_1",)),
    )
    said: list[str] = []
    result = run_comparison(tmp_path, plan, tmp_path / "work", lambda words, _: said.append(words))
    claims = result["claims"]
    assert claims["rag_prompt_token_ratio"]["value"] > 1
    assert claims["retrieval_recall_at_1_squad"]["value"] == 1.0
    assert "rag_difference_points" in claims
    assert claims["rag_1_prompt_token_ratio"]["value"] < claims["rag_prompt_token_ratio"]["value"]
    world, denser, articles = result["rows"]
    # Trained anew from the same studies, and asked what depends on it.
    assert {arm["arm"] for arm in denser["arms"]} == {*plan.compressed}
    assert "bare_rag_difference_points" in claims
    assert "bare_rag_difference_points_5x" not in claims
    # Each collection's own difference is kept, and claims are over these.
    ahead = world["points_by_collection"]["rag_3"]
    assert len(ahead) == len(plan.seeds)
    read = world["read_tokens_by_collection"]
    ratios = [
        rag / own for rag, own in zip(read["rag_3"], read["cartridge_then_passage"], strict=True)
    ]
    assert claims["rag_prompt_token_ratio"]["value"] == pytest.approx(sum(ratios) / 2, rel=0.01)
    assert {*world["break_even_by_collection"]} == {"rag_3", "icl"}
    assert {row["measured"]["commit"] for row in result["rows"]} == {result["commit"]}
    assert claims["rag_difference_points"]["value"] == pytest.approx(sum(ahead) / 2, abs=0.01)
    assert "cartridges_1" in world["points_by_collection"]
    slots = [
        {arm["arm"]: arm["cartridge_slots"] for arm in row["arms"]}["cartridges_3"]
        for row in (world, denser)
    ]
    assert slots[1] > 1.5 * slots[0]
    assert world["documents_without_a_cartridge"] == 0
    files = [[*(tmp_path / "work" / name / "studies").rglob("*.parquet")] for name in ("10x", "5x")]
    assert len(files[0]) == len(files[1]) == 4
    asked = {arm["arm"]: arm["questions"] for arm in world["arms"]}
    assert asked.keys() == {*plan.arms}
    # Both collections' own, and each has a question of the same number.
    assert asked["icl"] == 8
    assert asked["rag_3"] > 8
    assert articles["arms"][0]["questions"] == 2
    assert json.loads((tmp_path / "comparison.json").read_text())["claims"] == claims


def test_what_was_sent_is_waited_for_and_what_failed_is_sent_again(tmp_path: Path) -> None:
    jobs: dict[str, list[str]] = {"a": ["running", "failed"], "b": ["queued", "succeeded"]}
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        id = request.url.path.rsplit("/", 1)[1]
        if id not in jobs:
            return httpx.Response(404)
        states = jobs[id]
        status = states.pop(0) if len(states) > 1 else states[0]
        body = {
            "id": id,
            "kind": "report",
            "status": status,
            "stage": "x",
            "progress": 0.5,
            "error": "It broke.",
        }
        return httpx.Response(200, json=body)

    def send() -> dict[str, Any]:
        sent.append("ab"[len(sent)])
        return {"job": {"id": sent[-1], "status": "queued", "stage": "", "progress": 0.0}}

    ledger = Ledger(tmp_path / "jobs.json", begin())
    with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://here") as client:
        with pytest.raises(RuntimeError, match="It broke"):
            finished(client, ledger, "train", send, lambda *_: None, seconds=0.0)
        # The one that failed is sent again; the one that ended well never is.
        for _ in range(2):
            job = finished(client, ledger, "train", send, lambda *_: None, seconds=0.0)
            assert (job["id"], job["status"]) == ("b", "succeeded")
    assert sent == ["a", "b"]
