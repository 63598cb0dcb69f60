"""The student: the reader behind a cartridge that is being trained.

Batches of conversations stand behind one prefix; of several cartridges side by side each row sees its own
set (`Sees`). Only attention is computed by rows (`packed`), and logits are made at answer positions only.
This file knows slots and token ids; it knows no optimiser and no files.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from inference.reader import KeyValues, Reader
from training.examples import StudyExample
from training.packed import Packed, Sees
from training.settings import TrainingRefused


@dataclass(frozen=True, slots=True)
class Lesson:
    """A batch: ids and mask `[B, Q]`; where answers are predicted, with what the teacher thought.

    `rows` and `columns` `[n]` index the hidden states that predict an answer token; `targets` `[n]`
    are those tokens, `top_ids` and `top_logprobs` `[n, k]` the teacher's.
    """

    ids: Tensor
    mask: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor
    top_ids: Tensor
    top_logprobs: Tensor

    @staticmethod
    def of(examples: Sequence[StudyExample], device: torch.device) -> "Lesson":
        """Lay examples side by side."""
        sizes = [len(e.prompt) + len(e.answer) - 1 for e in examples]
        ids = torch.zeros((len(examples), max(sizes)), dtype=torch.long)
        mask = torch.zeros_like(ids)
        rows, columns, targets = [], [], []
        for row, example in enumerate(examples):
            tokens = [*example.prompt, *example.answer[:-1]]
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
            start = len(example.prompt) - 1
            rows += [row] * len(example.answer)
            columns += list(range(start, start + len(example.answer)))
            targets += list(example.answer)
        return Lesson(
            ids.to(device),
            mask.to(device),
            torch.tensor(rows, device=device),
            torch.tensor(columns, device=device),
            torch.tensor(targets, device=device),
            torch.from_numpy(np.concatenate([e.top_ids for e in examples])).long().to(device),
            torch.from_numpy(np.concatenate([e.top_logprobs for e in examples])).to(device),
        )


def behind(reader: Reader, keys: Tensor, values: Tensor) -> KeyValues:
    """The sink and the slots `[layers, kv_heads, slots, head_dim]` as a prefix of one row."""
    # Unbound at once: the gradient of each layer's index would be as large as all layers together.
    layers = zip(reader.sink, keys.unbind(), values.unbind(), strict=True)
    return tuple(
        (
            torch.cat([sink_keys, k[None].to(sink_keys)], dim=2),
            torch.cat([sink_values, v[None].to(sink_values)], dim=2),
        )
        for (sink_keys, sink_values), k, v in layers
    )


def hidden_states(
    reader: Reader,
    keys: Tensor,
    values: Tensor,
    ids: Tensor,
    mask: Tensor,
    offset: int | Tensor,
) -> Tensor:
    """Hidden states `[B, Q, width]` of `ids`, which begin at position `offset` (`[B]`: one a row)."""
    prefix = tuple(
        (k.expand(len(ids), -1, -1, -1), v.expand(len(ids), -1, -1, -1))
        for k, v in behind(reader, keys, values)
    )
    seen = torch.ones((len(ids), prefix[0][0].shape[2]), dtype=torch.long, device=ids.device)
    with _kernel(ids):
        hidden, _ = reader.forward(
            ids, prefix, torch.cat([seen, mask], dim=1), _positions(ids, offset)
        )
    return hidden


def _positions(ids: Tensor, offset: int | Tensor) -> Tensor:
    begins = torch.as_tensor(offset, device=ids.device).expand(len(ids))
    return begins[:, None] + torch.arange(ids.shape[1], device=ids.device)


def _kernel(ids: Tensor) -> AbstractContextManager[None]:
    """On a CPU the fused attention's backward pass is the slower one at these short lengths. The choice
    holds for the process: one training at a time in each."""
    return sdpa_kernel(SDPBackend.MATH) if ids.device.type == "cpu" else nullcontext()


def answer_states(
    reader: Reader,
    keys: Tensor,
    values: Tensor,
    lesson: Lesson,
    offset: int | Tensor,
    sees: Sees | None = None,
) -> Tensor:
    """The student's hidden states `[n, width]` that predict the answer tokens.

    `sees` are the slots that each row sees, all of them where it is None. Questions begin at position
    `offset` (`[B]`: one a row).

    Raises TrainingRefused for a reader with attention that is not transformers' own.
    """
    prefix = behind(reader, keys, values)
    plan = Packed(prefix, _after_sink(sees, keys.shape[2], lesson.ids), lesson.mask)
    positions = plan.packed(_positions(lesson.ids, offset))
    hidden = reader.planned_forward(plan.packed(lesson.ids), positions, plan)
    if plan.layers != len(prefix):
        raise TrainingRefused(
            f"{reader.name} has layers whose attention is not transformers' own, which no cartridge can be "
            "mounted on; choose another reader."
        )
    return hidden[0, plan.place[lesson.rows, lesson.columns]]


def _after_sink(sees: Sees | None, slots: int, ids: Tensor) -> Sees:
    """What rows see of a prefix that begins with the sink, which all of them see."""
    if sees is None:
        columns = torch.arange(slots + 1, device=ids.device).expand(len(ids), -1)
        return Sees(columns, torch.ones_like(columns, dtype=torch.bool))
    sink = torch.zeros((len(ids), 1), dtype=torch.long, device=ids.device)
    return Sees(
        torch.cat([sink, sees.columns + 1], dim=1),
        torch.cat([sink == 0, sees.visible], dim=1),
    )


def answer_logits(
    reader: Reader,
    keys: Tensor,
    values: Tensor,
    lesson: Lesson,
    offset: int | Tensor,
    sees: Sees | None = None,
) -> Tensor:
    """The student's logits `[n, vocabulary]` at the answer positions."""
    return reader.logits(answer_states(reader, keys, values, lesson, offset, sees))


