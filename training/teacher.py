"""The teacher: the reader with the text in context, and what it thinks at each answer token.

Cartridges (arXiv 2506.06266, section 4.2) keeps the teacher's top-k log-probabilities at every
position of the answer. This file knows texts, questions and answers; it knows no cartridge.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from inference.composer import Composition, compose, from_key_values
from inference.decoding import Decoder, Prompt, decode, pad
from inference.reader import Reader
from inference.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Answer:
    """The ids of a greedy answer (`n`, with the end token unless it was cut) and what else was likely.

    `top_ids` int32 `[n, k]`, `top_logprobs` float32 `[n, k]`.
    """

    ids: tuple[int, ...]
    top_ids: NDArray[np.int32]
    top_logprobs: NDArray[np.float32]


def batched(count: int, size: int) -> Iterator[range]:
    """Index ranges of at most `size`."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


@torch.no_grad()
def read(reader: Reader, contexts: Iterable[str]) -> dict[str, Composition]:
    """Each context as a prefix, read once however often it stands there; all go as one batch."""
    sink = compose(reader)
    prompts = {text: Prompt(sink, reader.chat.documents([text])) for text in contexts}
    batch = pad(reader, list(prompts.values()))
    _, layers = reader.forward(batch.ids, batch.past, batch.mask, batch.positions)
    found = {}
    for row, (text, prompt) in enumerate(prompts.items()):
        size = len(prompt.ids)  # they stand at the right
        own = tuple((k[row : row + 1, :, -size:], v[row : row + 1, :, -size:]) for k, v in layers)
        found[text] = from_key_values(reader, own, sink.question_at + size)
    return found


def asked(
    reader: Reader,
    prefixes: Sequence[Composition],
    instructions: Sequence[str],
    sampling: Sampling,
) -> list[tuple[str, bool]]:
    """What the reader says to each instruction behind its prefix, and whether it came to an end."""
    messages = [reader.chat.message(text) for text in instructions]
    prompts = _prompts(prefixes, messages, sampling)
    return [
        (reader.decode(ids).strip(), len(ids) < sampling.max_tokens)
        for ids in decode(reader, prompts)
    ]


def answered(
    reader: Reader,
    prefixes: Sequence[Composition],
    questions: Sequence[str],
    max_tokens: int,
    top_k: int,
) -> list[Answer]:
    """Greedy answers, with the teacher's `top_k` log-probabilities at each of their tokens."""
    messages = [reader.chat.question(text) for text in questions]
    prompts = _prompts(prefixes, messages, Sampling(max_tokens))
    decoder = Decoder(reader, prompts, top_k=top_k)
    ids: list[list[int]] = [[] for _ in prompts]
    while decoder.rows:
        for row, token in decoder.step().items():
            ids[row].append(token)
    return [
        Answer(
            tuple(tokens),
            np.stack([top.ids for top in tops]),
            np.stack([top.logprobs for top in tops]),
        )
        for tokens, tops in zip(ids, decoder.tops, strict=True)
    ]


def _prompts(
    prefixes: Sequence[Composition], messages: Sequence[list[int]], sampling: Sampling
) -> list[Prompt]:
    return [
        Prompt(prefix, message, replace(sampling, seed=sampling.seed + row))
        for row, (prefix, message) in enumerate(zip(prefixes, messages, strict=True))
    ]
