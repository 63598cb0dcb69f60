"""The student: the reader behind a cartridge that is being trained.

Batches of conversations stand behind one prefix; of several cartridges side by side each row sees its own
set. Only attention is computed by rows (`packed`), and logits are made at answer positions only. This file
knows slots and token ids; it knows no optimiser and no files.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from inference.reader import KeyValues, Reader
from training.examples import StudyExample
from training.packed import Packed
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


def behind(reader: Reader, keys: Tensor, values: Tensor, batch: int) -> KeyValues:
    """The sink and the slots as a prefix for `batch` rows.

    Slots are `[layers, kv_heads, slots, head_dim]`, the same for every row, or `[layers, batch, ...]`.
    """
    # Unbound at once: the gradient of each layer's index would be as large as all layers together.
    layers = zip(reader.sink, keys.unbind(), values.unbind(), strict=True)
    return tuple(
        (_after(sink_keys, k, batch), _after(sink_values, v, batch))
        for (sink_keys, sink_values), k, v in layers
    )


def _after(sink: Tensor, slots: Tensor, batch: int) -> Tensor:
    if slots.ndim == 4:
        return torch.cat([sink.expand(batch, -1, -1, -1), slots.to(sink)], dim=2)
    return torch.cat([sink, slots[None].to(sink)], dim=2).expand(batch, -1, -1, -1)


def hidden_states(
    reader: Reader,
    keys: Tensor,
    values: Tensor,
    ids: Tensor,
    mask: Tensor,
    offset: int | Tensor,
    visible: Tensor | None = None,
) -> Tensor:
    """Hidden states `[B, Q, width]` of `ids`, which begin at position `offset` (`[B]`: one a row).

    `visible` `[B, slots]` says which slots a row may look at; all of them where it is None.
    """
    prefix, seen, positions = _laid_out(reader, keys, values, ids, offset, visible)
    with _kernel(ids):
        hidden, _ = reader.forward(ids, prefix, torch.cat([seen, mask], dim=1), positions)
    return hidden


def _laid_out(
    reader: Reader,
    keys: Tensor,
    values: Tensor,
    ids: Tensor,
    offset: int | Tensor,
    visible: Tensor | None,
) -> tuple[KeyValues, Tensor, Tensor]:
    """The prefix of every row, which columns of it a row may look at, and the positions of its ids."""
    batch, width = ids.shape
    prefix = behind(reader, keys, values, batch)
    seen = torch.ones((batch, prefix[0][0].shape[2]), dtype=torch.long, device=ids.device)
    if visible is not None:
        seen[:, -visible.shape[1] :] = visible.to(seen)
    begins = torch.as_tensor(offset, device=ids.device).expand(batch)
    return prefix, seen, begins[:, None] + torch.arange(width, device=ids.device)


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
    visible: Tensor | None = None,
) -> Tensor:
    """The student's hidden states `[n, width]` that predict the answer tokens.

    Raises TrainingRefused for a reader with attention that is not transformers' own.
    """
    prefix, seen, positions = _laid_out(reader, keys, values, lesson.ids, offset, visible)
    plan = Packed(prefix, seen, lesson.mask)
    with _kernel(lesson.ids):
        hidden = reader.planned_forward(plan.packed(lesson.ids), plan.packed(positions), plan)
    if plan.layers != len(prefix):
        raise TrainingRefused(
            f"{reader.name} has layers whose attention is not transformers' own, which no cartridge can be "
            "mounted on; choose another reader."
        )
    return hidden[0, plan.place[lesson.rows, lesson.columns]]


def answer_logits(
    reader: Reader,
    keys: Tensor,
    values: Tensor,
    lesson: Lesson,
    offset: int | Tensor,
    visible: Tensor | None = None,
) -> Tensor:
    """The student's logits `[n, vocabulary]` at the answer positions."""
    return reader.logits(answer_states(reader, keys, values, lesson, offset, visible))


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
    size = max(1, at_once // reader.config.vocab_size)
    if len(hidden) <= size:
        return _summed_loss(reader, hidden, lesson.top_ids, lesson.top_logprobs) / len(hidden)
    total = hidden.new_zeros((), dtype=torch.float32)
    chunks = zip(
        *(t.split(size) for t in (hidden, lesson.top_ids, lesson.top_logprobs)), strict=True
    )
    for part, ids, logprobs in chunks:
        total = total + checkpoint(
            _summed_loss, reader, part, ids, logprobs, use_reentrant=False, preserve_rng_state=False
        )
    return total / len(hidden)


def _summed_loss(reader: Reader, hidden: Tensor, top_ids: Tensor, top_logprobs: Tensor) -> Tensor:
    student = torch.log_softmax(reader.logits(hidden), -1).gather(-1, top_ids)
    loss: Tensor = -(top_logprobs.exp() * student).sum()
    return loss


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
