"""A batch without padding: its tokens stand one behind another, and each row looks at its own prefix.

Everything but attention is computed for the tokens that there are; attention alone is laid out by rows,
a few of about the same width at a time. Follows the plans of `inference/paged_attention.py`, so that every
decoder model uses it without a fork of its code. This file knows tensors; it knows no reader and no loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding, scaled_dot_product_attention

from inference.reader import KeyValues

_AT_ONCE, _AT_ONCE_ELSEWHERE = 4, 8  # rows whose attention is computed together, on a CPU or not
# Sizes are rounded up: for each new one the processor's library makes a kernel, which takes longer than to
# use it.
_TOKENS, _QUERIES, _COLUMNS = 64, 8, 32


@dataclass(frozen=True, slots=True, eq=False)
class Sees:
    """Which columns of a shared prefix each row looks at.

    `columns` `[B, most]` are their places in it, `visible` `[B, most]` says which of them are any: the
    others are padding, on the right.
    """

    columns: Tensor
    visible: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Rows whose attention is computed together, `b` of them, over `C` columns and `Q` queries each.

    `columns` `[b * C]` are places in the prefix with the tokens' own columns behind it; `tokens` `[b, Q]`
    are places among the tokens, `real` `[b, 1, Q, 1]` which of them are no padding; `bias`
    `[b, 1, Q, C]` is 0 for what a query sees, else minus infinity.
    """

    columns: Tensor
    tokens: Tensor
    real: Tensor
    bias: Tensor

    def queries(self, shared: int, count: int) -> Tensor:
        """Places in `[kv_heads, shared * count, head_dim]`: of each row's queries, head by head."""
        heads = count * torch.arange(shared, device=self.tokens.device)
        return (heads[None, :, None] + self.tokens[:, None]).flatten()


class Packed:
    """A plan for one forward of `[1, n]` tokens, which belong to `B` rows behind what each of them sees."""

    def __init__(self, prefix: KeyValues, sees: Sees, mask: Tensor) -> None:
        """`prefix` is per layer `[1, kv_heads, columns, head_dim]`, shared; `mask` `[B, Q]` is 1 for a
        row's tokens, which are on the left."""
        self._prefix = prefix
        here = mask.bool()
        self._rows, self._places = here.nonzero(as_tuple=True)
        sizes = here.sum(1).tolist()
        self._spare = -len(self._rows) % _TOKENS
        self.place = torch.zeros_like(mask, dtype=torch.long)
        """`[B, Q]`: where a row's token stands among the `n`; 0 for padding."""
        self.place[here] = torch.arange(len(self._rows), device=mask.device)
        self._groups = _groups(sees, self.place, sizes, prefix[0][0].shape[2], prefix[0][0].dtype)
        self._laid_out: dict[int, tuple[list[Tensor], Tensor]] = {}
        self._masks: dict[int, list[Tensor]] = {}
        self._new: dict[int, tuple[Tensor, Tensor]] = {}
        self.layers = 0
        """How many layers have asked for their attention."""

    def packed(self, values: Tensor) -> Tensor:
        """Of `[B, Q]` the `[1, n]` that are no padding; and zeros, up to a round number."""
        found = values[self._rows, self._places]
        return torch.cat([found, found.new_zeros(self._spare)])[None]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Remember the tokens' own columns, `[1, kv_heads, n, head_dim]`."""
        self._new[layer] = keys, values

    def attend(self, layer: int, query: Tensor, scale: float) -> Tensor:
        """Attention `[1, n, heads, head_dim]` of queries `[1, heads, n, head_dim]`."""
        self.layers += 1
        keys, values = (
            torch.cat([old[0], new[0]], dim=1)
            for old, new in zip(self._prefix[layer], self._new.pop(layer), strict=True)
        )
        heads, count, size = query.shape[1:]
        shared = heads // len(keys)
        queries, back = self._layout(shared, count)
        grouped = query[0].reshape(len(keys), shared * count, size)
        if _written_out(query):
            found: Tensor = _ByRows.apply(  # type: ignore[no-untyped-call]
                grouped, keys, values, self._groups, queries, back, scale
            )
        else:
            if shared not in self._masks:
                biases = [group.bias.repeat(1, 1, shared, 1) for group in self._groups]
                self._masks[shared] = [bias.squeeze(1)[None] for bias in biases]
            masks = self._masks[shared]
            found = _fused(grouped, keys, values, self._groups, masks, queries, back, scale)
        # As transformers' own returns it: some models take a view.
        return found.reshape(heads, count, size).transpose(0, 1).contiguous()[None]

    def _layout(self, shared: int, count: int) -> tuple[list[Tensor], Tensor]:
        """Where the groups' queries come from, and where each token's own is found behind them."""
        if shared not in self._laid_out:
            queries = [group.queries(shared, count) for group in self._groups]
            back = torch.zeros(shared * count, dtype=torch.long, device=self.place.device)
            everywhere, real = torch.cat(queries), _real(self._groups, shared)
            # Padding's answers are nobody's, and the spare tokens' are anybody's: they are not looked at.
            back[everywhere[real]] = real.nonzero()[:, 0]
            self._laid_out[shared] = queries, back
        return self._laid_out[shared]


