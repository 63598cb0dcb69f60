"""Overlap of longer answers with their golds: ROUGE and chrF, each through the field's own library.

All figures are shares between 0 and 1. Knows no question and no reader.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import sacrebleu

if TYPE_CHECKING:
    from rouge_score import rouge_scorer


@dataclass(frozen=True, slots=True)
class Rouge:
    """F1 of ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004)."""

    rouge1: float
    rouge2: float
    rouge_l: float


@lru_cache(maxsize=2)
def _scorer(stem: bool) -> "rouge_scorer.RougeScorer":
    # It brings NLTK and SciPy: a second that every start would wait for, and most score no summaries.
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=stem)


def rouge(answer: str, golds: Sequence[str], *, stem: bool = True) -> Rouge:
    """ROUGE by rouge-score, each the best over the golds; `stem` cuts words to their stems (Porter).

    rouge-score knows only the letters a to z and digits: of other scripts nothing counts. Raises
    ValueError without golds.
    """
    if not golds:
        raise ValueError("ROUGE needs a gold")
    best = _scorer(stem).score_multi(list(golds), answer)
    return Rouge(*(float(best[name].fmeasure) for name in ("rouge1", "rouge2", "rougeL")))


def chrf(answer: str, golds: Sequence[str]) -> float:
    """chrF of one answer, the best over the golds: sacrebleu's sentence chrF2 over 100 (Popović 2015).

    Raises ValueError without golds.
    """
    if not golds:
        raise ValueError("chrF needs a gold")
    return float(sacrebleu.sentence_chrf(answer, list(golds)).score) / 100


def corpus_chrf(answers: Sequence[str], golds: Sequence[Sequence[str]]) -> float:
    """chrF over all answers together, as papers on translation report it (sacrebleu's, over 100).

    Raises ValueError when there is nothing to score, lengths differ or an answer has no gold.
    """
    if len(answers) != len(golds) or not answers or not all(golds):
        raise ValueError("chrF needs answers and at least one gold for each")
    most = max(map(len, golds))
    streams = [
        [one[place] if place < len(one) else one[0] for one in golds] for place in range(most)
    ]
    return float(sacrebleu.corpus_chrf(list(answers), streams).score) / 100
