"""The teacher: the reader with the text in context, and what it thinks at each answer token.

Cartridges (arXiv 2506.06266, section 4.2) keeps the teacher's top-k log-probabilities at every
position of the answer. This file knows texts, questions and answers; it knows no cartridge.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from inference.composer import compose
from inference.decoding import Prompt, Sampling, decode, pad
from inference.reader import Reader
from training.examples import StudyExample


def batched(count: int, size: int) -> Iterator[range]:
    """Index ranges of at most `size`."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def asked(
    reader: Reader, contexts: Sequence[str], question: str, sampling: Sampling
) -> list[tuple[str, bool]]:
    """What the reader says to one instruction behind each context, and whether it came to an end."""
    prefix = compose(reader)
    prompts = [
        Prompt(
            prefix,
            [*reader.chat.documents([context]), *reader.chat.question(question)],
            Sampling(sampling.max_tokens, sampling.temperature, sampling.seed + row),
        )
        for row, context in enumerate(contexts)
    ]
    return [
        (reader.decode(ids).strip(), len(ids) < sampling.max_tokens)
        for ids in decode(reader, prompts)
    ]


def answered(
    reader: Reader, contexts: Sequence[str], questions: Sequence[str], max_tokens: int
) -> list[list[int]]:
    """Greedy answers as ids, with the end token unless they were cut at `max_tokens`."""
    prefix = compose(reader)
    prompts = [
        Prompt(
            prefix,
            [*reader.chat.documents([context]), *reader.chat.question(question)],
            Sampling(max_tokens),
        )
        for context, question in zip(contexts, questions, strict=True)
    ]
    return [
        [*ids, reader.end_id] if len(ids) < max_tokens else list(ids)
        for ids in decode(reader, prompts)
    ]


@torch.no_grad()
def score(
    reader: Reader,
    contexts: Sequence[str],
    questions: Sequence[str],
    answers: Sequence[Sequence[int]],
    kinds: Sequence[str],
    top_k: int,
) -> list[StudyExample]:
    """Study examples of given answers, with the teacher's top-k log-probabilities."""
    prefix = compose(reader)
    prompts = [reader.chat.question(question) for question in questions]
    rows = [
        Prompt(prefix, [*reader.chat.documents([context]), *prompt, *answer])
        for context, prompt, answer in zip(contexts, prompts, answers, strict=True)
    ]
    batch = pad(reader, rows)
    hidden, _ = reader.forward(batch.ids, batch.past, batch.mask, batch.positions)
    examples = []
    for row, (kind, prompt, answer) in enumerate(zip(kinds, prompts, answers, strict=True)):
        logits = reader.logits(hidden[row, -len(answer) - 1 : -1])
        top = torch.log_softmax(logits, -1).topk(min(top_k, logits.shape[-1]))
        examples.append(
            StudyExample(
                kind,
                tuple(prompt),
                tuple(answer),
                top.indices.cpu().numpy().astype(np.int32),
                top.values.cpu().numpy().astype(np.float32),
            )
        )
    return examples
