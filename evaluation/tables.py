"""Tables of the documentation, generated from `docs/results/`: `python -m evaluation.tables`.

Text between `<!-- results:NAME -->` and `<!-- /results -->` belongs to this program; with `--write`
it is made anew, without it a difference is an error. This file knows Markdown and result files.
"""

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

_BLOCK = re.compile(r"(<!-- results:([a-z_-]+) -->\n)(.*?)(<!-- /results -->)", re.DOTALL)
PAGES = (
    "README.md",
    "reader/checkpoint/README.md",
    "docs/composing.md",
    "docs/living.md",
    "docs/replicas.md",
    "docs/vllm.md",
)

_WORDS = {
    "icl_em": "Exact match, one sheet of about 400 tokens in context",
    "icl4_em": "Exact match, four sheets in context",
    "no_context_em": "Exact match without any document",
    "lossless_max_abs_diff": "Largest logit difference, mounted document KV against prefill (fp32)",
    "isolated_gap_points": "ICL minus isolated cartridge, points",
    "ntp_gap_points": "Cartridge minus next-token-prediction baseline, one sheet a seed, points",
    "truncated_gap_points": "Cartridge minus ICL truncated to as many tokens as slots, points",
    "compression": "Compression: document tokens for each slot",
    "collapse_points": "Lost when two isolated cartridges are composed, points",
    "em_1k": "Exact match on single facts, one document of about 1,000 tokens",
    "em_4k_lookalike": "Exact match, four look-alike documents, about 4,000 tokens",
    "em_unseen_attributes": "Exact match on attributes that no list of training has",
    "em_heldout_kind": "Exact match on the kind of document that training never draws",
    "em_join": "Exact match on joins across two documents",
    "not_stated_precision": "*Not stated*: precision",
    "not_stated_recall": "*Not stated*: recall",
    "selfstudy_fact_coverage": "Facts of a 1,000-token document that 64 self-study questions touch",
    "selfstudy_answerable": "Self-study questions about a fact of the document",
    "handwritten_em": "Hand-written sheets in thirty styles, 180 questions",
    "handwritten_unseen_em": "Thirty others that nobody looked at who wrote the recipe",
    "kv_bytes_ratio_vs_icl": "KV bytes of a request in the pool, cached 16k-token text over cartridge",
    "throughput_ratio_vs_cached_icl": "Throughput against cached text, memory-bound shape",
    "throughput_ratio_vs_icl_with_prefill": "Throughput against text that is read anew",
    "throughput_ratio_vs_rag": "Throughput against RAG passages of 3.5 tokens a slot",
    "throughput_ratio_vs_peft": "Throughput against PEFT's CARTRIDGE with generate",
    "throughput_ratio_vs_generate": "Throughput against generate, all compositions stacked in one batch",
    "throughput_ratio_vs_generate_by_composition": "Throughput against generate, a batch a composition",
    "compose_ratio_vs_bytes_moved": "Composing 10 resident cartridges, over copying their bytes",
    "compose_share_of_first_token": "Composing 10 resident cartridges, share of time to first token",
    "icl_loss_at_8_points": "Lost by the texts themselves in context, from one to 8, points",
    "isolated_loss_at_8_points": "Lost by isolated cartridges from alone to 8 loaded, points",
    "mixed_loss_at_8_points": "Lost by mixed cartridges from alone to 8 loaded, points",
    "mixed_loss_at_20_points": "Lost by mixed cartridges from alone to 20 loaded, points",
    "mixed_minus_isolated_alone_points": "Mixed minus isolated, each alone, points",
    "rag_passages_difference_points": "Retrieved cartridges minus RAG with three passages, points",
    "rag_passages_prompt_token_ratio": "Tokens read, RAG with three passages over slots",
    "oracle_gap_10x_points": "ICL minus the document's own mixed cartridge at 10x, points",
    "oracle_gap_20x_points": "ICL minus the document's own mixed cartridge at 20x, points",
    "monolithic_gain_points": "Retrieved cartridges minus one monolithic cartridge, points",
    "rag_difference_points": "Cartridges minus RAG with the same retriever, points",
    "rag_difference_low_points": "Lower end of that interval",
    "rag_prompt_token_ratio": "Tokens read, RAG over cartridges, slots counted as tokens",
    "rag_difference_points_20x": "Cartridges minus RAG, at 20x, points",
    "rag_difference_low_points_20x": "Lower end of that interval, at 20x",
    "rag_prompt_token_ratio_20x": "Tokens read, RAG over cartridges, at 20x",
    "rag_1_difference_points": "Cartridges minus RAG with one passage, points",
    "rag_1_prompt_token_ratio": "Its tokens over cartridges', slots counted as tokens",
    "rag_1_difference_points_20x": "Cartridges minus RAG with one passage, at 20x, points",
    "rag_1_prompt_token_ratio_20x": "Its tokens over cartridges', at 20x",
    "bare_rag_difference_points": "The best document's cartridge and no second look, minus RAG, points",
    "bare_rag_prompt_token_ratio": "RAG's tokens over its, slots counted as tokens",
    "bare_rag_difference_points_20x": "The best document's cartridge alone minus RAG, at 20x, points",
    "bare_rag_prompt_token_ratio_20x": "RAG's tokens over its, at 20x",
    "break_even_questions_vs_rag": "Questions to ten documents that pay for their training, against RAG",
    "break_even_questions_vs_icl": "The same against the text in context",
    "break_even_questions_vs_rag_20x": "Questions until it has paid against RAG, at 20x",
    "break_even_questions_vs_icl_20x": "The same against the text in context, at 20x",
    "retrieval_recall_at_1_squad": "SQuAD's articles: the right one found first",
    "retrieval_recall_at_5_squad": "Among the first five",
    "retrieval_recall_at_10_squad": "Among the first ten",
    "collection_tokens": "Tokens of the largest collection that was trained",
    "collection_documents": "Documents of that collection",
    "collection_memory_ratio": "Peak memory of its training, over that of an eighth of it",
    "resume_identical": "Whether killed twice it ends with the very cartridges (1: yes)",
    "kill_rounds": "Rounds of kill -9 of who works on the store, of Redis and of the whole service",
    "kill_losses": "Documents lost or gone back, blobs not whole, orphans",
    "bitflips_tried": "Bits flipped in a cartridge's file",
    "bitflips_accepted": "Of these accepted",
    "load_ratio_vs_read_hash": "Loading and verifying 90 MB, over reading and hashing them",
    "fuzz_minutes": "Minutes of arbitrary and forged files at the loader",
    "fuzz_crashes": "Of these neither a whole cartridge nor the documented refusal",
    "clients": "Clients at once",
    "minutes": "Minutes of load",
    "requests": "Requests in that time",
    "server_errors": "Of these failed here, or streams that broke off",
    "leaked_pins": "Bytes still pinned when nobody asks any more",
    "nodes": "Nodes",
    "hit_rate_residency": "Cartridges that were there already, routed by residency",
    "hit_rate_hashing": "The same, by hashing the composition, bounded",
    "hit_rate_hashing_document": "The same, by hashing the document found first",
    "hit_rate_hashing_collection": "The same, by hashing the collection (a router without search)",
    "hit_rate_hashing_large_collection": "The same, in collections of 100,000 documents",
    "hit_rate_residency_large_collection": "Routed by residency in collections of 100,000 documents",
    "hit_rate_random": "By chance",
    "fetched_ratio_random_over_residency": "Bytes fetched for a question, chance over residency",
    "fetched_ratio_hashing_over_residency": "Bytes fetched, hashing compositions (bounded) over residency",
    "load_max_over_mean_residency": "Busiest node over the mean, routed by residency",
    "fetched_ratio_document_over_residency": "Bytes fetched, hashing first documents over residency",
    "load_max_over_mean_hashing_unbounded": "Busiest node over the mean, hashing without a bound",
    "redis_gigabytes": "Redis for all of it, extrapolated from a sample, GB",
    "memory_growth_ratio": "Memory of the API, last minute over the second",
    "p99_first_token_ms": "First token of a streamed answer, 99th percentile, ms",
    "lost_in_trouble": "Documents lost while Redis stopped and the worker was killed",
    "documents": "Documents of the collection",
    "published_more_than_once": "Of these with two versions, by two Ray workers, two of them killed",
    "differing_cartridges": "Of these not the cartridge that one process makes",
    "speedup_2_workers": "Seconds of one process over those of two workers, kills and start included",
    "cold_reads_for_100_requests": "Reads of one cold cartridge for 100 requests at once",
    "registry_lookup_ms_median": "Looking up 10 locations among 10,000 cartridges, ms",
    "outputs_equal_fraction": "Greedy answers through vLLM that equal the local engine's",
    "contaminated_answers": "Answers that change when 64 requests over 16 compositions run at once",
    "throughput_ratio_vs_cached_rag": "vLLM throughput against cached RAG text of 4 tokens a slot",
    "throughput_ratio_vs_cached_full_document": "vLLM throughput against cached whole documents",
    "kv_blocks_ratio_vs_rag": "KV blocks in use at the peak, RAG text over cartridges",
    "living_documents": "Documents that are trained together first",
    "joined_documents": "Documents that join them, one by one",
    "updated_documents": "Documents that change",
    "seconds_to_text": "From POST to the first right answer, from text, s",
    "seconds_to_draft": "The same, from its draft, s",
    "seconds_to_trained": "From POST until its training ended, s",
    "join_gap_points": "Joint training minus joining, the worst of alone, composed, retrieved, points",
    "joined_published": "Share of the joined documents whose cartridge passed",
    "joined_read_as_text": "Of the answers after joining, read from text: a document had no cartridge",
    "whole_read_as_text": "The same after joint training",
    "join_step_ratio": "Steps of joining over joint training of all documents",
    "join_steps_per_document_ratio": "Steps of a document that joins over one's that is trained together",
    "changed_facts_new": "Changed facts that are answered as they are now",
    "changed_facts_old": "Changed facts that are answered as they were",
    "unchanged_facts_change_points": "Unchanged facts answered rightly, after minus before, points",
    "update_step_ratio": "Steps of an update over those of training it anew",
    "deleted_probes": "Questions about deleted documents, in every mode",
    "deleted_facts_revealed": "Of these answered with what the document said",
    "neighbours_after_deletion_points": "Others answered rightly, after deletions minus before, points",
    "adaptive_gain_points": "Adaptive slots minus even ones, letters and registers, points",
    "adaptive_gain_of_cartridges_points": "The same, of documents that have a cartridge both ways, points",
    "adaptive_bytes_ratio": "Bytes of adaptive cartridges over those of even ones",
    "misleading_noticed": "Documents that say others' facts differently, noticed",
    "honest_noticed": "Honest documents taken for such",
    "misled_auto": "Facts answered as the misleading document has them, in mode auto",
    "misled_rag": "The same from passages",
    "world_abstain_precision": "Abstaining, questions that these documents leave open: precision",
    "world_abstain_recall": "Abstaining, questions that these documents leave open: recall",
    "abstain_precision": "Abstaining, articles that are not in the index (SQuAD): precision",
    "abstain_recall": "Abstaining, articles that are not in the index (SQuAD): recall",
    "speedup_vs_peft": "Training steps a second, over PEFT's CARTRIDGE example",
    "peak_memory_ratio_vs_peft": "Peak memory of training, over PEFT's",
}


