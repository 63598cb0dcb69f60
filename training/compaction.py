"""Slots by attention matching: the keys that questions look at, the values that make up for the rest.

After "Fast KV compaction via attention matching" (arXiv 2602.16284): reference queries, here those of the
document's own self-study, look at the document's keys and values; for each layer and head the keys of
most attention are kept, and their values are solved for by least squares, so that the layer's output is
as close as it can be to what it was. Unlike there, no bias goes with a key (a plain KV cache has no place
for one): what a smaller set of keys loses in mass against the sink and the conversation's own tokens is
part of the regression. This file knows attention; it knows no training loop.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from inference.reader import KeyValues, Reader, stacked
from inference.rotation import in_front_of
from training.examples import StudyExample
from training.settings import TrainingRefused
from training.student import Lesson, hidden_states

REFERENCES = 96  # conversations whose tokens ask
DAMPING = 0.01  # ridge towards the values that stood there, as a share of the mean square weight
_BATCH = 16


class _Recorded(TorchFunctionMode):
    """Keeps the queries, keys, values and scale of every call of the fused attention."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, Tensor, Tensor, float]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is scaled_dot_product_attention:
            query, key, value = args[:3]
            scale = kwargs.get("scale") or query.shape[-1] ** -0.5
            self.calls.append((query, key, value, scale))
        return func(*args, **kwargs)


class _Queries:
    """What one layer's queries saw, per key/value head: all that a regression needs of them."""

    def __init__(self) -> None:
        # Each `[kv_heads, n, head_dim]`, masses `[kv_heads, n]`; "rest" is all but the document.
        self.query: list[Tensor] = []  # scaled
        self.output: list[Tensor] = []
        self.rest_mass: list[Tensor] = []  # log of the sum of its weights
        self.rest_output: list[Tensor] = []  # what it alone would say
        self.seen: Tensor | float = 0.0  # sum of squared attention to each column, `[kv_heads, T]`

    def add(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, length: int) -> None:
        """Heads of one group `[kv_heads, n, ...]`, keys of one row; the document is 1 to `length`."""
        scores = query @ key.transpose(1, 2) + mask
        weights = scores.softmax(-1)
        rest = scores.clone()
        rest[:, :, 1 : length + 1] = -torch.inf
        self.query.append(query)
        self.output.append(weights @ value)
        self.rest_mass.append(rest.logsumexp(-1))
        self.rest_output.append(rest.softmax(-1) @ value)
        self.seen = self.seen + weights[:, :, 1 : length + 1].pow(2).sum(1)


@torch.no_grad()
def compact(
    reader: Reader,
    document: KeyValues,
    studied: Sequence[StudyExample],
    slots: int,
    offset: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Keys and values `[layers, kv_heads, slots, head_dim]`, float32.

    `document` is the KV without the sink; conversations begin at position `offset`, as in training. One
    that reaches beyond is looked at from behind its end, and the keys that are kept are moved to before
    `offset`.
    Raises TrainingRefused without a study, for more slots than tokens, and where the reader's attention
    cannot be watched.
    """
    if slots > document[0][0].shape[2]:
        raise TrainingRefused(
            "A document has fewer tokens than slots were asked for; ask for fewer."
        )
    if not studied:
        raise TrainingRefused(
            "Compaction needs the document's self-study; choose another initialiser."
        )
    chosen = Random(f"compaction/{seed}").sample(list(studied), min(REFERENCES, len(studied)))
    keys, values = (tensor.float() for tensor in stacked(document))
    layers = _watched(reader, keys, values, chosen, max(offset, keys.shape[2] + 1))
    made = [_solve(*layer, slots) for layer in zip(layers, keys, values, strict=True)]
    kept = in_front_of(reader, torch.stack([k for k, _ in made]), keys.shape[2], offset)
    return kept, torch.stack([v for _, v in made])


@torch.no_grad()
def is_watchable(reader: Reader) -> bool:
    """Whether compaction can watch this reader's attention."""
    keys, values = (tensor.float() for tensor in stacked(reader.prefill([reader.chat.sink_id] * 2)))
    ids = torch.full((1, 2), reader.chat.sink_id, device=reader.device)
    with _Recorded() as recorded:
        hidden_states(reader, keys[:, :, 1:], values[:, :, 1:], ids, torch.ones_like(ids), 2)
    return len(recorded.calls) == len(keys)


def _watched(
    reader: Reader, keys: Tensor, values: Tensor, studied: Sequence[StudyExample], offset: int
) -> list[_Queries]:
    """The reader at the study's conversations behind the whole document, layer by layer."""
    heads, length = keys.shape[1:3]
    layers = [_Queries() for _ in keys]
    for start in range(0, len(studied), _BATCH):
        lesson = Lesson.of(studied[start : start + _BATCH], reader.device)
        with _Recorded() as recorded:
            hidden_states(reader, keys, values, lesson.ids, lesson.mask, offset)
        if len(recorded.calls) != len(layers):
            raise TrainingRefused(_UNWATCHED)
        width = lesson.ids.shape[1]
        mask = torch.zeros((width, length + 1 + width), device=reader.device)
        mask[:, -width:] = torch.full_like(mask[:, -width:], -torch.inf).triu(1)
        for layer, (query, key, value, scale) in zip(layers, recorded.calls, strict=True):
            group, every = query.shape[1] // heads, key.shape[1] // heads  # keys may be repeated
            for row, size in enumerate(lesson.mask.sum(1).tolist()):
                layer.add(
                    (query[row, :, :size].float() * scale).reshape(heads, group * size, -1),
                    key[row, ::every].float(),
                    value[row, ::every].float(),
                    mask[:size].repeat(group, 1),
                    length,
                )
    return layers


_UNWATCHED = (
    "Compaction watches torch's scaled_dot_product_attention, once a layer, and this reader's attention is "
    "another; load it with attn_implementation sdpa or choose another initialiser."
)


def _solve(queries: _Queries, keys: Tensor, values: Tensor, slots: int) -> tuple[Tensor, Tensor]:
    """The most looked-at keys of one layer `[kv_heads, slots, head_dim]`, and their best values."""
    seen = torch.as_tensor(queries.seen)
    columns = seen.topk(slots, dim=1).indices.sort(dim=1).values
    index = columns[:, :, None].expand(-1, -1, keys.shape[2])
    kept, stood = (t.gather(1, index) for t in (keys, values))
    query, rest_mass = torch.cat(queries.query, 1), torch.cat(queries.rest_mass, 1)
    scores = query @ kept.transpose(1, 2)
    mass = torch.logaddexp(scores.logsumexp(-1), rest_mass)
    weights = (scores - mass[:, :, None]).exp()
    rest = (rest_mass - mass).exp()[:, :, None] * torch.cat(queries.rest_output, 1)
    missing = torch.cat(queries.output, 1) - rest - weights @ stood
    gram = weights.transpose(1, 2) @ weights
    damping = DAMPING * gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-8)
    gram += damping[:, None, None] * torch.eye(gram.shape[1], device=gram.device)
    return kept, stood + torch.linalg.solve(gram, weights.transpose(1, 2) @ missing)
