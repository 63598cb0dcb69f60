"""A batch without padding: its tokens stand one behind another, and each row looks at its own prefix.

Everything but attention is computed for the tokens that there are; attention alone is laid out by rows.
Follows the plans of `inference/paged_attention.py`, so that every decoder model uses it without a fork of
its code. This file knows tensors; it knows no reader and no loss.
"""

import torch
from torch import Tensor
from torch.nn.functional import embedding

from inference.paged_attention import grouped_attention
from inference.reader import KeyValues


class Packed:
    """A plan for one forward of `[1, n]` tokens, which belong to `B` rows behind `B` prefixes."""

    def __init__(self, prefix: KeyValues, seen: Tensor, mask: Tensor) -> None:
        """`prefix` is per layer `[B, kv_heads, columns, head_dim]`; `seen` `[B, columns]` says what of it a
        row may look at; `mask` `[B, Q]` is 1 for a row's tokens, which are on the left."""
        self._prefix = prefix
        here = mask.bool()
        self._rows, self._columns = here.nonzero(as_tuple=True)
        self.place = torch.zeros_like(mask, dtype=torch.long)
        """`[B, Q]`: where a row's token stands among the `n`; 0 for padding."""
        self.place[here] = torch.arange(len(self._rows), device=mask.device)
        self._flat = self._rows * mask.shape[1] + self._columns
        width = mask.shape[1]
        until = torch.ones((width, width), dtype=torch.bool, device=mask.device).tril()
        before = seen.bool()[:, None].expand(-1, width, -1)
        # Padding comes last: no token looks at it, and what it looks at is dropped.
        self._visible = torch.cat([before, until.expand(len(mask), -1, -1)], dim=2)[:, None]
        self._new: dict[int, tuple[Tensor, Tensor]] = {}
        self.layers = 0
        """How many layers have asked for their attention."""

    def packed(self, values: Tensor) -> Tensor:
        """Of `[B, Q]` the `[1, n]` that are no padding."""
        return values[self._rows, self._columns][None]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Remember the tokens' own columns, `[1, kv_heads, n, head_dim]`."""
        self._new[layer] = keys, values

    def attend(self, layer: int, query: Tensor, scale: float) -> Tensor:
        """Attention `[1, n, heads, head_dim]` of queries `[1, heads, n, head_dim]`."""
        self.layers += 1
        keys, values = (
            torch.cat([old, self._by_rows(new)], dim=2)
            for old, new in zip(self._prefix[layer], self._new.pop(layer), strict=True)
        )
        found = grouped_attention(self._by_rows(query), keys, values, self._visible, scale)
        rows, width, heads, size = found.shape
        # As embeddings, whose backward pass adds in float32 and without atomics.
        return embedding(self._flat, found.reshape(rows * width, -1)).view(1, -1, heads, size)

    def _by_rows(self, tokens: Tensor) -> Tensor:
        """`[B, heads, Q, head_dim]` of `[1, heads, n, head_dim]`."""
        _, heads, count, size = tokens.shape
        table = tokens[0].transpose(0, 1).reshape(count, heads * size)
        return embedding(self.place, table).view(*self.place.shape, heads, size).transpose(1, 2)