def _groups(
    sees: Sees, place: Tensor, sizes: Sequence[int], prefix: int, dtype: torch.dtype
) -> list[_Group]:
    """Rows of about the same width together, the narrow ones first."""
    seen = sees.visible.sum(1).tolist()
    order = sorted(range(len(sizes)), key=lambda row: (seen[row] + sizes[row], row))
    starts = [0, *accumulate(sizes)]
    at_once = _AT_ONCE if place.device.type == "cpu" else _AT_ONCE_ELSEWHERE
    groups = []
    for first in range(0, len(order), at_once):
        rows = order[first : first + at_once]
        width = _rounded(max(sizes[row] for row in rows), _QUERIES)
        deep = _rounded(max(seen[row] + sizes[row] for row in rows), _COLUMNS)
        columns = torch.zeros((len(rows), deep), dtype=torch.long, device=place.device)
        tokens = torch.zeros((len(rows), width), dtype=torch.long, device=place.device)
        real = torch.zeros((len(rows), width), dtype=torch.bool, device=place.device)
        for number, row in enumerate(rows):
            size, own = sizes[row], torch.arange(sizes[row], device=place.device) + starts[row]
            columns[number, : seen[row]] = sees.columns[row, : seen[row]]
            columns[number, seen[row] : seen[row] + size] = prefix + own
            tokens[number, :size], real[number, :size] = own, True
        # A row's own tokens follow what it sees: each sees all columns up to its own.
        last = torch.tensor([seen[row] for row in rows], device=place.device)
        until = last[:, None] + torch.arange(width, device=place.device)
        hidden = torch.arange(deep, device=place.device) > until[..., None]
        bias = torch.zeros(hidden.shape, dtype=dtype, device=place.device)
        bias = bias.masked_fill_(hidden, -torch.inf)[:, None]
        groups.append(_Group(columns.flatten(), tokens, real[:, None, :, None], bias))
    return groups


def _written_out(query: Tensor) -> bool:
    """Whether attention goes by `_ByRows`: where nothing is learned it is to be as exact as in serving."""
    return query.device.type == "cpu" and torch.is_grad_enabled()