def table(result: dict[str, Any]) -> str:
    """The claims of a result file as a Markdown table, with where they come from."""
    lines = ["| figure | value | 95 % interval | target | |", "| --- | --- | --- | --- | --- |"]
    for key, claim in result["claims"].items():
        interval = "" if claim["ci95"] is None else "{} to {}".format(*claim["ci95"])
        met = {True: "met", False: "**missed**", None: ""}[claim["met"]]
        words = f"{_WORDS.get(key, key)} (`{key}`)"
        lines.append(
            f"| {words} | {claim['value']} | {interval} | {claim['target'] or ''} | {met} |"
        )
    machine = result["machine"]
    lines.append("")
    lines.append(
        f"`{result['command']}`, {len(result['seeds'])} seeds, {result['date']}, "
        f"{machine['cores']} cores of {machine['processor']}, {_took(result)}"
        f"commit {result['commit']}{_earlier(result)}."
    )
    return "\n".join(lines) + "\n"


def _took(result: dict[str, Any]) -> str:
    """The seconds of the run that wrote the file; nothing where it found all of it measured before."""
    seconds: float = result["seconds"]
    return f"{seconds:.0f} s, " if seconds >= 1 else ""


def _earlier(result: dict[str, Any]) -> str:
    """Where some of the rows were measured by others than who wrote the file."""
    kept = Counter(
        ("large" not in row, row["measured"]["date"], row["measured"]["commit"])
        for row in result["rows"]
        if "measured" in row
    )
    del kept[True, result["date"], result["commit"]]
    return "".join(
        f"; {n if seeds else 'the large collection'} earlier, {date}, commit {commit}"
        for (seeds, date, commit), n in kept.items()
    )


