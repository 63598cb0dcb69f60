"""Arms: ways of answering the same questions, each through the production path.

An arm is a prefix and what stands between it and the question. This file knows readers, texts and
slots; it knows no scores.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.composer import Composition, compose, from_key_values, in_context
from inference.decoding import Prompt, decode
from inference.reader import Reader
from inference.sampling import Sampling

_BATCH = 32
_SAMPLING = Sampling(max_tokens=64)


def answers(
    reader: Reader, prefix: Composition, questions: Sequence[str], *, bare: bool = False
) -> list[str]:
    """Greedy answers to `questions` behind one prefix; `bare` when nothing precedes them."""
    form = reader.chat.bare_question if bare else reader.chat.question
    prompts = [Prompt(prefix, form(question), _SAMPLING) for question in questions]
    texts: list[str] = []
    for start in range(0, len(prompts), _BATCH):
        texts += [reader.decode(ids) for ids in decode(reader, prompts[start : start + _BATCH])]
    return [text.strip() for text in texts]


def truncated(reader: Reader, text: str, tokens: int) -> Composition:
    """Truncated ICL: the document's first `tokens` tokens."""
    return in_context(reader, [reader.cut(text, tokens)])


def no_context(reader: Reader) -> Composition:
    """Nothing but the sink."""
    return compose(reader)


def slots(reader: Reader, cartridges: Sequence[tuple[Tensor, Tensor]], at: int) -> Composition:
    """Trained slots (`[layers, kv_heads, slots, head_dim]` each), concatenated; questions at `at`."""
    layers = []
    for index in range(len(reader.sink)):
        joined = [[pair[side][index : index + 1] for pair in cartridges] for side in range(2)]
        layers.append((torch.cat(joined[0], dim=2), torch.cat(joined[1], dim=2)))
    return from_key_values(reader, tuple(layers), at)
