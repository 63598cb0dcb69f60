"""Chunking: a text is cut into overlapping passages of bounded size, at its own joints.

Knows characters and words; knows nothing of documents, tokens or vectors.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from retrieval.text import HAN

# A run without spaces counts as one word per 64 characters, so that no input makes an unbounded chunk.
# Of scripts that write no spaces two characters are a word, and a sentence end closes it: an
# encoder, which reads so many tokens of a passage and no more, has a token or two for each.
_LONGEST_WORD = 64
_UNSPACED = rf"{HAN}\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # with Thai, Lao, Burmese and Khmer
_WORD = re.compile(
    rf"[{_UNSPACED}]{{1,2}}[。、！？，]?|[^\s。！？{_UNSPACED}]{{0,63}}[。！？]|[^\s{_UNSPACED}]{{1,64}}"
)

# A chunk of words of ordinary length never meets this second bound.
_CHARACTERS_PER_WORD = 10

_SENTENCE_END = re.compile(r"""(?s:.*)[.!?…。！？]["'”’»)\]*_]{0,4}""")
_ABBREVIATION = re.compile(
    r"""["'“‘(\[]{0,2}(?:(?:[a-z]\.){1,8}|(?:mrs?|ms|dr|prof|st|no|vs|etc|fig|approx|jr|sr|inc|"""
    r"""ltd|co|corp|vol|pp?|ca|al|rev|gen|col|capt|lt|mt|ft|jan|feb|mar|apr|aug|sept?|oct|nov|"""
    r"""dec)\.)""",
    re.IGNORECASE,
)
_LIST_ITEM = re.compile(r"[-*+•]|\|.*|#{1,6}|\d{1,3}[.)]")

_WITHIN, _SENTENCE, _PARAGRAPH = 0, 1, 2


@dataclass(frozen=True)
class Chunk:
    """The passage `text[start:end]` of a document's text, the `index`-th of that document."""

    index: int
    text: str
    start: int
    end: int


def chunk(text: str, *, max_words: int = 120, overlap_words: int = 12) -> list[Chunk]:
    """Cut `text` after paragraphs where possible, else after sentences, else between words.

    Each chunk has at most `max_words` words and `max(64, 10 * max_words)` characters; a run
    without spaces, of a script that writes them, is cut only when it is longer than 64. Consecutive
    chunks share `overlap_words` words, never more than a quarter of a chunk. Every character that is not
    white space lies in a chunk; a blank text has no chunks.

    Raises `ValueError` when the sizes make no sense.
    """
    if max_words < 1 or not 0 <= overlap_words < max_words:
        raise ValueError("Choose max_words >= 1 and 0 <= overlap_words < max_words.")
    words = [match.span() for match in _WORD.finditer(text)]
    starts = [start for start, _ in words]
    ends = [end for _, end in words]
    joints = _joints(text, words)
    max_characters = max(_LONGEST_WORD, _CHARACTERS_PER_WORD * max_words)

    chunks: list[Chunk] = []
    first = stop = 0
    while stop < len(words):
        # Shared words give way when they would leave no room for a new one.
        while ends[stop] > starts[first] + max_characters:
            first += 1
        within = bisect_right(ends, starts[first] + max_characters, lo=first)
        farthest = min(first + max_words, within)
        stop = _best_cut(joints, max(stop + 1, (first + farthest + 1) // 2), farthest)
        start, end = starts[first], ends[stop - 1]
        chunks.append(Chunk(len(chunks), text[start:end], start, end))
        first = stop - min(overlap_words, (stop - first) // 4)
    return chunks


def _joints(text: str, words: list[tuple[int, int]]) -> list[int]:
    """For each word, how well the text may be cut behind it; the text's end is the best place."""
    joints = []
    for (start, end), (next_start, next_end) in pairwise(words):
        gap = text[end:next_start]
        if gap.count("\n") > 1:
            joints.append(_PARAGRAPH)
            continue
        item = "\n" in gap and _LIST_ITEM.fullmatch(text, next_start, next_end)
        ended = _ends_sentence(text[start:end], gap) and not text[next_start].islower()
        joints.append(_SENTENCE if item or ended else _WITHIN)
    return [*joints, _PARAGRAPH]


def _ends_sentence(word: str, gap: str) -> bool:
    if not gap:
        return word[-1] in "。！？"
    return bool(_SENTENCE_END.fullmatch(word)) and not _ABBREVIATION.fullmatch(word)


def _best_cut(joints: list[int], nearest: int, farthest: int) -> int:
    """The last paragraph end from `nearest` to `farthest`, else the last sentence end."""
    for wanted in (_PARAGRAPH, _SENTENCE):
        for cut in range(farthest, nearest - 1, -1):
            if joints[cut - 1] >= wanted:
                return cut
    return farthest