LOGITS_AT_ONCE = 1 << 24
"""Logits that are held at one time, 64 MiB of them: beyond that, the loss is made in chunks."""


def distillation_loss(
    reader: Reader, hidden: Tensor, lesson: Lesson, *, at_once: int = LOGITS_AT_ONCE
) -> Tensor:
    """−Σ p_teacher · log q_student over the teacher's top-k, averaged over answer tokens.

    `hidden` `[n, width]` are `answer_states`. Cartridges (arXiv 2506.06266, section 4.2); averaged per
    token, so that the step size does not follow the teacher's entropy. Of a large vocabulary no more than
    `at_once` logits exist at a time: chunks are made again for the backward pass. Scalar, float32.
    """
    return token_losses(reader, hidden, lesson, at_once=at_once).mean()


def token_losses(
    reader: Reader, hidden: Tensor, lesson: Lesson, *, at_once: int = LOGITS_AT_ONCE
) -> Tensor:
    """The distillation loss of each answer token, float32 `[n]`, as `distillation_loss` averages it."""
    size = max(1, at_once // reader.config.vocab_size)
    if len(hidden) <= size:
        return _losses(reader, hidden, lesson.top_ids, lesson.top_logprobs)
    chunks = zip(
        *(t.split(size) for t in (hidden, lesson.top_ids, lesson.top_logprobs)), strict=True
    )
    found = [
        checkpoint(_losses, reader, *chunk, use_reentrant=False, preserve_rng_state=False)
        for chunk in chunks
    ]
    return torch.cat(found)


def _losses(reader: Reader, hidden: Tensor, top_ids: Tensor, top_logprobs: Tensor) -> Tensor:
    losses: Tensor = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
        reader.logits(hidden), top_ids, top_logprobs.exp()
    )
    return losses


def excess(losses: Tensor, lesson: Lesson) -> list[float]:
    """For each row, what its answer's tokens lose beyond the teacher's own entropy, in nats, at least 0.

    `losses` `[n]` are `token_losses`.
    """
    shares, logs = lesson.top_logprobs.exp(), lesson.top_logprobs.clamp(min=-1e4)
    beyond = (losses.detach() + (shares * logs).sum(-1)).clamp(min=0.0)
    rows = torch.zeros(len(lesson.ids), device=beyond.device).index_add_(0, lesson.rows, beyond)
    found: list[float] = rows.tolist()
    return found


class _CrossEntropy(torch.autograd.Function):
    """−Σ p · log softmax(logits) over a few tokens of the vocabulary: passed over once forth, once back.

    By torch's own functions every step writes the vocabulary anew, which takes longer than the products.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, ids: Tensor, shares: Tensor) -> Tensor:
        """Of logits `[n, vocabulary]`, and ids and shares `[n, k]`; `[n]`."""
        total = torch.logsumexp(logits, -1, keepdim=True)
        ctx.save_for_backward(logits, total, ids, shares)
        return (shares * (total - logits.gather(-1, ids))).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of the logits."""
        logits, total, ids, shares = ctx.saved_tensors
        given = grads[0][:, None]
        slope = torch.sub(logits, total).exp_().mul_(shares.sum(-1, keepdim=True) * given)
        return slope.scatter_add_(-1, ids, -shares * given), None, None


@torch.no_grad()
def agreement(logits: Tensor, lesson: Lesson) -> list[bool]:
    """For each example, whether greedy decoding would give the teacher's answer, token for token."""
    right = (logits.argmax(-1) == lesson.targets).tolist()
    wholly = [True] * lesson.ids.shape[0]
    for row, good in zip(lesson.rows.tolist(), right, strict=True):
        wholly[row] &= good
    return wholly


@torch.no_grad()
def certainty(logits: Tensor, lesson: Lesson) -> list[float]:
    """For each example, the probability of its whole answer."""
    chosen = logits.gather(-1, lesson.targets[:, None])[:, 0]
    whole = logits.new_zeros(lesson.ids.shape[0], dtype=torch.float64)  # long ones are improbable
    whole.index_add_(0, lesson.rows, (chosen - logits.logsumexp(-1)).double())
    return [min(1.0, float(p)) for p in whole.exp()]
