"""The page pool: keys and values on the device in pages of equal size, every cartridge held once.

A span is a run of columns laid over pages: a cartridge's slots, shared by every request that names
it, or what one request alone has said. Pages in use stand at the front, so that attention reads them
where they lie; what is kept for later stands behind and goes, coldest first, when room is needed.
One thread owns a pool; `write` alone may run in another. This file knows no model and no attention.
"""

import heapq
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

SCRATCH = 0
"""The page that padding is written to; nothing ever looks at it."""

_FADES = 0.98  # of a span's heat, with every pin of any span


class PoolTooSmall(ValueError):
    """The budget does not hold what was asked for; the message says how many bytes would."""


@dataclass(frozen=True, slots=True)
class PageShape:
    """What one page holds: `slots` columns of every layer."""

    layers: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device
    slots: int = 64

    @property
    def column_nbytes(self) -> int:
        """Bytes of one column: its key and value in every layer."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of one page."""
        return self.column_nbytes * self.slots

    def pages(self, columns: int) -> int:
        """Pages that so many columns need."""
        return -(-columns // self.slots)


@dataclass(eq=False, slots=True)
class Span:
    """Columns over pages. `key` names a shared span; a private one has none."""

    key: str | None = None
    columns: int = 0
    pages: list[int] = field(default_factory=list)
    pins: int = 0
    reserved: int = 0  # pages promised, not yet taken
    loading: bool = False
    unwanted: bool = False  # to be given back as soon as nobody holds it
    heat: float = 0.0
    last_pin: int = 0

    @property
    def idle(self) -> bool:
        """Kept for later: shared, whole, and pinned by nobody."""
        return self.key is not None and not self.pins and not self.loading


def _zeros(size: tuple[int, ...], shape: PageShape) -> Tensor:
    """Zeros. In main memory a page takes none until it is written to: a service that starts does not
    wait for the whole budget to be filled, and an idle one does not hold it."""
    if shape.device.type != "cpu":
        return torch.zeros(size, dtype=shape.dtype, device=shape.device)
    memory = mmap.mmap(-1, prod(size) * shape.dtype.itemsize, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=shape.dtype).view(size)


class PagePool:
    """Pages under a byte budget, with exact accounting."""

    def __init__(self, shape: PageShape, budget_bytes: int) -> None:
        """Raises PoolTooSmall unless two pages fit."""
        self.shape = shape
        self.capacity = budget_bytes // shape.nbytes - 1  # the scratch page is nobody's
        if self.capacity < 1:
            raise PoolTooSmall(
                f"A pool of {budget_bytes} bytes holds no page of {shape.nbytes} bytes; give it at "
                f"least {2 * shape.nbytes}."
            )
        size = (shape.layers, self.capacity + 1, shape.kv_heads, shape.slots, shape.head_dim)
        # Zeros, not garbage: a hidden column has weight zero, and zero times NaN is NaN.
        self.keys, self.values = _zeros(size, shape), _zeros(size, shape)
        self.front = 1  # pages before this one are read by attention
        self.version = 0  # changes whenever a page is taken, given back or moved
        self._owners: list[Span | None] = [None] * (self.capacity + 1)
        self._free = list(range(1, self.capacity + 1))
        self._shared: dict[str, Span] = {}
        self._standing = 0  # pages in the front that somebody looks at
        self._private = 0  # pages taken by private spans
        self._reserved = 0  # pages promised to them
        self._pins = 0

    @property
    def pinned_bytes(self) -> int:
        """Bytes that cannot be had: of running requests, promised to them, being written."""
        return self._pinned * self.shape.nbytes

    @property
    def _pinned(self) -> int:
        # A list first: whoever asks how busy the engine is asks from another thread.
        shared = sum(len(span.pages) for span in list(self._shared.values()) if not span.idle)
        return shared + self._private + self._reserved

    @property
    def resident_bytes(self) -> int:
        """Bytes of everything that is kept, in use or not."""
        return (self.capacity - len(self._free)) * self.shape.nbytes

    def holds(self, key: str) -> bool:
        """Whether the shared span is resident and whole."""
        span = self._shared.get(key)
        return span is not None and not span.loading

    def needs(self, shared: Sequence[tuple[str, int]], private: int) -> int:
        """Bytes of a request alone in the pool: shared spans as (key, columns), private columns."""
        pages = self.shape.pages
        return (sum(pages(n) for n in dict(shared).values()) + pages(private)) * self.shape.nbytes

    def require_room(self, shared: Sequence[tuple[str, int]], private: int) -> None:
        """Raise PoolTooSmall for a request that not even the empty pool could hold."""
        needed, total = self.needs(shared, private), self.capacity * self.shape.nbytes
        if needed > total:
            raise PoolTooSmall(
                f"The request needs {needed} bytes of keys and values, but the pool has {total}: name "
                "fewer documents, allow fewer tokens, or give the engine a larger pool."
            )

    def fits(self, shared: Sequence[tuple[str, int]], private: int) -> bool:
        """Whether the request can be held now, beside what is pinned and promised."""
        fresh = {k: n for k, n in shared if k not in self._shared or self._shared[k].idle}
        wanted = sum(self.shape.pages(n) for n in fresh.values()) + self.shape.pages(private)
        return wanted <= self.capacity - self._pinned

    def pin(self, key: str, columns: int) -> tuple[Span, bool]:
        """The shared span in the front, pinned; the flag says whether it is still to be written.

        The caller has asked `fits`. A span that is to be written is `loading` until `loaded`.
        """
        self._pins += 1
        span = self._shared.get(key)
        fresh = span is None
        if span is None:
            span = Span(key, columns, loading=True, last_pin=self._pins)
            self._shared[key] = span
            span.pins = 1  # before room is made: it is not to be evicted for itself
            try:
                self._take(span, self.shape.pages(columns))
            except BaseException:
                self.forget(span)
                raise
        else:
            self._stand(span, 1)
            span.pins += 1
            try:
                # The foremost first: the border may pass over no page that is still to be counted.
                for index in sorted(range(len(span.pages)), key=span.pages.__getitem__):
                    self._bring_forward(span, index)
            except BaseException:
                self.unpin(span)
                raise
        span.heat = span.heat * _FADES ** (self._pins - span.last_pin) + 1
        span.last_pin = self._pins
        return span, fresh

    def loaded(self, span: Span) -> None:
        """The span has been written whole; until then its pages are not moved nor given back."""
        span.loading = False
        self._stand(span, -1)
        self._put_down(span)

    def unpin(self, span: Span) -> None:
        """One holder less; what nobody holds is kept until its room is needed."""
        span.pins -= 1
        self._stand(span, -1)
        self._put_down(span)

    def discard(self, key: str) -> None:
        """Keep the shared span no longer than those who hold it do; nothing happens without one."""
        span = self._shared.get(key)
        if span is not None:
            span.unwanted = True
            self._put_down(span)

    def _put_down(self, span: Span) -> None:
        if span.unwanted and span.idle:
            self.forget(span)
        else:
            self._settle()

    def _stand(self, span: Span, sign: int) -> None:
        """Count an idle span's pages in the front, before it is taken up or after it is put down."""
        if span.idle:
            self._standing += sign * sum(page < self.front for page in span.pages)

    def forget(self, span: Span) -> None:
        """Give back a span's pages and promises."""
        if not span.idle:
            self._standing -= len([page for page in span.pages if page < self.front])
        if span.key is None:
            self._private -= len(span.pages)
        elif self._shared.get(span.key) is span:
            del self._shared[span.key]
        self._reserved -= span.reserved
        for page in span.pages:
            self._owners[page] = None
            heapq.heappush(self._free, page)
            self.keys[:, page] = 0
            self.values[:, page] = 0
        span.pages, span.reserved, span.columns = [], 0, 0
        self.version += 1
        self._settle()

    def private(self, columns: int) -> Span:
        """A span of one request with room promised for so many columns. The caller asked `fits`."""
        span = Span(reserved=self.shape.pages(columns))
        self._reserved += span.reserved
        return span

    def extend(self, span: Span, columns: int) -> None:
        """Grow a private span by so many columns, which the caller writes."""
        wanted = self.shape.pages(span.columns + columns) - len(span.pages)
        if wanted > 0:
            assert wanted <= span.reserved
            span.reserved -= wanted
            self._reserved -= wanted
            self._private += wanted
            self._take(span, wanted)
        span.columns += columns

    def write(self, span: Span, keys: Tensor, values: Tensor) -> None:
        """Write the span's first columns: both `[layers, kv_heads, columns, head_dim]`."""
        size = self.shape.slots
        for index, page in enumerate(span.pages):
            part = keys[:, :, index * size : (index + 1) * size]
            if part.shape[2]:
                self.keys[:, page, :, : part.shape[2]].copy_(part)
                self.values[:, page, :, : part.shape[2]].copy_(
                    values[:, :, index * size : (index + 1) * size]
                )

    def _take(self, span: Span, count: int) -> None:
        while len(self._free) < count:
            coldest = min(
                (other for other in self._shared.values() if other.idle),
                key=lambda other: other.heat * _FADES ** (self._pins - other.last_pin),
            )
            self.forget(coldest)
        for _ in range(count):
            page = heapq.heappop(self._free)
            self._owners[page] = span
            span.pages.append(page)
            self._standing += page < self.front
            self._bring_forward(span, len(span.pages) - 1)
        self.version += 1

    def _bring_forward(self, span: Span, index: int) -> None:
        """Let a page of the span stand in the front.

        The border is moved behind it where little that nobody reads comes in with it; else the page
        changes places with the one at the border.
        """
        page = span.pages[index]
        if page < self.front:
            return
        if page - 1 - self._standing <= self._tolerated(page):
            self.front = page + 1
        else:
            self._exchange(page, self.front)
            self.front += 1
        self._standing += 1
        self.version += 1

    def _exchange(self, one: int, other: int) -> None:
        if one == other:
            return
        first, second = self._owners[one], self._owners[other]
        for tensor in (self.keys, self.values):
            if first is not None and second is not None:
                tensor[:, [one, other]] = tensor[:, [other, one]]
            elif first is not None:
                tensor[:, other] = tensor[:, one]
                tensor[:, one] = 0
            else:
                tensor[:, one] = tensor[:, other]
                tensor[:, other] = 0
        moves = ((first, one, other), (second, other, one))
        places = [(o, o.pages.index(old), new) for o, old, new in moves if o is not None]
        for owner, place, new in places:  # both may be of one span, so all are found first
            owner.pages[place] = new
        self._owners[one], self._owners[other] = second, first
        if first is None or second is None:
            vacated, filled = (one, other) if first is not None else (other, one)
            self._free.remove(filled)
            self._free.append(vacated)
            heapq.heapify(self._free)

    def _settle(self) -> None:
        """Move what nobody reads out of the front, once it is too much of it."""
        if self.front - 1 - self._standing <= self._tolerated(self.front):
            return
        holes = iter([page for page in range(1, self.front) if not self._read(page)])
        while self.front > 1:
            last = self.front - 1
            owner = self._owners[last]
            if self._read(last):
                hole = next(holes, last)
                if hole >= last or (owner is not None and owner.loading):
                    break
                self._exchange(last, hole)
            self.front -= 1
        self.version += 1

    @staticmethod
    def _tolerated(front: int) -> int:
        """Pages that may stand in a front of this size unread: reading them costs less than moving."""
        return max(8, front // 3)

    def _read(self, page: int) -> bool:
        owner = self._owners[page]
        return owner is not None and not owner.idle
