"""Tables of the documentation, generated from `docs/results/`: `python -m evaluation.tables`.

Text between `<!-- results:NAME -->` and `<!-- /results -->` belongs to this program; with `--write`
it is made anew, without it a difference is an error. This file knows Markdown and result files.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"(<!-- results:([a-z_-]+) -->\n)(.*?)(<!-- /results -->)", re.DOTALL)
PAGES = ("README.md", "reader/checkpoint/README.md")

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
        f"{machine['cores']} cores of {machine['processor']}, {result['seconds']:.0f} s, "
        f"commit {result['commit']}."
    )
    return "\n".join(lines) + "\n"


def rendered(page: str, results: Path) -> str:
    """The page with every block made anew from the result files."""

    def block(match: re.Match[str]) -> str:
        result = json.loads((results / f"{match[2]}.json").read_text(encoding="utf-8"))
        return f"{match[1]}{table(result)}{match[4]}"

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
