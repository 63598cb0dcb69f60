"""Attention over pages: a request looks at its own columns and at the cartridges it names, no others.

Registered through transformers' attention interface, so that every decoder model that goes by it uses it
without a fork of its code; a forward without a plan goes to sdpa. Decoding reads every page once for all
requests that name it and merges the partial results by their log-sum-exp, as FlashInfer's cascade does
(arXiv 2501.01005, section 3.1), where they lie; only what many rows name is gathered for those beyond the
first few. A prompt's prefill gathers a copy of its pages. This file knows pages and tensors; it knows no
request and no text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from inference.pages import SCRATCH, PagePool, Span

NAME = "cartridge_pages"
NO_MASK_SHAPE = (1, 1, 1, 1)
"""A mask of four dimensions is passed through by transformers as it is; the plan holds the real one."""


class Plan(Protocol):
    """Where the new columns go and what each query sees, for one forward of `[B, T]` tokens."""

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Put the new columns, `[B, kv_heads, T, head_dim]`, into their pages."""

    def attend(self, layer: int, query: Tensor, scale: float) -> Tensor:
        """Attention `[B, T, heads, head_dim]` of queries `[B, heads, T, head_dim]`."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one request looks at: shared spans whole, its own span up to each token."""

    shared: Sequence[Span]
    own: Span

    @property
    def pages(self) -> list[int]:
        """All of its pages, the shared ones first."""
        return [page for span in (*self.shared, self.own) for page in span.pages]


def install(model: Any) -> None:
    """Let the model's attention follow plans. Without one it is sdpa."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation(NAME)


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    page_plan: Plan | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention function; raises NotImplementedError for scores that are not plain."""
    if page_plan is None:
        few = query.shape[2] == 1 or (query.requires_grad and attention_mask is not None)
        if few and query.shape[1] > key.shape[1]:
            return grouped_attention(query, key, value, attention_mask, scaling), None
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return plain
    for unknown in ("softcap", "s_aux", "position_bias"):
        if kwargs.get(unknown) is not None:
            raise NotImplementedError(f"Attention with {unknown} cannot follow pages.")
    page_plan.write(module.layer_idx, key, value)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return page_plan.attend(module.layer_idx, query, scale), None


def grouped_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None
) -> Tensor:
    """Attention `[B, T, heads, head_dim]` of query heads that share kv heads.

    The heads of a group are laid out as tokens of one head, so that its columns are read once for all of
    them and copied for none. For one token a row, and where a gradient would have to be summed over copies.
    """
    rows, heads, tokens, width = query.shape
    groups = heads // key.shape[1]
    grouped = query.reshape(rows, key.shape[1], groups * tokens, width)
    if mask is not None and tokens > 1:
        mask = mask.repeat(1, 1, groups, 1)
    found = scaled_dot_product_attention(grouped, key, value, attn_mask=mask, scale=scale)
    return found.reshape(rows, heads, tokens, width).transpose(1, 2)