def _rounded(number: int, to: int) -> int:
    return -(-number // to) * to


def _real(groups: Sequence[_Group], shared: int) -> Tensor:
    """Which of all groups' queries, in `shared` heads each, are no padding."""
    return torch.cat([group.real.expand(-1, shared, -1, -1).flatten() for group in groups])


def _fused(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    groups: Sequence[_Group],
    masks: Sequence[Tensor],
    queries: Sequence[Tensor],
    back: Tensor,
    scale: float,
) -> Tensor:
    """As `_ByRows`, by the library's kernels; `masks` are the groups' biases for all heads of a group.

    The query heads of a group are laid out as tokens of one head: no key or value is copied for each.
    """
    heads, size, found = len(keys), keys.shape[2], []
    query, keys, values = (
        t.transpose(0, 1).reshape(-1, heads * size) for t in (query, keys, values)
    )
    for group, mask, places in zip(groups, masks, queries, strict=True):
        q, k, v = (
            # As embeddings, whose backward pass adds in float32 and without atomics.
            embedding(at, table).view(len(group.tokens), -1, heads, size).permute(2, 0, 1, 3)
            for at, table in ((places, query), (group.columns, keys), (group.columns, values))
        )
        seen = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
        found.append(seen.permute(1, 2, 0, 3).reshape(-1, heads * size))
    every = embedding(back, torch.cat(found))
    return every.view(-1, heads, size).transpose(0, 1)


class _ByRows(torch.autograd.Function):
    """Attention of grouped queries `[kv_heads, shared * n, head_dim]` over `[kv_heads, m, head_dim]`.

    Written out because on a CPU the fused kernel's backward pass is slow at these lengths and the plain one
    computes in float32, with a copy of everything. Gradients are summed over rows in float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        groups: Sequence[_Group],
        queries: Sequence[Tensor],
        back: Tensor,
        scale: float,
    ) -> Tensor:
        """Attention `[kv_heads, shared * n, head_dim]`."""
        ctx.of = groups, queries, back, scale
        # What all keys have in common adds the same to every score of a query: no weight changes, and what
        # is left is rounded less.
        keys = keys - keys.mean(1, keepdim=True)
        weights, found = [], []
        for group, places in zip(groups, queries, strict=True):
            q, k, v = _laid_out(query, keys, values, group, places)
            scores = torch.bmm(q * scale, k.transpose(1, 2))
            rows, _, width, deep = group.bias.shape
            scores.view(len(keys), rows, -1, width, deep).add_(group.bias)
            weights.append(torch.softmax(scores, -1))
            found.append(torch.bmm(weights[-1], v).view(len(keys), -1, keys.shape[2]))
        ctx.save_for_backward(query, keys, values, *weights)
        return torch.cat(found, dim=1).index_select(1, back)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of query, keys and values."""
        query, keys, values, *weights = ctx.saved_tensors
        groups, queries, back, scale = ctx.of
        of_queries, of_keys, of_values = [], [], []
        for group, places, shares in zip(groups, queries, weights, strict=True):
            q, k, v = _laid_out(query, keys, values, group, places)
            rows, _, width, _ = group.bias.shape
            grad = grads[0].index_select(1, places)
            grad.view(len(keys), rows, -1, width, grad.shape[-1]).mul_(group.real)
            grad = grad.view_as(q)
            of_values.append(torch.bmm(shares.transpose(1, 2), grad))
            slope = torch.ops.aten._softmax_backward_data(
                torch.bmm(grad, v.transpose(1, 2)), shares, -1, shares.dtype
            )
            of_keys.append(torch.bmm(slope.transpose(1, 2), q) * scale)
            of_queries.append((torch.bmm(slope, k) * scale).view(len(keys), -1, k.shape[-1]))
        columns = torch.cat([group.columns for group in groups])
        return (
            torch.cat(of_queries, dim=1).index_select(1, back),
            _summed(of_keys, columns, keys),
            _summed(of_values, columns, values),
            *(None,) * 4,
        )


def _laid_out(
    query: Tensor, keys: Tensor, values: Tensor, group: _Group, places: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A group's queries, keys and values: `[kv_heads * b, shared * Q or C, head_dim]`."""
    heads, rows, size = len(keys), len(group.tokens), keys.shape[2]
    q = query.index_select(1, places).view(heads * rows, -1, size)
    k, v = (t.index_select(1, group.columns).view(heads * rows, -1, size) for t in (keys, values))
    return q, k, v


def _summed(parts: Sequence[Tensor], columns: Tensor, like: Tensor) -> Tensor:
    """What rows found for the columns that they saw, `like` in shape and dtype."""
    heads, count, size = like.shape
    every = torch.cat([part.view(heads, -1, size) for part in parts], dim=1)
    table = every.transpose(0, 1).reshape(-1, heads * size).float()
    # As an embedding's backward pass: without atomics, so that a run can be repeated.
    total: Tensor = torch.ops.aten.embedding_dense_backward(table, columns, count, -1, False)
    return total.view(count, heads, size).transpose(0, 1).to(like.dtype)