def arms(result: dict[str, Any]) -> str:
    """What every arm scored, a Markdown table for each compression; nothing for another experiment."""
    lines: list[str] = []
    for row in result["rows"]:
        if not {"compression", "arms"} <= row.keys():
            continue
        lines += [
            f"At {row['compression']:g} document tokens a slot:",
            "",
            "| arm | questions | score | 95 % interval | prompt tokens | slots | first token, ms |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for arm in row["arms"]:
            mean, low, high = arm["score"]
            interval = "" if low is None else f"{low} to {high}"
            lines.append(
                f"| `{arm['arm']}` | {arm['questions']} | {mean} | {interval} | "
                f"{arm['prompt_tokens']:.0f} | {arm['cartridge_slots']:.0f} | "
                f"{arm['first_token_ms']:.0f} |"
            )
        lines.append("")
    return "\n".join(lines) + "\n" if lines else ""


def composed(result: dict[str, Any]) -> str:
    """What each arm answers rightly by how many cartridges, or texts, are loaded; nothing for another
    experiment. Means over the seeds."""
    rows = [row["em"] for row in result["rows"] if "em" in row and "seed" in row]
    if not rows:
        return ""
    names = [name for name in rows[0] if "all" not in rows[0][name]]
    loaded = sorted({int(count) for name in names for count in rows[0][name]})
    lines = [
        "| loaded together | " + " | ".join(map(str, loaded)) + " |",
        "| --- |" + " --- |" * len(loaded),
    ]
    for name in names:
        means = [
            f"{fmean(row[name][str(count)] for row in rows):.3f}"
            if str(count) in rows[0][name]
            else ""
            for count in loaded
        ]
        lines.append(f"| `{name}` | {' | '.join(means)} |")
    return "\n".join(lines) + "\n\n"


def rendered(page: str, results: Path) -> str:
    """The page with every block made anew from the result files."""

    def block(match: re.Match[str]) -> str:
        result = json.loads((results / f"{match[2]}.json").read_text(encoding="utf-8"))
        return f"{match[1]}{arms(result)}{composed(result)}{table(result)}{match[4]}"

    return _BLOCK.sub(block, page)


def main() -> int:
    """Write the tables, or say which pages differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="make the tables anew")
    options = parser.parse_args()
    root = Path(__file__).parent.parent
    stale = 0
    for name in PAGES:
        path = root / name
        page = path.read_text(encoding="utf-8")
        fresh = rendered(page, root / "docs" / "results")
        if page != fresh and options.write:
            path.write_text(fresh, encoding="utf-8")
        elif page != fresh:
            print(f"{name} differs from docs/results; run python -m evaluation.tables --write")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