class Prefill:
    """A plan for chunks of prompts: `[B, T]` tokens, padded on the right."""

    def __init__(self, pool: PagePool, rows: Sequence[Seen], sizes: Sequence[int]) -> None:
        """The last `sizes[b]` columns of each row's own span are the new ones."""
        self._pool = pool
        slots, device = pool.shape.slots, pool.shape.device
        longest = max(sizes)
        depth = max(len(row.pages) for row in rows)
        table = torch.empty((len(rows), depth), dtype=torch.long)
        visible = torch.zeros(len(rows), longest, depth * slots, dtype=torch.bool)
        write_pages = torch.full((len(rows), longest), SCRATCH)
        write_slots = torch.zeros((len(rows), longest), dtype=torch.long)
        for b, (row, size) in enumerate(zip(rows, sizes, strict=True)):
            pages = row.pages
            # Padded with a page of its own: hidden columns have weight zero, but zero times another
            # row's NaN would be NaN.
            table[b] = pages[-1]
            table[b, : len(pages)] = torch.tensor(pages)
            place = 0
            for span in row.shared:
                visible[b, :, place * slots : place * slots + span.columns] = True
                place += len(span.pages)
            first = row.own.columns - size
            columns = torch.arange(row.own.columns)
            until = first + torch.arange(longest).clamp(max=size - 1)
            own = columns[None] <= until[:, None]
            visible[b, :, place * slots : place * slots + row.own.columns] = own
            new = columns[first:]
            write_pages[b, :size] = torch.tensor(row.own.pages)[new // slots]
            write_slots[b, :size] = new % slots
        self._write = _places(pool, write_pages.flatten(), write_slots.flatten()).to(device)
        kv_heads = pool.shape.kv_heads
        heads = table[:, None] * kv_heads + torch.arange(kv_heads)[:, None]
        self._gathers = heads.flatten().to(device)
        # Once, not in every layer's attention.
        mask = torch.zeros(visible.shape, dtype=pool.shape.dtype).masked_fill_(
            ~visible, float("-inf")
        )
        self._mask = mask[:, None].to(device)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Put the new columns into their pages; padding goes to the scratch page."""
        _write(self._pool, layer, self._write, keys, values)

    def attend(self, layer: int, query: Tensor, scale: float) -> Tensor:
        """Attention over gathered pages."""
        keys, values = (self.gathered(t[layer]) for t in (self._pool.keys, self._pool.values))
        groups = query.shape[1] // keys.shape[1]
        found = scaled_dot_product_attention(
            query, keys, values, attn_mask=self._mask, scale=scale, enable_gqa=groups > 1
        )
        return found.transpose(1, 2).contiguous()

    def gathered(self, pages: Tensor) -> Tensor:
        """`[B, kv_heads, depth * slots, head_dim]` of each row's pages, one behind another."""
        _, kv_heads, slots, width = pages.shape
        found = _picked(pages.view(-1, slots * width), self._gathers)
        return found.view(len(self._mask), kv_heads, -1, width)


@dataclass(frozen=True, slots=True)
class _Pass:
    """One reading of pages: `rows[a, r]` is the r-th row that looks at the a-th page."""

    pages: Tensor | None  # None: the pages from the pool's first one on, where they lie
    rows: Tensor


class Decode:
    """A plan for one token of every row; `advance` makes it the next token's."""

    def __init__(self, pool: PagePool, rows: Sequence[Seen]) -> None:
        """The last column of each row's own span is the new one."""
        self._pool = pool
        self._rows = rows
        device = pool.shape.device
        readers: list[list[int]] = [[] for _ in range(pool.front)]
        fills = [1] * pool.front
        for b, row in enumerate(rows):
            for span in (*row.shared, row.own):
                for index, page in enumerate(span.pages):
                    readers[page].append(b)
                    fills[page] = min(span.columns - index * pool.shape.slots, pool.shape.slots)
        self._fills = torch.tensor(fills, device=device)
        self._last = torch.tensor([row.own.pages[-1] for row in rows], device=device)
        self._passes, self._partials = _passes(readers, [row.pages for row in rows], device)
        self._hidden = self._partials < 0
        self._partials = self._partials.clamp(min=0)
        self._ahead = torch.arange(pool.shape.slots, device=device)
        self._version = pool.version
        self._set_masks()

    def advance(self) -> bool:
        """Go on to the next column of the same rows; False where the pages have changed."""
        if self._pool.version != self._version:
            return False
        self._fills[self._last] += 1
        self._set_masks()
        return True

    def _set_masks(self) -> None:
        dtype = self._pool.shape.dtype
        covered = self._ahead >= self._fills[:, None]
        mask = torch.zeros(covered.shape, dtype=dtype, device=covered.device)
        mask = mask.masked_fill_(covered, float("-inf"))[:, None, None]
        self._masks = [mask if p.pages is None else mask[p.pages] for p in self._passes]
        self._write = _places(self._pool, self._last, self._fills[self._last] - 1)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Put every row's new column into its last page."""
        _write(self._pool, layer, self._write, keys, values)

    def attend(self, layer: int, query: Tensor, scale: float) -> Tensor:
        """Each page against the queries of its readers, then every row's pages merged."""
        keys, values = self._pool.keys[layer], self._pool.values[layer]
        rows, heads, _, width = query.shape
        kv_heads = keys.shape[1]
        grouped = query.view(rows, kv_heads, heads // kv_heads, width)
        outs, lses = [], []
        for one, mask in zip(self._passes, self._masks, strict=True):
            pages, readers = one.rows.shape
            queries = _picked(grouped, one.rows).transpose(1, 2).reshape(pages, kv_heads, -1, width)
            where = one.pages
            k, v = (t[:pages] if where is None else _picked(t, where) for t in (keys, values))
            out, lse = partial_attention(queries, k, v, mask, scale)
            shape = (pages, kv_heads, readers, heads // kv_heads)
            outs.append(out.view(*shape, width).transpose(1, 2).reshape(-1, heads, width))
            lses.append(lse.view(shape).transpose(1, 2).reshape(-1, heads))
        out, lse = (torch.cat(parts) if len(parts) > 1 else parts[0] for parts in (outs, lses))
        lse = lse[self._partials].masked_fill_(self._hidden[:, :, None], float("-inf"))
        shares = torch.softmax(lse, dim=1).unsqueeze(-1)
        found = _picked(out, self._partials).float()
        # A hidden part may be another row's: its share is zero, but zero times its NaN would be NaN.
        found.masked_fill_(self._hidden[:, :, None, None], 0)
        merged = (found * shares).sum(dim=1)
        return merged.to(query.dtype)[:, None]


def partial_attention(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Attention over a part of the columns, with its log-sum-exp in float32.

    `query` `[N, heads, n, d]`, `keys` and `values` `[N, heads, m, d]`, `mask` `[N, 1, 1, m]`, added to
    the scores; returns `[N, heads, n, d]` and `[N, heads, n]`.
    """
    if query.device.type == "cpu":
        found: tuple[Tensor, Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, keys, values, attn_mask=mask, scale=scale
        )
        return found
    return flex_partial_attention(query, keys, values, mask, scale)


def flex_partial_attention(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """The same through FlexAttention, which CUDA compiles to one kernel."""
    from torch.nn.attention.flex_attention import AuxRequest, flex_attention

    def masked(score: Tensor, batch: Tensor, _h: Tensor, _q: Tensor, column: Tensor) -> Tensor:
        return score + mask[batch, 0, 0, column]

    run: Any = _compiled_flex() if query.device.type == "cuda" else flex_attention
    asked = AuxRequest(lse=True)
    out, aux = run(query, keys, values, score_mod=masked, scale=scale, return_aux=asked)
    return out, aux.lse


@cache
def _compiled_flex() -> Any:
    """FlexAttention as CUDA runs it: made once, and not in every layer of every step."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


def _picked(rows: Tensor, index: Tensor) -> Tensor:
    """`rows[index]`, copied row by row: on a CPU several times faster than element by element."""
    return rows.index_select(0, index.flatten()).view(*index.shape, *rows.shape[1:])


def _places(pool: PagePool, pages: Tensor, slots: Tensor) -> Tensor:
    """Where columns lie among all of a layer's, head by head: `[columns * kv_heads]`."""
    heads = torch.arange(pool.shape.kv_heads, device=pages.device)
    return ((pages[:, None] * len(heads) + heads) * pool.shape.slots + slots[:, None]).flatten()


def _write(pool: PagePool, layer: int, where: Tensor, keys: Tensor, values: Tensor) -> None:
    for store, new in ((pool.keys, keys), (pool.values, values)):
        width = new.shape[-1]
        columns = new.transpose(1, 2).reshape(-1, width)
        store[layer].view(-1, width).index_copy_(0, where, columns)


def _passes(
    readers: Sequence[Sequence[int]], tables: Sequence[Sequence[int]], device: torch.device
) -> tuple[tuple[_Pass, ...], Tensor]:
    """How the pages are read, and for every row where its partial results come to lie (-1: none).

    The first pass reads all pages for a few rows each, where they lie. What more rows look at is read
    again for those, gathered: a few popular pages are cheaper copied than all pages padded.
    """
    width = _first_width([len(rows) for rows in readers])
    popular = [page for page, rows in enumerate(readers) if len(rows) > width]
    index: dict[tuple[int, int], int] = {}  # of (page, row), among the partial results
    passes = [_pass(None, readers, 0, width, range(len(readers)), index, 0, device)]
    if popular:
        base = len(readers) * width
        rest = max(len(readers[page]) for page in popular) - width
        passes.append(_pass(popular, readers, width, rest, popular, index, base, device))
    depth = max(len(pages) for pages in tables)
    partials = torch.full((len(tables), depth), -1)
    for row, pages in enumerate(tables):
        partials[row, : len(pages)] = torch.tensor([index[page, row] for page in pages])
    return tuple(passes), partials.to(device)


def _pass(
    gathered: Sequence[int] | None,
    readers: Sequence[Sequence[int]],
    start: int,
    width: int,
    pages: Sequence[int],
    index: dict[tuple[int, int], int],
    base: int,
    device: torch.device,
) -> _Pass:
    rows = torch.zeros((len(pages), width), dtype=torch.long)
    for place, page in enumerate(pages):
        for column, row in enumerate(readers[page][start : start + width]):
            rows[place, column] = row
            index[page, row] = base + place * width + column
    where = None if gathered is None else torch.tensor(gathered, device=device)
    return _Pass(where, rows.to(device))


_GATHERING = 8  # what copying a page costs, in rows that read it


def _first_width(counts: Sequence[int]) -> int:
    """How many rows the first pass reads every page for, at the least work in all."""
    most = max(counts)

    def work(width: int) -> int:
        popular = sum(count > width for count in counts)
        return len(counts) * width + popular * (most - width + _GATHERING)

    return min(range(1, most + 1), key=work)
