"""The reader's training examples as tokens, in batches of about one length.

A batch depends on stage, split and the generator of random numbers alone. This file knows what is said
(`tasks.py`) and tensors; it knows no model and no optimiser.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from reader import attention
from reader.curriculum import Stage
from reader.names import Split
from reader.tasks import Segment, example
from reader.tokenizer import SPECIAL

IGNORED = -100
"""The target where nothing is learned."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example's token ids; which are learned, which of these begin an answer that the documents decide,
    and where the conversation begins."""

    ids: list[int]
    learned: list[bool]
    first: list[bool]
    conversation: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids, targets (IGNORED where nothing is learned), positions, all `[batch, length]`; and where
    the first token of an answer is learned, which what is in view decides."""

    ids: Tensor
    targets: Tensor
    positions: Tensor
    first: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        tensors = (self.ids, self.targets, self.positions, self.first)
        return Batch(*(tensor.to(device) for tensor in tensors))


def encode(segments: Sequence[Segment], tokenizer: PreTrainedTokenizerFast) -> Encoded:
    """An example as tokens."""
    special = {text: index for index, text in enumerate(SPECIAL)}  # the first ids of the vocabulary
    texts = [s.text for s in segments if not s.special]
    encoded = iter(tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False))
    ids: list[int] = []
    learned: list[bool] = []
    first: list[bool] = []
    conversation = 0
    for segment in segments:
        if segment.special:
            if segment.text == "<|user|>" and not conversation:
                conversation = len(ids)
            pieces = [special[segment.text]]
            learned.append(segment.learned)
            first.append(False)
        else:
            encoding = next(encoded)
            pieces = encoding.ids
            only = segment.only or segment.text
            start = segment.text.rfind(only)
            span = range(start, start + len(only))
            chosen = [segment.learned and end - 1 in span for _, end in encoding.offsets]
            begins = chosen.index(True) if True in chosen and not segment.open_ else -1
            first += [place == begins for place in range(len(chosen))]
            learned += chosen
        ids += pieces
    return Encoded(ids, learned, first, conversation)


def draw_batch(
    stage: Stage,
    tokenizer: PreTrainedTokenizerFast,
    words: Sequence[str],
    rng: Random,
    split: Split = "train",
    pool: Sequence[str] = (),
) -> Batch:
    """Examples of one stage and about one length, as many as the stage's tokens hold, padded on the right.

    Of twice as many tokens' worth, those of one length are taken: else up to two thirds would be padding.
    """
    drawn: list[Encoded] = []
    recipe = rng.choice(stage.recipes).of_one_size(rng)
    while not drawn or sum(len(row.ids) for row in drawn) < 2 * stage.batch_tokens:
        drawn.append(encode(example(rng, recipe, words, split, pool), tokenizer))
    rows = _of_one_length(drawn, stage.batch_tokens, rng)
    longest = _rounded(len(rows[-1].ids))
    ids = torch.full((len(rows), longest), 1)
    targets = torch.full((len(rows), longest), IGNORED)
    positions = torch.arange(longest).repeat(len(rows), 1)
    first = torch.zeros((len(rows), longest), dtype=torch.bool)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        shifted = [t if use else IGNORED for t, use in zip(row.ids, row.learned, strict=True)][1:]
        targets[index, : len(shifted)] = torch.tensor(shifted)
        first[index, : len(shifted)] = torch.tensor(row.first[1:])
        if stage.max_gap and rng.random() < 0.5:
            positions[index, row.conversation :] += rng.randint(0, stage.max_gap)
    return Batch(ids, targets, positions, first)


def _of_one_length(drawn: Sequence[Encoded], tokens: int, rng: Random) -> list[Encoded]:
    """Rows next to each other in length, the longest last, that fit into so many tokens; at least one."""
    ordered = sorted(drawn, key=lambda row: len(row.ids))
    last = rng.randrange(len(ordered))
    start = max(0, last + 1 - max(1, tokens // _rounded(len(ordered[last].ids))))
    while last + 1 < len(ordered) and (
        _rounded(len(ordered[last + 1].ids)) * (last + 2 - start) <= tokens
    ):
        last += 1
    return ordered[start : last + 1]


def _rounded(length: int) -> int:
    return length + -length % attention.ROUND
